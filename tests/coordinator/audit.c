/* audit.c - see audit.h. */
#include "coordinator/audit.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Leave the function where a rule does not hold. */
#define RULE(holds, ...)                                                                           \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            audit_break(a, __VA_ARGS__);                                                           \
            return;                                                                                \
        }                                                                                          \
    } while (0)

void audit_break(struct audit *a, const char *format, ...)
{
    va_list arguments;
    if (a->broken[0]) return;
    va_start(arguments, format);
    (void)vsnprintf(a->broken, sizeof a->broken, format, arguments);
    va_end(arguments);
}

void audit_make(struct audit *a, const struct oracle *oracle, int max_workers)
{
    memset(a, 0, sizeof *a);
    a->oracle = oracle;
    a->config = &oracle->config;
    a->experts = oracle->experts;
    a->members = oracle->members;
    a->committed = -1;
    a->next_round = calloc((size_t)max_workers, sizeof *a->next_round);
    if (!a->next_round) abort();
}

void audit_free(struct audit *a)
{
    free(a->next_round);
}

static bool same_bits(double x, double y)
{
    return memcmp(&x, &y, sizeof x) == 0;
}

/* ---- the ledger ---- */

static uint64_t digest_bytes(uint64_t digest, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, at + i, bytes - i < 8 ? bytes - i : 8);
        digest = physics_mix(digest ^ word);
    }
    return digest;
}

static uint64_t digest_index(const struct audit *a, const struct audit_index *index)
{
    const struct standing *s = index->standing;
    const int64_t numbers[] = {s->step,          s->best,           s->round_done, s->champion,
                               s->champion_step, index->n_judgings, s->judged_step};
    const double losses[] = {s->best_fitness, s->champion_fitness};
    uint64_t digest = digest_bytes(0, numbers, sizeof numbers);
    digest = digest_bytes(digest, losses, sizeof losses);
    digest = digest_bytes(digest, &s->live, sizeof s->live);
    for (int64_t i = 0; i < index->n_judgings; i++) {
        const struct judging *j = &index->judgings[i];
        digest = physics_mix(digest ^ (uint64_t)j->step ^ (uint64_t)j->best << 32);
        digest = digest_bytes(digest, &j->time_s, sizeof j->time_s);
        digest = digest_bytes(digest, j->fitness, (size_t)a->members * sizeof *j->fitness);
    }
    return digest;
}

static bool is_oracles(const struct audit *a, const struct judging *j,
                       const struct oracle_judging *expected)
{
    return expected && j->step == expected->step && j->best == expected->best &&
           memcmp(j->fitness, expected->fitness, (size_t)a->members * sizeof *j->fitness) == 0;
}

static void check_ledger(struct audit *a, const struct audit_index *index)
{
    const struct oracle_judging *expected = a->oracle->judgings;
    RULE(index->n_judgings > 0 && index->n_judgings <= a->oracle->n_judgings &&
             index->judgings[index->n_judgings - 1].step == index->standing->judged_step,
         "a ledger of %lld judgings does not end at step %lld", (long long)index->n_judgings,
         (long long)index->standing->judged_step);
    for (int64_t i = 0; i < index->n_judgings; i++)
        RULE(is_oracles(a, &index->judgings[i], &expected[i]),
             "judging %lld of the ledger, at step %lld, is not what was reported", (long long)i,
             (long long)index->judgings[i].step);
}

/* Whether the judging at `step` has a new champion, and who. */
static bool crown(struct audit *a, int64_t step)
{
    const struct oracle_judging *j = oracle_find(a->oracle, step);
    if (!j || j->best < 0) return false;
    if (a->champion >= 0 && !(j->fitness[j->best] < a->champion_fitness)) return false;
    a->champion = j->best;
    a->champion_step = step;
    a->champion_fitness = j->fitness[j->best];
    return true;
}

