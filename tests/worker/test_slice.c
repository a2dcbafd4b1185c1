/* Which windows judge and which evaluate, against lists made one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "worker/slice.h"

enum { MOST = 97 };

/* The judging's windows, marked, and a list of the others; returns how many others. */
static int list_others(int all, int judges, int *others)
{
    bool judging[MOST] = {false};
    int n = 0;
    for (int i = 0; i < judges; i++)
        judging[i * all / judges] = true;
    for (int window = 0; window < all; window++)
        if (!judging[window]) others[n++] = window;
    assert_int_equal(n, all - judges);
    return n;
}

static void check(int all, int wanted, int evaluate)
{
    const struct slice judging = slice_of_judging(all, wanted);
    const struct slice s = slice_of_evaluation(&judging, evaluate);
    int others[MOST];
    const int n = list_others(all, wanted < all ? wanted : all, others);
    assert_int_equal(judging.n, wanted < all ? wanted : all);
    for (int i = 0; i < judging.n; i++)
        assert_int_equal(slice_window(&judging, i), i * all / (int)judging.n);
    const int from = n > 0 ? n : all;
    assert_int_equal(s.left, n > 0);
    assert_int_equal(s.n, evaluate > 0 && evaluate < from ? evaluate : from);
    for (int i = 0; i < s.n; i++) {
        const int k = i * from / (int)s.n;
        assert_int_equal(slice_window(&s, i), n > 0 ? others[k] : k);
    }
}

static void every_small_text(void **state)
{
    (void)state;
    for (int all = 1; all <= MOST; all += all < 20 ? 1 : 7)
        for (int wanted = 1; wanted <= all + 2; wanted++)
            for (int evaluate = 0; evaluate <= all + 2; evaluate += evaluate < 12 ? 1 : 11)
                check(all, wanted, evaluate);
}

/* Counts far beyond what a text of 2^40 tokens has: rising, in range, and none that judges. */
static void a_long_text(void **state)
{
    (void)state;
    const int64_t all = (int64_t)1 << 31, sizes[] = {1, 4096, all / 3, all / 2, all - 1};
    for (int i = 0; i < 5; i++) {
        const struct slice judging = slice_of_judging(all, sizes[i]);
        const struct slice s = slice_of_evaluation(&judging, 1000);
        int64_t last = -1;
        assert_true(s.n == 1000 || sizes[i] == all - 1);
        for (int64_t k = 0; k < s.n; k++) {
            const int64_t window = slice_window(&s, k);
            /* the judging's window nearest below is its first at or after window n / all */
            const int64_t near = (window * judging.n + all - 1) / all;
            assert_true(window > last && window < all);
            if (near < judging.n) assert_true(slice_window(&judging, near) != window);
            last = window;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_small_text),
        cmocka_unit_test(a_long_text),
    };
    return cmocka_run_group_tests_name("slice", tests, NULL, NULL);
}
