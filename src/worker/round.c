/* round.c - a round: attractors travel to all workers (fetch.c), and their experts move toward
 * them.
 *
 * Without a delay that happens at once. With one, the experts' weights are copied to outboxes, a
 * thread exchanges them while training goes on, and evolution.delay steps later each expert gets
 * the difference that the operators make of its outbox. The step is fixed, so the result does not
 * depend on how fast the exchange was; who comes there too early waits. */
#include <math.h>
#include <string.h>
#include "base/clock.h"
#include "evo/operators.h"
#include "evo/select.h"
#include "optim/optim.h"
#include "worker/worker_impl.h"

/* ---- beginning ---- */

struct slabs worker_sent(const struct worker *w, const struct own *own)
{
    const struct expert *const e = own->expert;
    if (w->round.pending && own->outbox.weights) return own->outbox;
    return (struct slabs){e->weights, e->adam_m, e->adam_v};
}

static struct range intersect(struct range a, struct range b)
{
    const int64_t begin = a.begin > b.begin ? a.begin : b.begin;
    const int64_t end = a.end < b.end ? a.end : b.end;
    return (struct range){begin, end > begin ? end : begin};
}

/* The elements of a group and a fragment. */
static void find_ranges(const struct worker *w, int fragment, struct pull *p)
{
    const struct param_table *const t = w->table;
    const int fragments = (int)w->cfg->evolution.fragments;
    const struct range part = {param_fragment(t, fragment, fragments),
                               param_fragment(t, fragment + 1, fragments)};
    const struct range body = {t->body_begin, t->body_end};
    const struct range before = {0, t->body_begin}, after = {t->body_end, t->n_params};
    p->range[0] = intersect(p->group == GROUP_BODY ? body : before, part);
    p->range[1] = p->group == GROUP_BODY ? (struct range){0, 0} : intersect(after, part);
}

static enum shoal_status fill_outbox(struct worker *w, struct own *own)
{
    const struct expert *const e = own->expert;
    const float *from[] = {e->weights, e->adam_m, e->adam_v};
    float *to[] = {own->outbox.weights, own->outbox.m, own->outbox.v};
    const size_t bytes = (size_t)w->table->n_params * sizeof **to;
    for (int i = 0; i < 3; i++)
        if (to[i]) SHOAL_TRY(device_copy(w->dev, to[i], from[i], bytes));
    return SHOAL_OK;
}

static void note_alive(struct worker *w)
{
    double *const own = w->alive + w->cfg->population.experts;
    memset(own, 0, (size_t)w->cfg->population.experts * sizeof *own);
    for (int i = 0; i < w->n_own; i++)
        own[w->first + i] = isfinite(w->own[i].past.last_loss) ? 1 : 0;
}

static void prepare(struct worker *w, const struct order *order, int64_t step, bool judged)
{
    const struct config *c = w->cfg;
    struct round *const r = &w->round;
    *r = (struct round){.pending = true,
                        .step = step,
                        .due = step + c->evolution.delay,
                        .every = order->every,
                        .judged = judged,
                        .mean_fresh = w->mean_fresh,
                        .narrow = !judged && c->evolution.wire != WIRE_F32,
                        .best = order->best,
                        .fragment = (int)(step / order->every % c->evolution.fragments),
                        .live = order->live,
                        .pull = {{.rule = &c->evolution.body, .group = GROUP_BODY, .member = -1},
                                 {.rule = &c->evolution.io, .group = GROUP_IO, .member = -1}},
                        .begun_s = clock_now_s()};
    r->trained_s = judged ? NAN : r->begun_s - w->round_s;
    w->round_s = r->begun_s;
    for (int g = 0; g < 2; g++)
        find_ranges(w, r->fragment, &r->pull[g]);
    if (!judged) note_alive(w);
    /* Before the first step there is nothing to choose by. */
    for (int g = 0; judged && step > 0 && g < 2; g++)
        if (select_applies((enum attractor)r->pull[g].rule->attractor))
            worker_find_sources(w, &r->pull[g]);
}

static enum shoal_status fetch_timed(struct worker *w, void *nothing)
{
    (void)nothing;
    SHOAL_TRY(worker_fetch(w));
    w->round.exchange_s = clock_now_s() - w->round.begun_s;
    return SHOAL_OK;
}