void audit_begin(struct audit *a, const struct audit_index *resume, int workers)
{
    const size_t session = offsetof(struct audit, any_order);
    int64_t from = 0;
    memset((char *)a + session, 0, sizeof *a - session);
    a->champion = -1;
    a->snapshot_step = -1;
    RULE((resume != NULL) == (a->committed >= 0), "a committed snapshot was not resumed from");
    if (resume) {
        const int64_t step = resume->standing->step;
        RULE(step == a->committed && digest_index(a, resume) == a->ledger,
             "the ledger that was read at step %lld is not the one committed at step %lld",
             (long long)step, (long long)a->committed);
        for (int64_t i = 0; i < resume->n_judgings; i++)
            (void)crown(a, resume->judgings[i].step);
        from = step + resume->standing->round_done;
        a->last.until = step;
        a->judged_step = resume->standing->judged_step;
    }
    from = oracle_round_from(a->oracle, from);
    a->due_round = from;
    for (int i = 0; i < workers; i++)
        a->next_round[i] = from;
}

/* ---- the coordinator ---- */

static int64_t judging_after(const struct audit *a, int64_t step)
{
    const int64_t judge = a->config->evolution.judge, next = step - step % judge + judge;
    return next < a->config->run.steps ? next : a->config->run.steps;
}

static bool every(int64_t step, int64_t interval)
{
    return interval > 0 && step > 0 && step % interval == 0;
}

/* The answer to a halt: saved there, and ended if so wished. */
static void check_answer(struct audit *a, const struct order *o)
{
    const int64_t step = a->halted.step;
    const bool stop = a->wish == WISH_STOP;
    RULE(o->step == step && !o->judged && oracle_find_halt(a->oracle, step),
         "an answer for step %lld to a halt at step %lld", (long long)o->step, (long long)step);
    RULE(o->snapshot && o->stop == stop && o->round == !stop && !o->eval && !o->save_best,
         "a strange answer to a halt: snapshot %d, stop %d", o->snapshot, o->stop);
    RULE(o->until == (stop ? step : a->last.until), "train until %lld after the halt at step %lld",
         (long long)o->until, (long long)step);
    RULE(o->best == a->last.best && same_bits(o->best_fitness, a->last.best_fitness) &&
             memcmp(&o->live, &a->last.live, sizeof o->live) == 0,
         "a halt at step %lld changes the decision", (long long)step);
    a->halted.kind = 0;
}

static bool is_writing(const struct audit *a)
{
    return a->snapshot_step >= 0 && a->n_told < a->experts;
}

static void check_decision(struct audit *a, const struct event *event, const struct order *o)
{
    const struct config *c = a->config;
    const int64_t step = a->last.until;
    const struct oracle_judging *j = oracle_find(a->oracle, step);
    const double limit_s = c->run.minutes * 60.0;
    const bool ends = step >= c->run.steps || (limit_s > 0 && event->time_s >= limit_s);
    const bool stop = ends || a->wish == WISH_STOP;
    RULE(a->n_heard == a->members && o->step == step && j,
         "a decision for step %lld after %d reports of step %lld", (long long)o->step, a->n_heard,
         (long long)step);
    RULE(o->best == j->best, "best at step %lld is %d, but the reports say %d", (long long)step,
         o->best, j->best);
    RULE(isfinite(o->best_fitness) && same_bits(o->best_fitness, j->fitness[j->best]),
         "the best at step %lld has a fitness of %g, not %g", (long long)step, o->best_fitness,
         j->fitness[j->best]);
    RULE(o->stop == stop && o->round == !stop, "stop %d and round %d at step %lld", o->stop,
         o->round, (long long)step);
    RULE(o->save_best == crown(a, step), "save_best %d at step %lld", o->save_best,
         (long long)step);
    RULE(o->judged, "a judging at step %lld that was none", (long long)step);
    RULE(o->eval == (c->eval.every > 0 && (ends || every(step, c->eval.every))),
         "eval %d at step %lld", o->eval, (long long)step);
    RULE(o->snapshot ==
             (stop || (a->wish != WISH_NONE && !is_writing(a)) || every(step, c->snapshot.every)),
         "snapshot %d at step %lld", o->snapshot, (long long)step);
    RULE(o->until == (stop ? step : judging_after(a, step)), "train until %lld after step %lld",
         (long long)o->until, (long long)step);
    for (int k = 0; k < a->experts; k++)
        RULE(live_has(&o->live, k) == (isfinite(j->fitness[k]) != 0),
             "expert %d counts as %s at step %lld", k, live_has(&o->live, k) ? "alive" : "dead",
             (long long)step);
}

