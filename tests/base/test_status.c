#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/status.h"
#include "support.h"

static enum shoal_status innermost(int n)
{
    SHOAL_CHECK(n > 0, SHOAL_EIO, "n is %d,\nexpected more", n);
    return SHOAL_OK;
}

static enum shoal_status middle(int n)
{
    SHOAL_TRY(innermost(n));
    return SHOAL_OK;
}

static enum shoal_status outermost(int n, bool *released)
{
    enum shoal_status st;
    SHOAL_GOTO(middle(n));
done:
    *released = true;
    return st;
}

static void test_failure_keeps_cause_and_path(void **state)
{
    (void)state;
    bool released = false;
    assert_int_equal(outermost(1, &released), SHOAL_OK);
    assert_int_equal(outermost(0, &released), SHOAL_EIO);
    assert_true(released);
    assert_string_equal(shoal_failure_text(), "n is 0, expected more");
    const char *trace = shoal_failure_trace();
    const char *inner = strstr(trace, "innermost(n)"), *mid = strstr(trace, "middle(n)");
    assert_non_null(inner);
    assert_non_null(mid);
    assert_true(inner < mid);
    SHOAL_FAIL(SHOAL_EIO, "another");
    assert_null(strstr(shoal_failure_trace(), "middle(n)"));
}

static void test_failure_may_quote_the_last_one(void **state)
{
    (void)state;
    SHOAL_FAIL(SHOAL_EIO, "cause");
    assert_int_equal(SHOAL_FAIL(SHOAL_ECONFIG, "x.yaml:3: %s", shoal_failure_text()),
                     SHOAL_ECONFIG);
    assert_string_equal(shoal_failure_text(), "x.yaml:3: cause");
}

static void test_long_failures_are_cut(void **state)
{
    (void)state;
    char longer[8192];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    SHOAL_FAIL(SHOAL_EIO, "%s", longer);
    assert_in_range(strlen(shoal_failure_text()), 1000, sizeof longer - 2);
    for (int i = 0; i < 1000; i++)
        shoal_failure_via("src/x.c", i, "call()");
    assert_in_range(strlen(shoal_failure_trace()), 1000, sizeof longer - 2);
}

static void *fail_elsewhere(void *unused)
{
    SHOAL_FAIL(SHOAL_EIO, "another thread's");
    return unused;
}

static void test_failures_are_per_thread(void **state)
{
    (void)state;
    SHOAL_FAIL(SHOAL_EIO, "mine");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(shoal_failure_text(), "mine");
}

static void test_exit_codes(void **state)
{
    (void)state;
    const int expected[] = {
        [SHOAL_OK] = 0,      [SHOAL_EARG] = 2,    [SHOAL_ECONFIG] = 2, [SHOAL_EIO] = 3,
        [SHOAL_EFORMAT] = 3, [SHOAL_ENOMEM] = 4,  [SHOAL_EDEVICE] = 4, [SHOAL_ECOMM] = 5,
        [SHOAL_EPEER] = 5,   [SHOAL_ENUMERIC] = 6};
    for (int i = 0; i <= SHOAL_ENUMERIC; i++) {
        assert_int_equal(shoal_exit_code((enum shoal_status)i), expected[i]);
    }
}

static void test_memory_is_aligned_and_zero(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 100, 5u << 20};
    for (int i = 0; i < 4; i++) {
        unsigned char *p;
        assert_int_equal(mem_alloc(sizes[i], "a test", &p), SHOAL_OK);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (sizes[i] > (4u << 20) ? 2u << 20 : 64), 0);
        for (size_t j = 0; j < sizes[i]; j++)
            assert_int_equal(p[j], 0);
        mem_free(p);
    }
    mem_free(NULL);
}

static void test_memory_says_how_much(void **state)
{
    (void)state;
    void *p;
    /* Within the address space, above what malloc gives. */
    assert_int_equal(mem_alloc((size_t)PTRDIFF_MAX - 4096, "weights", &p), SHOAL_ENOMEM);
    assert_failure_says("weights");
    assert_failure_says("9223372036854771711");
}

static void test_clock(void **state)
{
    (void)state;
    const double before = clock_now_s();
    clock_sleep_s(0.05);
    clock_sleep_s(-1);
    const double slept = clock_now_s() - before;
    assert_true(slept >= 0.05 && slept < 2);
    char text[32];
    clock_iso8601(text);
    assert_int_equal(strlen(text), 20);
    assert_int_equal(text[10], 'T');
    assert_int_equal(text[19], 'Z');
}

/* What `say` sends to stderr. */
static char *captured(void (*say)(void))
{
    struct scratch s;
    scratch_make(&s);
    char path[256];
    snprintf(path, sizeof path, "%s", scratch_path(&s, "stderr"));
    fflush(stderr);
    const int kept = dup(2);
    assert_non_null(freopen(path, "w", stderr));
    say();
    fflush(stderr);
    dup2(kept, 2);
    close(kept);
    size_t n;
    char *text = (char *)read_bytes(path, &n);
    scratch_remove(&s);
    return text;
}

static void say_all(void)
{
    log_set_rank(-1);
    log_info("one %d", 1);
    log_set_rank(0);
    log_info("two");
    log_set_rank(3);
    log_info("not heard");
    log_warn("three");
    log_error("four");
    log_set_rank(-1);
    log_error("five");
}

static void test_log_lines(void **state)
{
    (void)state;
    char *text = captured(say_all);
    assert_string_equal(text, "shoal: one 1\nshoal: two\nshoal: warning: rank 3: three\n"
                              "shoal: error: rank 3: four\nshoal: error: five\n");
    free(text);
}

static void say_traced(void)
{
    SHOAL_FAIL(SHOAL_EIO, "cause");
    setenv("SHOAL_TRACE", "1", 1);
    log_error(shoal_failure_text());
    unsetenv("SHOAL_TRACE");
}

static void test_log_trace(void **state)
{
    (void)state;
    char *text = captured(say_traced);
    assert_non_null(strstr(text, "shoal: error: cause\n"));
    assert_non_null(strstr(text, "test_status.c:"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_keeps_cause_and_path),
        cmocka_unit_test(test_failure_may_quote_the_last_one),
        cmocka_unit_test(test_long_failures_are_cut),
        cmocka_unit_test(test_failures_are_per_thread),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_memory_is_aligned_and_zero),
        cmocka_unit_test(test_memory_says_how_much),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_log_lines),
        cmocka_unit_test(test_log_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
