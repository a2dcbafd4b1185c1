/* Wishes to save or stop a run, granted where its workers halt or are judged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "coordinator/machine.h"
#include "base/status.h"

static struct actions wish_for(struct coordinator_state *s, enum wish wish)
{
    const struct event event = {.kind = EVENT_WISH, .wish = wish};
    struct actions a;
    assert_int_equal(coordinator_step(s, &event, &a), SHOAL_OK);
    return a;
}

static struct actions say_count(struct coordinator_state *s, enum report_kind kind, int64_t step,
                                int64_t count)
{
    const struct event event = {.kind = EVENT_REPORT,
                                .report = {.kind = kind, .step = step, .count = {count}}};
    struct actions a;
    assert_int_equal(coordinator_step(s, &event, &a), SHOAL_OK);
    return a;
}

/* Saved at one halt, stopped at another, resumed from there. */
static void wishes_are_granted_at_halts(void **state)
{
    (void)state;
    struct coordinator_state *s = machine_new(&machine_plain);
    struct standing standing;
    int64_t n;
    assert_true(wish_for(s, WISH_STOP).late); /* before the start */
    (void)machine_start(s);
    (void)machine_judge(s, (double[]){5.0, 4.0, 4.5, 6.0}, 4, 0, 0.0);
    assert_true(say_count(s, REPORT_HALTED, 10, 1).late); /* nobody asked */
    struct actions a = wish_for(s, WISH_SNAPSHOT);
    assert_true(a.send && a.order.halt && !a.late);
    assert_true(wish_for(s, WISH_SNAPSHOT).late);
    assert_true(say_count(s, REPORT_HALTED, 0, 1).late);
    assert_true(say_count(s, REPORT_HALTED, 40, 1).late);
    a = say_count(s, REPORT_HALTED, 20, 1);
    machine_check_order(
        &a, (struct machine_order){.step = 20, .until = 40, .best = 1, .round = 1, .snapshot = 1});
    assert_false(a.order.halt || a.order.judged);
    assert_true(say_count(s, REPORT_HALTED, 20, 1).late);
    assert_true(say_count(s, REPORT_WISH, 20, WISH_SNAPSHOT).late); /* granted */

    a = say_count(s, REPORT_WISH, 25, WISH_STOP);
    assert_true(a.send && a.order.halt);
    assert_false(say_count(s, REPORT_HALTED, 30, 1).send); /* the shards of step 20 come first */
    a = machine_write(s, 3, 20);
    assert_true(a.commit_step == 20 && !a.finished);
    machine_check_order(
        &a, (struct machine_order){.step = 30, .until = 30, .best = 1, .snapshot = 1, .stop = 1});
    (void)coordinator_snapshot(s, &standing, &n);
    assert_true(standing.step == 20 && standing.judged_step == 0 && !standing.round_done && n == 1);
    a = machine_write(s, 3, 30);
    assert_true(a.commit && a.commit_step == 30 && a.finished);
    assert_true(wish_for(s, WISH_STOP).late);

    struct coordinator_state *again = machine_resumed(s, &machine_plain);
    a = machine_start(again);
    /* Its round is not one after a judging. */
    machine_check_order(&a, (struct machine_order){.step = 30, .until = 40, .best = 1, .round = 1});
    assert_false(a.order.judged);
    coordinator_state_destroy(&again);
    coordinator_state_destroy(&s);
}

static void wishes_are_granted_at_judgings(void **state)
{
    (void)state;
    struct machine_shape shape = machine_plain;
    shape.eval_every = 80;
    struct coordinator_state *s = machine_new(&shape);
    (void)machine_start(s);
    assert_true(wish_for(s, WISH_SNAPSHOT).order.halt);
    struct actions a = machine_judge(s, (double[]){5.0, 4.0, 4.5, 6.0}, 4, 0, 0.0);
    machine_check_order(&a, (struct machine_order){
                                .until = 40, .best = 1, .save_best = 1, .round = 1, .snapshot = 1});
    (void)machine_write(s, 3, 0);
    a = wish_for(s, WISH_SNAPSHOT);
    assert_true(a.send && a.order.halt);
    assert_false(wish_for(s, WISH_STOP).send); /* news, but the workers are asked already */
    a = machine_judge(s, (double[]){5.0, 4.0, 4.5, 6.0}, 4, 40, 0.0);
    machine_check_order(
        &a, (struct machine_order){.step = 40, .until = 40, .best = 1, .snapshot = 1, .stop = 1});
    assert_false(a.order.eval); /* there is no time to lose */
    (void)machine_write(s, 3, 40);
    struct coordinator_state *again = machine_resumed(s, &shape);
    a = machine_start(again);
    machine_check_order(&a, (struct machine_order){.step = 40, .until = 80, .best = 1, .round = 1});
    assert_true(a.order.judged);
    coordinator_state_destroy(&again);
    coordinator_state_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wishes_are_granted_at_halts),
        cmocka_unit_test(wishes_are_granted_at_judgings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