static void take_order(struct audit *a, const struct event *event, const struct order *o)
{
    RULE(!a->stopped && !a->finished, "an order after the last");
    if (a->halted.kind != 0) {
        check_answer(a, o);
    } else if (event->kind == EVENT_REPORT) {
        check_decision(a, event, o);
        /* Workers finish one snapshot before they report for the next, unless the clock stops the
         * run, and evaluate before they train on. */
        RULE(!o->snapshot || !is_writing(a) || o->stop || a->config->run.minutes > 0,
             "%d of %d shards of step %lld came before the next snapshot", a->n_told, a->experts,
             (long long)a->snapshot_step);
        RULE(!a->evaluating, "the evaluation at step %lld did not come before the next judging",
             (long long)a->last.step);
        RULE(o->step > a->last.step || a->n_judgings == 0, "orders go back to step %lld",
             (long long)o->step);
        a->n_judgings++;
        a->judged_step = o->step;
        a->evaluating = o->eval != 0;
    } else {
        RULE(!a->any_order && !o->eval && !o->snapshot && !o->save_best, "a strange first order");
    }
    a->any_order = true;
    a->last = *o;
    memset(a->heard, 0, (size_t)a->members);
    a->n_heard = 0;
    a->stopped = o->stop != 0;
    a->asked = false;
    if (!o->snapshot) return;
    if (a->wish == WISH_SNAPSHOT) a->wish = WISH_NONE;
    a->snapshot_step = o->step;
    memset(a->told, 0, (size_t)a->experts);
    a->n_told = 0;
    a->failed = false;
}

static bool is_member(int member, int members)
{
    return member >= 0 && member < members;
}

/* Whether this report is the first, in time, of its kind; counted when it is. */
static bool take_report(struct audit *a, const struct report *r)
{
    if (r->kind == REPORT_FITNESS) {
        if (a->stopped || r->step != a->last.until || !is_member(r->member, a->members) ||
            a->heard[r->member])
            return false;
        a->heard[r->member] = 1;
        a->n_heard++;
        return true;
    }
    if (r->kind == REPORT_EVAL) {
        if (!a->evaluating || r->step != a->judged_step || r->member != a->last.best) return false;
        a->evaluating = false;
        return true;
    }
    if (r->step != a->snapshot_step || !is_member(r->member, a->experts) || a->told[r->member])
        return false;
    a->told[r->member] = 1;
    a->failed = a->failed || r->kind == REPORT_FAILED;
    a->n_told++;
    return true;
}

static void check_round_report(struct audit *a, const struct report *r, bool late)
{
    const struct oracle_round *due = &a->oracle->rounds[a->due_round];
    const bool counts = a->due_round < a->oracle->n_rounds && due->step == r->step;
    RULE(late != counts, "the report of a round at step %lld %s", (long long)r->step,
         late ? "was ignored" : "counted, but was not due");
    a->due_round += counts;
}

static bool take_wish(struct audit *a, int64_t wish)
{
    a->news = !a->stopped && wish > a->wish;
    if (a->news) a->wish = (enum wish)wish;
    return a->news;
}

/* Halts and wishes; likewise. */
static bool take_halt(struct audit *a, const struct report *r)
{
    if (r->kind == REPORT_WISH) {
        const bool granted = r->count[0] == WISH_SNAPSHOT && r->step <= a->snapshot_step;
        return !granted && take_wish(a, r->count[0]);
    }
    if (a->stopped || !a->asked || a->halted.kind != 0 || r->step <= a->last.step ||
        r->step >= a->last.until)
        return false;
    a->halted = *r;
    return true;
}

