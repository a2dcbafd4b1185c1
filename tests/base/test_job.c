/* One thing at a time on a thread beside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/job.h"

struct work {
    double pause_s;
    int done;
    bool fails;
};

static enum shoal_status run(void *argument)
{
    struct work *const w = argument;
    clock_sleep_s(w->pause_s);
    w->done++;
    return w->fails ? SHOAL_FAIL(SHOAL_EPEER, "work number %d went wrong", w->done) : SHOAL_OK;
}

static void work_is_done_beside(void **state)
{
    (void)state;
    struct job *j;
    struct work w = {.pause_s = 0.3};
    assert_int_equal(job_create(&j), SHOAL_OK);
    assert_false(job_running(j));
    assert_int_equal(job_wait(j), SHOAL_OK);
    for (int i = 1; i <= 3; i++) {
        const double start_s = clock_now_s();
        job_start(j, run, &w);
        assert_true(clock_now_s() - start_s < 0.25);
        assert_true(job_running(j));
        assert_int_equal(job_wait(j), SHOAL_OK);
        assert_true(clock_now_s() - start_s >= 0.3);
        assert_false(job_running(j));
        assert_int_equal(w.done, i);
    }
    job_destroy(&j);
    assert_null(j);
    job_destroy(&j);
}

static void failures_come_with_their_text(void **state)
{
    (void)state;
    struct job *j;
    struct work w = {.fails = true};
    assert_int_equal(job_create(&j), SHOAL_OK);
    job_start(j, run, &w);
    assert_int_equal(job_wait(j), SHOAL_EPEER);
    assert_string_equal(shoal_failure_text(), "work number 1 went wrong");
    w.fails = false;
    job_start(j, run, &w);
    assert_int_equal(job_wait(j), SHOAL_OK);
    job_destroy(&j);
}

static void the_end_waits_for_what_is_in_hand(void **state)
{
    (void)state;
    struct job *j;
    struct work w = {.pause_s = 0.05};
    assert_int_equal(job_create(&j), SHOAL_OK);
    job_start(j, run, &w);
    job_destroy(&j);
    assert_int_equal(w.done, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_is_done_beside),
        cmocka_unit_test(failures_come_with_their_text),
        cmocka_unit_test(the_end_waits_for_what_is_in_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
