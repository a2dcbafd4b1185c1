#include "coordinator/machine.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

void machine_config(struct config *c, const struct machine_shape *shape)
{
    memset(c, 0, sizeof *c);
    c->population.experts = shape->experts;
    c->evolution.recombine = shape->recombine;
    c->evolution.every = shape->every;
    c->evolution.judge = shape->judge;
    c->run.steps = shape->steps;
    c->run.minutes = shape->minutes;
    c->snapshot.every = shape->snapshot_every;
    c->eval.every = shape->eval_every;
    c->train.batch = 4;
    c->model.context = 16;
    c->run.log = 1;
}

struct coordinator_state *machine_new(const struct machine_shape *shape)
{
    struct config c;
    struct coordinator_state *s;
    machine_config(&c, shape);
    assert_int_equal(coordinator_state_create(&c, c.population.experts, NULL, NULL, 0, &s),
                     SHOAL_OK);
    return s;
}

struct actions machine_start(struct coordinator_state *s)
{
    const struct event event = {.kind = EVENT_START};
    struct actions actions;
    assert_int_equal(coordinator_step(s, &event, &actions), SHOAL_OK);
    return actions;
}

struct actions machine_say(struct coordinator_state *s, enum report_kind kind, int member,
                           int64_t step, double value, double time_s)
{
    const struct event event = {
        .kind = EVENT_REPORT,
        .time_s = time_s,
        .report = {.kind = kind, .member = member, .step = step, .value = {value}}};
    struct actions actions;
    assert_int_equal(coordinator_step(s, &event, &actions), SHOAL_OK);
    return actions;
}

struct actions machine_judge(struct coordinator_state *s, const double *fitness, int n,
                             int64_t step, double time_s)
{
    struct actions actions = {0};
    for (int i = 0; i < n; i++) {
        actions = machine_say(s, REPORT_FITNESS, i, step, fitness[i], time_s);
        assert_false(actions.late);
        assert_int_equal(actions.send, i == n - 1);
    }
    return actions;
}

struct actions machine_write(struct coordinator_state *s, int experts, int64_t step)
{
    struct actions actions = {0};
    for (int k = 0; k < experts; k++) {
        actions = machine_say(s, REPORT_WROTE, k, step, 0.0, 0.0);
        assert_false(actions.late);
        assert_int_equal(actions.commit, k == experts - 1);
    }
    return actions;
}

const struct machine_shape machine_plain = {
    .experts = 3, .recombine = true, .steps = 100, .every = 10, .judge = 40, .snapshot_every = 80};

void machine_check_order(const struct actions *a, struct machine_order e)
{
    assert_true(a->send);
    assert_int_equal(a->order.step, e.step);
    assert_int_equal(a->order.until, e.until);
    assert_int_equal(a->order.best, e.best);
    assert_int_equal(a->order.save_best, e.save_best);
    assert_int_equal(a->order.round, e.round);
    assert_int_equal(a->order.snapshot, e.snapshot);
    assert_int_equal(a->order.stop, e.stop);
}

struct coordinator_state *machine_resumed(const struct coordinator_state *s,
                                          const struct machine_shape *shape)
{
    struct config c;
    struct standing standing;
    struct coordinator_state *again;
    int64_t n;
    const struct judging *rows = coordinator_snapshot(s, &standing, &n);
    machine_config(&c, shape);
    assert_int_equal(coordinator_state_create(&c, c.population.experts, &standing, rows, n, &again),
                     SHOAL_OK);
    return again;
}