static void check_report(struct audit *a, const struct report *r, bool late)
{
    if (r->kind == REPORT_ROUND) check_round_report(a, r, late);
    if (r->kind == REPORT_STEP || r->kind == REPORT_DEVICE || r->kind == REPORT_ROUND ||
        r->kind == REPORT_LINEAGE)
        return;
    const bool halts = r->kind == REPORT_WISH || r->kind == REPORT_HALTED;
    const bool counts = halts ? take_halt(a, r) : take_report(a, r);
    RULE(late != counts, "a report of kind %d, member %d and step %lld %s", r->kind, r->member,
         (long long)r->step, late ? "was ignored" : "counted, too late or twice");
    if (!counts || r->kind != REPORT_FITNESS) return;
    const struct oracle_judging *j = oracle_find(a->oracle, r->step);
    RULE(j && same_bits(j->fitness[r->member], r->value[0]),
         "member %d has a fitness of %g at step %lld: its weights are not what they should be",
         r->member, r->value[0], (long long)r->step);
}

static void check_actions(struct audit *a, const struct event *event, const struct actions *actions)
{
    const struct report *r = &event->report;
    const bool judged = a->n_heard == a->members;
    const bool all_told = event->kind == EVENT_REPORT &&
                          (r->kind == REPORT_WROTE || r->kind == REPORT_FAILED) && !actions->late &&
                          a->n_told == a->experts;
    const bool replaced = actions->send && actions->order.snapshot && is_writing(a);
    const bool answers = a->halted.kind != 0 && !is_writing(a), asks = a->news && !a->asked;
    RULE(actions->send == (judged || event->kind == EVENT_START || answers || asks),
         "%s after %d of %d reports of step %lld, halted at step %lld",
         actions->send ? "an order" : "no order", a->n_heard, a->members, (long long)a->last.until,
         (long long)a->halted.step);
    RULE(!actions->send || (actions->order.halt != 0) == (asks && !judged && !answers),
         "an order with halt %d", actions->order.halt);
    RULE((actions->judged != NULL) == judged, "a judging of %d members", a->n_heard);
    if (judged)
        RULE(is_oracles(a, actions->judged, oracle_find(a->oracle, a->last.until)),
             "the judging at step %lld is not what was reported", (long long)a->last.until);
    RULE(actions->abandon == (replaced || (all_told && a->failed)) &&
             (!actions->abandon || actions->abandon_step == a->snapshot_step),
         "abandon %d with %d of %d reports of step %lld", actions->abandon, a->n_told, a->experts,
         (long long)a->snapshot_step);
    RULE(actions->commit == (all_told && !a->failed), "%s with %d of %d shards of step %lld",
         actions->commit ? "a commit" : "no commit", a->n_told, a->experts,
         (long long)a->snapshot_step);
    RULE(!actions->commit ||
             (actions->commit_step == a->snapshot_step && actions->commit_step > a->committed),
         "a commit of step %lld after that of step %lld", (long long)actions->commit_step,
         (long long)a->committed);
    RULE(actions->finished == (all_told && a->stopped), "finished %d", actions->finished);
    if (actions->send && actions->order.halt) a->asked = true;
    if (actions->send && !actions->order.halt) take_order(a, event, &actions->order);
    a->finished = a->finished || actions->finished;
}

void audit_event(struct audit *a, const struct event *event, enum shoal_status status,
                 const struct actions *actions)
{
    RULE(!a->finished || !(actions->send || actions->commit || actions->finished),
         "something happens after the end");
    a->news = false;
    if (event->kind == EVENT_REPORT) check_report(a, &event->report, actions->late);
    if (event->kind == EVENT_WISH)
        RULE(take_wish(a, event->wish) != actions->late, "a wish %s",
             actions->late ? "was ignored" : "counted twice");
    if (a->broken[0]) return;
    if (status == SHOAL_OK) {
        check_actions(a, event, actions);
        return;
    }
    const struct oracle_judging *j = oracle_find(a->oracle, a->last.until);
    RULE(status == SHOAL_ENUMERIC && a->n_heard == a->members && j && j->best < 0,
         "the coordinator fails at step %lld: %s", (long long)a->last.until, shoal_failure_text());
}

/* ---- workers and files ---- */

static bool same_list(const int32_t *a, const int32_t *b, int n)
{
    return a && b ? memcmp(a, b, (size_t)n * sizeof *a) == 0 : a == b;
}

