/* test_shares.c - which worker owns which expert. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "worker/worker.h"

/* For any numbers: every expert has one owner, owners hold neighbours, and nobody holds two more
 * than another. */
static void test_every_expert_has_one_owner(void **state)
{
    (void)state;
    for (int experts = 1; experts <= 70; experts++) {
        for (int workers = 1; workers <= experts; workers++) {
            int next = 0;
            for (int w = 0; w < workers; w++) {
                const int first = worker_first_expert(w, workers, experts);
                const int end = worker_first_expert(w + 1, workers, experts);
                assert_int_equal(first, next);
                assert_in_range(end - first, experts / workers, experts / workers + 1);
                for (int k = first; k < end; k++)
                    assert_int_equal(worker_of_expert(k, workers, experts), w);
                next = end;
            }
            assert_int_equal(next, experts);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_expert_has_one_owner)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
