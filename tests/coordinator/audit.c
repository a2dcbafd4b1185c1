#include "coordinator/audit.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

double audit_fitness(uint64_t seed, int member, int64_t step)
{
    uint64_t h = seed ^ (uint64_t)member * 0x9E3779B97F4A7C15u ^ (uint64_t)step << 20;
    for (int i = 0; i < 3; i++)
        h = (h ^ h >> 29) * 0xBF58476D1CE4E5B9u;
    h ^= h >> 32;
    const double unusual[] = {NAN, NAN, INFINITY, -INFINITY, -0.0, 0.0};
    if (h % 64 < 6) return unusual[h % 64];
    return (double)(h / 64 % 24) / 8.0;
}

int audit_best(uint64_t seed, int members, int experts, int64_t step)
{
    int best = -1;
    double lowest = INFINITY;
    for (int i = 0; i < members; i++) {
        const double x = audit_fitness(seed, i, step);
        if (!isfinite(x)) continue;
        if (best < 0 || x < lowest || (x == lowest && i == experts)) {
            best = i;
            lowest = x;
        }
    }
    return best;
}

static int64_t judging_after(const struct machine_shape *shape, int64_t step)
{
    int64_t next = 0;
    while (next <= step)
        next += shape->judge;
    return next < shape->steps ? next : shape->steps;
}

/* Whether the judging at `step` has a new champion, and who. */
static bool audit_champion(struct audit *a, int64_t step)
{
    const int best = audit_best(a->seed, a->members, a->shape.experts, step);
    if (best < 0) return false;
    if (a->champion >= 0 && !(audit_fitness(a->seed, best, step) <
                              audit_fitness(a->seed, a->champion, a->champion_step)))
        return false;
    a->champion = best;
    a->champion_step = step;
    return true;
}

void audit_begin(struct audit *a, const struct machine_shape *shape, uint64_t seed, int64_t step)
{
    memset(a, 0, sizeof *a);
    a->shape = *shape;
    a->members = shape->experts + (shape->recombine ? 1 : 0);
    a->seed = seed;
    a->champion = -1;
    a->snapshot_step = a->committed = -1;
    if (step == 0) return;
    (void)audit_champion(a, 0);
    for (int64_t s = 0; s < step;) {
        s = judging_after(shape, s);
        (void)audit_champion(a, s);
    }
}

static void check_decision(struct audit *a, const struct event *event, const struct order *o)
{
    const struct machine_shape *shape = &a->shape;
    const int64_t step = a->last.until;
    const bool stop =
        step >= shape->steps || (shape->minutes > 0 && event->time_s >= shape->minutes * 60.0);
    assert_int_equal(a->n_heard, a->members);
    assert_int_equal(o->step, step);
    assert_int_equal(o->best, audit_best(a->seed, a->members, shape->experts, step));
    assert_int_equal(o->save_best, audit_champion(a, step));
    assert_int_equal(o->stop, stop);
    assert_int_equal(o->eval, shape->eval_every > 0 &&
                                  (stop || (step > 0 && step % shape->eval_every == 0)));
    assert_int_equal(o->round, !stop);
    assert_int_equal(o->snapshot, stop || (shape->snapshot_every > 0 && step > 0 &&
                                           step % shape->snapshot_every == 0));
    assert_int_equal(o->until, stop ? step : judging_after(shape, step));
    for (int k = 0; k < shape->experts; k++)
        assert_int_equal(live_has(&o->live, k), isfinite(audit_fitness(a->seed, k, step)) ? 1 : 0);
}

static void take_order(struct audit *a, const struct event *event, const struct order *o)
{
    assert_false(a->stopped || a->finished);
    if (event->kind == EVENT_REPORT) {
        check_decision(a, event, o);
        assert_true(o->step > a->last.step || a->n_judgings == 0);
        a->n_judgings++;
    } else {
        assert_false(a->any_order);
        assert_int_equal(o->eval, 0);
    }
    a->any_order = true;
    a->last = *o;
    memset(a->heard, 0, sizeof a->heard);
    a->n_heard = 0;
    a->stopped = o->stop != 0;
    a->n_stops += a->stopped;
    a->evaluating = o->eval != 0;
    a->n_evals_ordered += a->evaluating;
    if (!o->snapshot) return;
    a->snapshot_step = o->step;
    memset(a->wrote, 0, sizeof a->wrote);
    a->n_wrote = 0;
}

/* Whether this report is the first, in time, of its kind; counted when it is. */
static bool take_report(struct audit *a, const struct report *r)
{
    if (r->kind == REPORT_FITNESS) {
        if (a->stopped || r->step != a->last.until || r->member < 0 || r->member >= a->members ||
            a->heard[r->member])
            return false;
        a->heard[r->member] = true;
        a->n_heard++;
        return true;
    }
    if (r->kind == REPORT_EVAL) {
        if (!a->evaluating || r->step != a->last.step || r->member != a->last.best) return false;
        a->evaluating = false;
        a->n_evals++;
        return true;
    }
    if (r->step != a->snapshot_step || r->member < 0 || r->member >= a->shape.experts ||
        a->wrote[r->member])
        return false;
    a->wrote[r->member] = true;
    a->n_wrote++;
    return true;
}

void audit_event(struct audit *a, const struct event *event, enum shoal_status status,
                 const struct actions *actions)
{
    const struct report *r = &event->report;
    assert_false(a->finished && (actions->send || actions->commit || actions->finished));
    if (event->kind == EVENT_REPORT &&
        (r->kind == REPORT_FITNESS || r->kind == REPORT_WROTE || r->kind == REPORT_EVAL))
        assert_int_equal(actions->late, !take_report(a, r));
    const bool judged = a->n_heard == a->members;
    if (status != SHOAL_OK) {
        assert_int_equal(status, SHOAL_ENUMERIC);
        assert_true(judged);
        assert_int_equal(audit_best(a->seed, a->members, a->shape.experts, a->last.until), -1);
        return;
    }
    assert_int_equal(actions->send, judged || event->kind == EVENT_START);
    assert_int_equal(actions->judged != NULL, judged);
    const bool all_wrote = event->kind == EVENT_REPORT && r->kind == REPORT_WROTE &&
                           !actions->late && a->n_wrote == a->shape.experts;
    assert_int_equal(actions->commit, all_wrote);
    if (actions->commit) {
        assert_int_equal(actions->commit_step, a->snapshot_step);
        assert_true(actions->commit_step > a->committed);
        a->committed = actions->commit_step;
        a->n_commits++;
    }
    assert_int_equal(actions->finished, all_wrote && a->stopped);
    if (actions->send) take_order(a, event, &actions->order);
    a->finished = a->finished || actions->finished;
}
