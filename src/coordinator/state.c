/* state.c - what rank 0 decides, and when.
 *
 * The machine waits for one judging at a time: the fitness of every member at step `until`. Once
 * they are all in, it decides and orders the next stretch; whatever arrives for another step is
 * late. An ordered snapshot is waited for alongside, for as long as workers write beside training;
 * they finish it before they report a judging that may order the next. What the index must hold is
 * copied when the snapshot is ordered, so that a slow disk cannot mix two steps.
 *
 * A wish to save or stop the run is carried out at the next judging, or at a halt if one comes
 * first: workers are asked to halt, agree among themselves on the step, and report it. Nobody here
 * knows how far they are, so no step named from here could be one that none of them has passed.
 *
 * Nothing here depends on the order in which reports of one judging arrive. */
#include <math.h>
#include <stddef.h>
#include <string.h>
#include "base/memory.h"
#include "coordinator/state_impl.h"
#include "evo/plan.h"

int coordinator_members(const struct config *c)
{
    return c->population.experts + (c->evolution.recombine ? 1 : 0);
}

static void standing_begin(struct standing *standing, int experts)
{
    memset(standing, 0, sizeof *standing);
    standing->best = -1;
    standing->best_fitness = NAN;
    standing->champion = -1;
    standing->champion_fitness = NAN;
    live_all(&standing->live, experts);
}

/* Who was lost is back, as its last shard has it. Where experts evolve, what is that old may
 * neither lead nor be part of a mean: it begins again as the best member. */
static void take_back(struct coordinator_state *s)
{
    const struct config *c = &s->config;
    const bool independent =
        c->evolution.body.attractor == ATTRACT_NONE && c->evolution.io.attractor == ATTRACT_NONE;
    for (int k = 0; k < s->experts; k++)
        if (live_has(&s->standing.lost, k)) live_put(&s->standing.live, k, independent);
    live_none(&s->standing.lost, s->experts);
}

enum shoal_status coordinator_state_create(const struct config *c, int workers,
                                           const struct standing *standing,
                                           const struct judging *judgings, int64_t n_judgings,
                                           struct coordinator_state **out)
{
    struct coordinator_state *s;
    enum shoal_status st = SHOAL_OK;
    *out = NULL;
    SHOAL_CHECK(c->population.experts >= 1 && c->population.experts <= SHOAL_MAX_EXPERTS,
                SHOAL_EARG, "population.experts is %d, not 1 to %d", c->population.experts,
                SHOAL_MAX_EXPERTS);
    SHOAL_CHECK(workers >= 1 && workers <= c->population.experts, SHOAL_EARG,
                "%d workers for %d experts", workers, c->population.experts);
    SHOAL_TRY(mem_alloc(sizeof *s, "the coordinator's state", &s));
    s->config = *c;
    s->experts = c->population.experts;
    s->members = coordinator_members(c);
    s->history.members = s->members;
    s->resumed = standing != NULL;
    s->round_step = -1;
    standing_begin(&s->standing, s->experts);
    if (standing) s->standing = *standing;
    take_back(s);
    membership_begin(&s->membership, workers, s->experts);
    if (c->evolution.every > 0) s->standing.every = c->evolution.every;
    for (int64_t i = 0; i < n_judgings; i++)
        SHOAL_GOTO(history_add(&s->history, &judgings[i]));
    *out = s;
    return SHOAL_OK;
done:
    coordinator_state_destroy(&s);
    return st;
}

void coordinator_state_destroy(struct coordinator_state **s)
{
    if (!*s) return;
    history_clear(&(*s)->history);
    mem_free(*s);
    *s = NULL;
}

static int64_t next_judging(const struct coordinator_state *s, int64_t step)
{
    const int64_t judge = s->config.evolution.judge, next = (step / judge + 1) * judge;
    return next < s->config.run.steps ? next : s->config.run.steps;
}

static int64_t steps_between_rounds(const struct coordinator_state *s)
{
    return s->standing.every > 0 ? s->standing.every : cadence_probe(&s->config);
}

/* The experts by the newest judging there is; by their numbers while there is none. */
static const uint16_t *rank_experts(struct coordinator_state *s)
{
    const struct history *h = &s->history;
    if (!order_ranks(&s->config)) return NULL;
    for (int k = 0; k < s->experts; k++)
        s->order[k] = k;
    if (h->n > 0) plan_rank(h->rows[h->n - 1].fitness, s->experts, s->experts, s->order);
    for (int k = 0; k < s->experts; k++)
        s->ranked[k] = (uint16_t)s->order[k];
    return s->ranked;
}

