/* What the state machine makes of a lost worker, by hand. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include "coordinator/machine.h"

enum { WORKERS = 3 }; /* one expert each */

static const struct machine_shape shape = {.experts = WORKERS,
                                           .recombine = true,
                                           .every = 5,
                                           .judge = 10,
                                           .steps = 40,
                                           .snapshot_every = 10};

static struct actions tell(struct coordinator_state *s, const struct report *r)
{
    const struct event event = {.kind = EVENT_REPORT, .report = *r};
    struct actions actions;
    assert_int_equal(coordinator_step(s, &event, &actions), SHOAL_OK);
    return actions;
}

/* By its owner, or of the mean by worker 0 or another. */
static struct actions say(struct coordinator_state *s, enum report_kind kind, int member,
                          int worker, int64_t step, double value)
{
    const struct report r = {
        .kind = kind, .worker = worker, .member = member, .step = step, .value = {value}};
    return tell(s, &r);
}

static struct actions place(struct coordinator_state *s, int worker, int64_t passes, uint32_t epoch)
{
    const struct report r = {.kind = REPORT_PLACE, .worker = worker, .count = {passes, epoch}};
    return tell(s, &r);
}

static enum shoal_status lose(struct coordinator_state *s, int worker, struct actions *actions)
{
    const struct event event = {.kind = EVENT_LOST, .worker = worker};
    return coordinator_step(s, &event, actions);
}

static struct actions judge(struct coordinator_state *s, int64_t step, const double *fitness)
{
    for (int k = 0; k < WORKERS; k++)
        (void)say(s, REPORT_FITNESS, k, k, step, fitness[k]);
    return say(s, REPORT_FITNESS, WORKERS, 0, step, fitness[WORKERS]);
}

static struct coordinator_state *begin(void)
{
    struct coordinator_state *s = machine_new(&shape);
    (void)machine_start(s);
    return s;
}

/* Nothing is decided before all have said where they are; then what remains is all there is. */
static void the_others_go_on(void **state)
{
    (void)state;
    struct coordinator_state *s = begin();
    struct actions a = judge(s, 0, (double[]){3, 1, 2, 4});
    assert_true(a.send && a.order.best == 1);
    (void)say(s, REPORT_FITNESS, 0, 0, 10, 3.0);
    (void)say(s, REPORT_FITNESS, 2, 2, 10, 2.0);
    assert_int_equal(lose(s, 1, &a), SHOAL_OK);
    assert_true(a.announce && !a.announcement.ready && a.announcement.epoch == 1);
    assert_true(live_has(&a.announcement.live, 0) && !live_has(&a.announcement.live, 1));
    assert_int_equal(a.announcement.best, 2); /* of those that are left */
    a = say(s, REPORT_FITNESS, WORKERS, 0, 10, 1.5);
    assert_false(a.late || a.send || a.announce);
    assert_true(place(s, 0, 7, 0).late); /* of another epoch */
    a = place(s, 0, 7, 1);
    assert_false(a.late || a.announce || a.send);
    assert_true(place(s, 0, 9, 1).late && place(s, 1, 9, 1).late);
    a = place(s, 2, 8, 1);
    assert_true(a.announce && a.announcement.ready && a.announcement.passed == 8);
    assert_true(a.send && a.judged && isnan(a.judged->fitness[1]));
    assert_int_equal(a.order.best, WORKERS);
    assert_false(live_has(&a.order.live, 1));
    assert_true(say(s, REPORT_FITNESS, 1, 1, 20, 0.5).late);
    coordinator_state_destroy(&s);
}

/* A second loss begins another epoch, and the places of the first count no more. */
static void two_are_lost_at_once(void **state)
{
    (void)state;
    struct coordinator_state *s = begin();
    struct actions a;
    (void)judge(s, 0, (double[]){3, 1, 2, 4});
    assert_int_equal(lose(s, 0, &a), SHOAL_OK);
    (void)place(s, 1, 9, 1);
    assert_int_equal(lose(s, 1, &a), SHOAL_OK);
    assert_true(a.announce && a.announcement.epoch == 2 && !a.announcement.ready);
    assert_int_equal(lose(s, 1, &a), SHOAL_OK);
    assert_true(a.late);
    a = place(s, 2, 4, 2);
    assert_true(a.announce && a.announcement.ready && a.announcement.passed == 4);
    assert_int_equal(lose(s, 2, &a), SHOAL_EPEER);
    coordinator_state_destroy(&s);
}

/* A snapshot is of those that wrote; whoever did not is marked. */
static void a_snapshot_says_who_is_absent(void **state)
{
    (void)state;
    struct coordinator_state *s = begin();
    struct actions a;
    struct standing standing;
    int64_t n;
    (void)judge(s, 0, (double[]){3, 1, 2, 4});
    assert_true(judge(s, 10, (double[]){3, 1, 2, 4}).order.snapshot);
    (void)say(s, REPORT_WROTE, 0, 0, 10, 0);
    (void)say(s, REPORT_WROTE, 1, 1, 10, 0);
    assert_int_equal(lose(s, 2, &a), SHOAL_OK);
    assert_true(a.commit && a.commit_step == 10);
    (void)coordinator_snapshot(s, &standing, &n);
    assert_true(live_has(&standing.lost, 2) && !live_has(&standing.lost, 1));
    (void)place(s, 0, 5, 1);
    (void)place(s, 1, 5, 1);
    /* The next is complete without it from the start, and one that wrote before is in. */
    (void)say(s, REPORT_FITNESS, 0, 0, 20, 3);
    (void)say(s, REPORT_FITNESS, 1, 1, 20, 1);
    assert_true(say(s, REPORT_FITNESS, WORKERS, 0, 20, 2).order.snapshot);
    (void)say(s, REPORT_WROTE, 0, 0, 20, 0);
    assert_int_equal(lose(s, 0, &a), SHOAL_OK);
    assert_false(a.commit);
    a = say(s, REPORT_WROTE, 1, 1, 20, 0);
    assert_true(a.commit);
    (void)coordinator_snapshot(s, &standing, &n);
    assert_true(live_has(&standing.lost, 2) && !live_has(&standing.lost, 0));
    coordinator_state_destroy(&s);
}

/* Whoever speaks for all may be lost before it has spoken: the judging is repeated by another. */
static void the_mean_is_reported_again(void **state)
{
    (void)state;
    struct coordinator_state *s = begin();
    struct actions a;
    (void)judge(s, 0, (double[]){3, 1, 2, 4});
    (void)say(s, REPORT_FITNESS, 0, 0, 10, 3);
    (void)say(s, REPORT_FITNESS, WORKERS, 0, 10, 1);
    (void)say(s, REPORT_FITNESS, 1, 1, 10, 2);
    assert_int_equal(lose(s, 0, &a), SHOAL_OK);
    (void)place(s, 1, 5, 1);
    (void)place(s, 2, 5, 1);
    a = say(s, REPORT_FITNESS, 2, 2, 10, 2);
    assert_false(a.send);
    a = say(s, REPORT_FITNESS, WORKERS, 1, 10, 1.25);
    assert_true(a.send && a.order.best == WORKERS && a.order.best_fitness == 1.25);
    coordinator_state_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_others_go_on),
        cmocka_unit_test(two_are_lost_at_once),
        cmocka_unit_test(a_snapshot_says_who_is_absent),
        cmocka_unit_test(the_mean_is_reported_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
