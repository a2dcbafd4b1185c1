/* How many steps between rounds a budget buys. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "evo/cadence.h"

static struct config with(int64_t judge, int64_t delay, double budget)
{
    struct config c;
    config_defaults(&c);
    c.evolution.every = 0;
    c.evolution.judge = judge;
    c.evolution.delay = delay;
    c.evolution.budget = budget;
    return c;
}

/* Rounds that keep stall_s from steps of step_s each. */
static struct cadence measured(int64_t every, double stall_s, double step_s)
{
    struct cadence k = {0};
    cadence_hear(&k, every, 1000.0, 1000.0); /* the first is not like the others */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(cadence_ready(&k), i >= 3);
        cadence_hear(&k, every, stall_s, stall_s + (double)every * step_s);
        cadence_hear(&k, every, 77.0, (double)NAN);
    }
    return k;
}

static void probes_divide_the_time_between_judgings(void **state)
{
    (void)state;
    for (int64_t judge = 1; judge < 300; judge++) {
        for (int64_t delay = 0; delay < judge; delay += 1 + judge / 7) {
            const struct config c = with(judge, delay, 0.02);
            const int64_t every = cadence_probe(&c);
            assert_int_equal(judge % every, 0);
            assert_true(every > delay && every <= judge);
        }
    }
    const struct config c = with(100, 0, 0.02);
    assert_int_equal(cadence_probe(&c), 10);
}

/* The smallest divisor that a search through all of them finds affordable. */
static void the_choice_is_the_cheapest_that_can_be_afforded(void **state)
{
    (void)state;
    const double stalls[] = {0, 0.001, 0.01, 0.02, 0.3, 5};
    for (int s = 0; s < 6; s++) {
        for (int64_t judge = 1; judge <= 120; judge++) {
            const struct config c = with(judge, judge / 9, 0.02);
            const struct cadence k = measured(10, stalls[s], 0.1);
            int64_t expected = judge;
            for (int64_t every = judge; every > judge / 9; every--)
                if (judge % every == 0 && stalls[s] <= 0.02 * (stalls[s] + 0.1 * (double)every))
                    expected = every;
            assert_int_equal(cadence_choose(&k, &c), expected);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probes_divide_the_time_between_judgings),
        cmocka_unit_test(the_choice_is_the_cheapest_that_can_be_afforded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