void audit_round(struct audit *a, int worker, int64_t step, const int toward[PHYSICS_GROUPS],
                 const int32_t *const follows[PHYSICS_GROUPS], const struct live_set *live)
{
    const struct oracle_round *r = &a->oracle->rounds[a->next_round[worker]];
    RULE(a->next_round[worker] < a->oracle->n_rounds && r->step == step,
         "worker %d has a round at step %lld, where none or another is due", worker,
         (long long)step);
    a->next_round[worker]++;
    for (int g = 0; g < PHYSICS_GROUPS; g++)
        RULE(toward[g] == r->toward[g],
             "worker %d moves group %d toward member %d at step %lld instead of %d", worker, g,
             toward[g], (long long)step, r->toward[g]);
    for (int g = 0; g < PHYSICS_GROUPS; g++)
        RULE(same_list(follows[g], r->follows[g], a->experts),
             "worker %d is wrong about who takes group %d from whom at step %lld", worker, g,
             (long long)step);
    RULE(memcmp(live->word, r->live, live_words(a->experts) * sizeof *r->live) == 0,
         "worker %d is wrong about who is alive at step %lld", worker, (long long)step);
}

/* Whether best.h5 holds the snapshot's champion, or one that came after it while shards were still
 * being written. */
static bool is_champion(const struct audit *a, const struct audit_index *index)
{
    const struct best_file *best = &index->best;
    const struct standing *then = index->standing;
    if (best->step > then->champion_step) return best->step <= a->champion_step;
    return best->step == then->champion_step && best->member == then->champion &&
           same_bits(best->fitness, then->champion_fitness);
}

/* A session that was killed may have come further than the run has now, and found a better one. */
static bool is_foretold(const struct audit *a, const struct audit_index *index)
{
    const struct best_file *best = &index->best;
    const struct oracle_judging *j = oracle_find(a->oracle, best->step);
    return best->step > index->standing->judged_step && best->fitness < a->champion_fitness && j &&
           j->best == best->member && same_bits(j->fitness[j->best], best->fitness);
}

void audit_commit(struct audit *a, const struct audit_index *index)
{
    const int64_t step = index->standing->step;
    const bool is_halt = step != index->standing->judged_step;
    const struct oracle_judging *j = oracle_find(a->oracle, step);
    const struct oracle_halt *h = is_halt ? oracle_find_halt(a->oracle, step) : NULL;
    RULE(index->n_shards == a->experts, "step %lld is committed with %d of %d shards on disk",
         (long long)step, index->n_shards, a->experts);
    RULE(!index->standing->round_done &&
             (is_halt ? h && index->digest == h->digest : j && index->digest == j->digest),
         "the shards of step %lld hold weights of another time", (long long)step);
    RULE(a->best_lost || is_champion(a, index) || is_foretold(a, index),
         "best.h5 holds member %d of step %lld at the commit of step %lld, whose champion is %d of "
         "step %lld",
         index->best.member, (long long)index->best.step, (long long)step,
         index->standing->champion, (long long)index->standing->champion_step);
    check_ledger(a, index);
    if (a->broken[0]) return;
    a->committed = step;
    a->ledger = digest_index(a, index);
    a->n_commits++;
}

void audit_best(struct audit *a, bool written)
{
    a->best_lost = !written;
}

void audit_end(struct audit *a, const struct standing *standing, bool lost)
{
    RULE(a->finished && a->stopped, "the run ended without a last order");
    RULE(!a->evaluating, "the evaluation at step %lld never came in", (long long)a->last.step);
    RULE((lost || a->committed == a->last.step) && standing->step == a->last.step,
         "the run ended at step %lld, but the newest snapshot is of step %lld",
         (long long)a->last.step, (long long)a->committed);
    RULE(standing->champion == a->champion && standing->champion_step == a->champion_step &&
             same_bits(standing->champion_fitness, a->champion_fitness),
         "the champion is member %d of step %lld, not %d of step %lld", standing->champion,
         (long long)standing->champion_step, a->champion, (long long)a->champion_step);
}