/* Send an order that carries the standing decision, and wait for the judging at `until`. */
static void send_order(struct coordinator_state *s, struct order *order, struct actions *out)
{
    order->step = s->standing.step;
    order->judged = s->standing.step == s->standing.judged_step;
    order->best = s->standing.best;
    order->best_fitness = s->standing.best_fitness;
    order->live = s->standing.live;
    order->every = steps_between_rounds(s);
    s->until = order->until;
    s->stopped = order->stop != 0;
    s->n_heard = 0;
    memset(s->heard, 0, (size_t)s->members);
    state_hear_lost(s);
    s->asked = false;
    if (s->wish == WISH_SNAPSHOT && order->snapshot) s->wish = WISH_NONE;
    out->send = true;
    out->ranked = rank_experts(s);
    out->order = *order;
}

static enum shoal_status start(struct coordinator_state *s, struct actions *out)
{
    const int64_t step = s->standing.step, steps = s->config.run.steps;
    struct order order = {0};
    SHOAL_CHECK(!s->started, SHOAL_EARG, "the coordinator was started twice");
    s->started = true;
    for (int k = 0; k < s->experts; k++)
        s->trained[k] = step;
    if (s->resumed && step >= steps) {
        order.stop = 1;
        order.until = step;
        out->finished = true;
    } else if (s->resumed) {
        /* A run that was stopped between two rounds and then lengthened does not get one there. */
        order.round = !s->standing.round_done && step % steps_between_rounds(s) == 0;
        order.until = next_judging(s, step);
    }
    send_order(s, &order, out);
    s->standing.round_done = s->standing.round_done || order.round;
    return SHOAL_OK;
}

/* Take the decision of a complete judging over. Returns whether there is a new champion. */
static bool update_standing(struct coordinator_state *s, const struct judging *judged)
{
    struct standing *now = &s->standing;
    now->step = now->judged_step = judged->step;
    now->best = judged->best;
    now->best_fitness = judged->fitness[judged->best];
    (void)plan_live(judged->fitness, s->experts, &now->live);
    s->unsaved = true;
    if (now->champion >= 0 && !(now->best_fitness < now->champion_fitness)) return false;
    now->champion = now->best;
    now->champion_step = now->step;
    now->champion_fitness = now->best_fitness;
    return true;
}

static enum shoal_status judge(struct coordinator_state *s, double time_s, struct actions *out)
{
    const struct config *c = &s->config;
    const int64_t step = s->until;
    const struct judging row = {.step = step,
                                .time_s = time_s,
                                .best = plan_best(s->fitness, s->members, s->experts),
                                .fitness = s->fitness};
    struct order order = {0};
    SHOAL_TRY(history_add(&s->history, &row));
    out->judged = &s->history.rows[s->history.n - 1];
    SHOAL_CHECK(row.best >= 0, SHOAL_ENUMERIC,
                "the held-out loss of every member is not finite at step %lld (all %d experts "
                "diverged): lower train.lr (it is %g), lengthen train.warmup (%lld) or set "
                "train.clip (%g), then continue from the last snapshot or start again",
                (long long)step, s->experts, c->train.lr, (long long)c->train.warmup,
                c->train.clip);
    order.save_best = update_standing(s, out->judged);
    if (s->standing.every == 0 && cadence_ready(&s->cadence)) {
        s->standing.every = cadence_choose(&s->cadence, c);
        out->paced = &s->cadence;
    }
    const bool ends =
        step >= c->run.steps || (c->run.minutes > 0 && time_s >= c->run.minutes * 60.0);
    order.stop = ends || s->wish == WISH_STOP;
    order.eval = c->eval.every > 0 && (ends || (step > 0 && step % c->eval.every == 0));
    order.round = !order.stop;
    order.snapshot = order.stop || (s->wish == WISH_SNAPSHOT && !s->shards.waiting) ||
                     (c->snapshot.every > 0 && step > 0 && step % c->snapshot.every == 0);
    order.until = order.stop ? step : next_judging(s, step);
    send_order(s, &order, out);
    s->standing.round_done = 0; /* snapshots are taken before the round */
    s->evaluating = order.eval != 0;
    if (order.snapshot) state_begin_snapshot(s, out);
    return SHOAL_OK;
}

/* ---- between two judgings ---- */

/* Save the run where it has halted, and end it there or go on. */
static void answer_halt(struct coordinator_state *s, struct actions *out)
{
    struct order order = {.snapshot = 1, .stop = s->wish == WISH_STOP};
    s->standing.step = s->halted.step;
    s->standing.round_done = 0;
    order.round = !order.stop;
    order.until = order.stop ? s->standing.step : s->until;
    s->halted.kind = 0;
    send_order(s, &order, out);
    state_begin_snapshot(s, out);
}

static void hear_halted(struct coordinator_state *s, const struct report *r, struct actions *out)
{
    out->late = s->stopped || !s->asked || s->halted.kind != 0 || r->step <= s->standing.step ||
                r->step >= s->until;
    if (out->late) return;
    s->halted = *r;
}