/* On a thread of its own. Training may take what came as soon as it knows that it came. */
static enum shoal_status fetch_beside(void *worker)
{
    struct worker *const w = worker;
    enum shoal_status st = SHOAL_OK;
    SHOAL_TRY(device_lane_enter(w->dev));
    SHOAL_GOTO(worker_attempt(w, fetch_timed, NULL));
    SHOAL_GOTO(device_sync(w->dev));
done:
    device_lane_leave(w->dev);
    return st;
}

/* ---- application ---- */

static struct evolve_args arguments(const struct worker *w, const struct expert *e,
                                    const struct pull *p)
{
    const struct config *c = w->cfg;
    const struct round *const r = &w->round;
    const bool moments = p->rule->moments == MOMENTS_INHERIT;
    return (struct evolve_args){
        .rule = p->rule,
        .group = p->group,
        .begin = param_fragment(w->table, r->fragment, (int)c->evolution.fragments),
        .end = param_fragment(w->table, r->fragment + 1, (int)c->evolution.fragments),
        .attractor = p->slabs.weights,
        .attractor_m = moments ? p->slabs.m : NULL,
        .attractor_v = moments ? p->slabs.v : NULL,
        .is_attractor = p->member == e->number,
        .dead = !live_has(&r->live, e->number),
        .seed = (uint64_t)c->run.seed,
        .round = (uint32_t)(r->step / r->every),
        .lr = (float)(optim_lr(c, r->step > 0 ? r->step : 1) * e->lr_scale),
        .beta1 = (float)c->train.beta1,
        .beta2 = (float)c->train.beta2,
        .eps = (float)c->train.eps};
}

/* e->weights += what the operators would have made of the outbox, less the outbox. */
static enum shoal_status evolve_later(struct worker *w, struct own *own, const struct pull *p,
                                      const struct evolve_args *args)
{
    struct expert *const e = own->expert;
    float *const now = e->weights;
    const float *const then = own->outbox.weights;
    for (int i = 0; i < 2; i++) {
        const struct range r = p->range[i];
        SHOAL_TRY(device_copy(w->dev, w->moved + r.begin, then + r.begin,
                              (size_t)(r.end - r.begin) * sizeof *then));
    }
    e->weights = w->moved;
    const enum shoal_status st = evolve_group(e, args);
    e->weights = now;
    SHOAL_TRY(st);
    for (int i = 0; i < 2; i++) {
        const struct range r = p->range[i];
        const int64_t n = r.end - r.begin;
        float *const moved = w->moved + r.begin;
        if (n == 0) continue;
        /* Whoever is dead becomes the attractor, whatever it did since. */
        if (args->dead) {
            SHOAL_TRY(device_copy(w->dev, now + r.begin, moved, (size_t)n * sizeof *moved));
            continue;
        }
        SHOAL_TRY(kernel_axpby(w->dev, moved, then + r.begin, n, -1.0f, 1.0f));
        SHOAL_TRY(kernel_axpby(w->dev, now + r.begin, moved, n, 1.0f, 1.0f));
    }
    return SHOAL_OK;
}

static enum shoal_status apply(struct worker *w, struct own *own)
{
    const struct round *const r = &w->round;
    park_touch(w, own);
    if (r->judged) SHOAL_TRY(worker_note_distance(w, own, r->pull, r->step));
    if (r->judged) SHOAL_TRY(lineage_begin(w, own->expert));
    for (int g = 0; g < 2; g++) {
        const struct pull *p = &w->round.pull[g];
        struct expert *const e = own->expert;
        if (p->member < 0) continue;
        const struct evolve_args args = arguments(w, e, p);
        if (own->outbox.weights && !args.is_attractor)
            SHOAL_TRY(evolve_later(w, own, p, &args));
        else
            SHOAL_TRY(evolve_group(e, &args));
        if (!args.is_attractor) e->parent = p->member;
    }
    if (!r->judged) return SHOAL_OK;
    return lineage_end(w, own, r->pull, r->step, !live_has(&r->live, own->expert->number));
}

/* Every own expert takes its steps. */
static enum shoal_status apply_all(struct worker *w)
{
    for (int i = 0; i < w->n_own; i++)
        SHOAL_TRY(apply(w, &w->own[i]));
    return SHOAL_OK;
}

/* The same where they follow different ones. After a loss who has been served is left out. */
static enum shoal_status follow_all(struct worker *w, void *nothing)
{
    struct pull *const pull = w->round.pull;
    (void)nothing;
    SHOAL_TRY(worker_inherit_rates(w, pull[0].source ? pull[0].source : pull[1].source));
    SHOAL_TRY(worker_tell_followed(w));
    for (int k = 0; k < w->cfg->population.experts; k++) {
        if (w->told[k] > 0 || !worker_has(w, k)) continue;
        for (int g = 0; g < 2; g++)
            if (pull[g].source) SHOAL_TRY(worker_fetch_for(w, &pull[g], k));
        if (k < w->first || k >= w->first + w->n_own) continue;
        SHOAL_TRY(apply(w, &w->own[k - w->first]));
        w->followed[k] = 1;
    }
    return SHOAL_OK;
}

static enum shoal_status serve_all(struct worker *w)
{
    const struct pull *const pull = w->round.pull;
    if (!pull[0].source && !pull[1].source) return apply_all(w);
    memset(w->followed, 0, (size_t)w->cfg->population.experts);
    return worker_together(w, follow_all, NULL);
}

static bool moves(const struct round *r)
{
    return r->pull[0].member >= 0 || r->pull[1].member >= 0 || r->pull[0].source ||
           r->pull[1].source;
}

/* ---- worker_impl.h ---- */

static enum shoal_status report_round(struct worker *w)
{
    const struct round *const r = &w->round;
    const int member = r->pull[0].member >= 0 ? r->pull[0].member : r->pull[1].member;
    const uint64_t before = w->told_moved;
    if (!moves(r)) return SHOAL_OK;
    w->told_moved = comm_bytes_moved(w->comm);
    const struct report report = {.kind = REPORT_ROUND,
                                  .worker = w->number,
                                  .member = member,
                                  .step = r->step,
                                  .count = {(int64_t)(w->told_moved - before)},
                                  .value = {r->exchange_s, r->stall_s, r->trained_s}};
    return worker_say_for_all(w, &report);
}

static enum shoal_status fetch_here(struct worker *w)
{
    SHOAL_TRY(worker_together(w, fetch_timed, NULL));
    return worker_leave_behind(w);
}

static enum shoal_status begin(struct worker *w)
{
    if (w->cfg->evolution.delay == 0) return fetch_here(w);
    if (w->park) SHOAL_TRY(park_send_home(w)); /* homes are outboxes */
    for (int i = 0; !w->park && i < w->n_own; i++)
        SHOAL_TRY(fill_outbox(w, &w->own[i]));
    if (!w->job) return fetch_here(w);
    /* The copies must be there before another thread reads them. */
    SHOAL_TRY(device_sync(w->dev));
    comm_be_quiet(w->comm, true);
    job_start(w->job, fetch_beside, w);
    return SHOAL_OK;
}

static enum shoal_status arrive(struct worker *w)
{
    if (!w->job || !job_running(w->job)) return SHOAL_OK;
    const enum shoal_status st = job_wait(w->job);
    comm_be_quiet(w->comm, false);
    SHOAL_TRY(worker_settle(w, st, fetch_timed, NULL));
    return worker_leave_behind(w);
}

enum shoal_status worker_round(struct worker *w, const struct order *order, int64_t step,
                               bool judged)
{
    if (!worker_evolves(w->cfg)) return SHOAL_OK;
    SHOAL_ASSERT(!w->round.pending);
    prepare(w, order, step, judged);
    SHOAL_TRY(begin(w));
    const bool at_once = w->cfg->evolution.delay == 0;
    if (at_once && moves(&w->round)) SHOAL_TRY(serve_all(w));
    w->round.stall_s = clock_now_s() - w->round.begun_s;
    return at_once ? worker_round_done(w, step) : SHOAL_OK;
}

enum shoal_status worker_round_due(struct worker *w, struct own *own, int64_t step)
{
    struct round *const r = &w->round;
    if (!r->pending || step != r->due) return SHOAL_OK;
    const double start_s = clock_now_s();
    SHOAL_TRY(arrive(w));
    if (moves(r)) SHOAL_TRY(apply(w, own));
    /* Training goes on from here: with these weights, and with no gradients yet. */
    SHOAL_TRY(gpt_load(w->gpt, own->expert->weights));
    SHOAL_TRY(gpt_zero_grads(w->gpt));
    r->stall_s += clock_now_s() - start_s;
    return SHOAL_OK;
}

enum shoal_status worker_round_done(struct worker *w, int64_t step)
{
    if (!w->round.pending || step < w->round.due) return SHOAL_OK;
    w->round.pending = false;
    return report_round(w);
}

enum shoal_status worker_round_drop(struct worker *w)
{
    const enum shoal_status st = arrive(w);
    w->round.pending = false;
    return st;
}