static void take_wish(struct coordinator_state *s, enum wish wish, struct actions *out)
{
    out->late = s->stopped || wish <= s->wish || wish > WISH_STOP;
    if (out->late) return;
    s->wish = wish;
    if (s->asked) return;
    s->asked = out->send = true;
    out->order = (struct order){.halt = 1};
}

/* A wish that came before the last snapshot has been granted by it. */
static void hear_wish(struct coordinator_state *s, const struct report *r, struct actions *out)
{
    const bool granted =
        r->count[0] <= WISH_SNAPSHOT && s->shards.ordered && r->step <= s->shards.standing.step;
    out->late = granted || r->count[0] < WISH_SNAPSHOT || r->count[0] > WISH_STOP;
    if (!out->late) take_wish(s, (enum wish)r->count[0], out);
}

static void hear_fitness(struct coordinator_state *s, const struct report *r, struct actions *out)
{
    out->late = s->stopped || r->step != s->until || r->member < 0 || r->member >= s->members ||
                s->heard[r->member];
    if (out->late) return;
    s->heard[r->member] = 1;
    s->fitness[r->member] = r->value[0];
    s->n_heard++;
}

static void hear_eval(struct coordinator_state *s, const struct report *r, struct actions *out)
{
    out->late =
        !s->evaluating || r->step != s->standing.judged_step || r->member != s->standing.best;
    if (!out->late) s->evaluating = false;
}

static void hear_step(struct coordinator_state *s, const struct report *r, struct actions *out)
{
    out->late = s->stopped || !state_is_expert(s, r->member) || r->step > s->until ||
                r->step <= s->trained[r->member];
    if (!out->late) s->trained[r->member] = r->step;
}

static void hear_round(struct coordinator_state *s, const struct report *r, struct actions *out)
{
    out->late =
        s->stopped || r->step <= s->round_step || r->step < s->standing.step || r->step > s->until;
    if (out->late) return;
    s->round_step = r->step;
    if (s->standing.every == 0)
        cadence_hear(&s->cadence, steps_between_rounds(s), r->value[1], r->value[2]);
}

/* Decide what there is to decide, but while members change; a halt is answered when the shards of
 * the snapshot before have all been reported. */
static enum shoal_status decide(struct coordinator_state *s, double time_s, struct actions *out)
{
    if (s->membership.renewing || s->stopped) return SHOAL_OK;
    if (s->halted.kind != 0) {
        if (!s->shards.waiting) answer_halt(s, out);
        return SHOAL_OK;
    }
    return s->n_heard == s->members ? judge(s, time_s, out) : SHOAL_OK;
}

/* ---- state.h ---- */

static void hear(struct coordinator_state *s, const struct report *r, struct actions *out)
{
    out->late = !membership_counts(&s->membership, r->worker);
    if (out->late) return;
    switch (r->kind) {
    case REPORT_FITNESS:
        hear_fitness(s, r, out);
        break;
    case REPORT_WROTE:
    case REPORT_FAILED:
        state_hear_shard(s, r, out);
        break;
    case REPORT_STEP:
        hear_step(s, r, out);
        break;
    case REPORT_EVAL:
        hear_eval(s, r, out);
        break;
    case REPORT_LINEAGE:
    case REPORT_DEVICE:
        break;
    case REPORT_ROUND:
        hear_round(s, r, out);
        break;
    case REPORT_WISH:
        hear_wish(s, r, out);
        break;
    case REPORT_HALTED:
        hear_halted(s, r, out);
        break;
    case REPORT_PLACE:
        out->late = !membership_place(&s->membership, r);
        break;
    default:
        out->late = true;
    }
}

enum shoal_status coordinator_step(struct coordinator_state *s, const struct event *event,
                                   struct actions *out)
{
    memset(out, 0, offsetof(struct actions, announcement));
    if (event->kind == EVENT_START) return start(s, out);
    out->late = !s->started;
    if (!s->started) return SHOAL_OK;
    if (event->kind == EVENT_WISH) take_wish(s, event->wish, out);
    if (event->kind == EVENT_LOST) SHOAL_TRY(state_lose(s, event->worker, out));
    if (event->kind == EVENT_REPORT) hear(s, &event->report, out);
    if (out->late) return SHOAL_OK;
    state_renew(s, out);
    return decide(s, event->time_s, out);
}

bool coordinator_lost(const struct coordinator_state *s, int worker)
{
    return !membership_counts(&s->membership, worker);
}

void coordinator_standing(const struct coordinator_state *s, struct standing *out)
{
    *out = s->standing;
}

struct judging *coordinator_snapshot(const struct coordinator_state *s, struct standing *standing,
                                     int64_t *n)
{
    *standing = s->committed;
    *n = s->n_committed;
    return s->history.rows;
}
