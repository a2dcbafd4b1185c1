/* What evolution decides: ties, NAN, infinities, negative zero, and who attracts whom. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>
#include "evo/plan.h"

enum { EXPERTS = 4, MEMBERS = 5 };

static void check_order(const double *fitness, int n, const int *expected)
{
    int order[MEMBERS];
    plan_rank(fitness, n, EXPERTS, order);
    for (int i = 0; i < n; i++)
        assert_int_equal(order[i], expected[i]);
    assert_int_equal(plan_best(fitness, n, EXPERTS), isfinite(fitness[order[0]]) ? order[0] : -1);
}

static void ranks_by_fitness(void **state)
{
    (void)state;
    check_order((double[]){3.0, 1.0, 2.0, 4.0, 2.5}, 5, (int[]){1, 2, 4, 0, 3});
    check_order((double[]){3.0, 1.0, 2.0, 4.0}, 4, (int[]){1, 2, 0, 3});
}

static void ties_go_to_the_recombinant_then_to_the_lower_number(void **state)
{
    (void)state;
    check_order((double[]){2.0, 1.0, 1.0, 2.0, 1.0}, 5, (int[]){4, 1, 2, 0, 3});
    check_order((double[]){2.0, 1.0, 1.0, 2.0}, 4, (int[]){1, 2, 0, 3});
    check_order((double[]){0.0, -0.0, -0.0, 0.0, 0.0}, 5, (int[]){4, 0, 1, 2, 3});
}

static void what_is_not_finite_loses(void **state)
{
    (void)state;
    check_order((double[]){NAN, 9.0, -INFINITY, INFINITY, NAN}, 5, (int[]){1, 4, 0, 2, 3});
    check_order((double[]){NAN, NAN, 7.0, NAN, 8.0}, 5, (int[]){2, 4, 0, 1, 3});
    check_order((double[]){NAN, INFINITY, -INFINITY, NAN, NAN}, 5, (int[]){4, 0, 1, 2, 3});
    assert_int_equal(plan_best((double[]){NAN, NAN, -INFINITY, INFINITY, NAN}, 5, EXPERTS), -1);
    assert_int_equal(plan_best((double[]){NAN, NAN, NAN, NAN, 3.0}, 5, EXPERTS), 4);
    assert_int_equal(plan_best((double[]){1.0}, 0, EXPERTS), -1);
}

/* Many members with many ties, against sorting by insertion. */
static void ranks_thousands(void **state)
{
    (void)state;
    enum { MANY = 2000 };
    static double fitness[MANY];
    static int order[MANY];
    uint32_t seed = 5;
    for (int n = 1990; n <= MANY; n++) {
        for (int i = 0; i < n; i++) {
            seed = seed * 1664525u + 1013904223u;
            fitness[i] = seed >> 28 ? (double)(seed >> 22) : NAN;
        }
        plan_rank(fitness, n, n - 1, order);
        for (int i = 1; i < n; i++) {
            const double a = fitness[order[i - 1]], b = fitness[order[i]];
            if (isnan(b) && !isnan(a)) continue;
            if (a < b) continue;
            assert_true(a == b || (isnan(a) && isnan(b)));
            /* the recombinant is n - 1, and before its equals */
            assert_true(order[i] != n - 1);
            assert_true(order[i - 1] == n - 1 || order[i - 1] < order[i]);
        }
    }
}

static void knows_who_lives(void **state)
{
    (void)state;
    struct live_set live = {{0x66}};
    assert_int_equal(plan_live((double[]){1.0, NAN, INFINITY, -2.0}, EXPERTS, &live), 2);
    assert_int_equal(live.word[0], 9);
    assert_int_equal(plan_live((double[]){NAN, NAN, NAN, NAN}, EXPERTS, &live), 0);
    assert_int_equal(live.word[0], 0);
}

static void spread_ignores_the_dead(void **state)
{
    (void)state;
    assert_true(plan_spread((double[]){1.0, 4.5, NAN, 2.0}, EXPERTS) == 3.5);
    assert_true(plan_spread((double[]){NAN, 4.5, NAN, INFINITY}, EXPERTS) == 0.0);
    assert_true(plan_spread((double[]){NAN, NAN, NAN, NAN}, EXPERTS) == 0.0);
    assert_true(plan_spread((double[]){-1.0, 1.0}, 2) == 2.0);
}

static void finds_the_attractor(void **state)
{
    (void)state;
    const struct live_set all = {{15}}, some = {{10}}, none = {{0}}, first = {{1}};
    const struct evo_rule off = {.attractor = ATTRACT_NONE}, best = {.attractor = ATTRACT_BEST},
                          mean = {.attractor = ATTRACT_MEAN}, last = {.attractor = ATTRACT_LAST};
    assert_int_equal(plan_attractor(&off, 2, 7, EXPERTS, &all), -1);
    assert_int_equal(plan_attractor(&best, 2, 7, EXPERTS, &all), 2);
    assert_int_equal(plan_attractor(&best, EXPERTS, 7, EXPERTS, &all), EXPERTS);
    assert_int_equal(plan_attractor(&best, -1, 7, EXPERTS, &all), -1);
    assert_int_equal(plan_attractor(&mean, 2, 7, EXPERTS, &some), EXPERTS);
    assert_int_equal(plan_attractor(&mean, 2, 7, EXPERTS, &none), -1);
    const int in_turn[] = {0, 1, 2, 3, 0}, living[] = {1, 1, 3, 3, 1};
    for (int round = 0; round < 5; round++) {
        assert_int_equal(plan_attractor(&last, 2, round, EXPERTS, &all), in_turn[round]);
        assert_int_equal(plan_attractor(&last, 2, round, EXPERTS, &some), living[round]);
    }
    assert_int_equal(plan_attractor(&last, 2, 3, EXPERTS, &first), 0);
    assert_int_equal(plan_attractor(&last, 2, 1, EXPERTS, &none), -1);
    assert_int_equal(plan_attractor(&last, 2, 4000000000000LL, EXPERTS, &all), 0);
}

static void rates_are_spread_evenly(void **state)
{
    (void)state;
    struct config c;
    memset(&c, 0, sizeof c);
    c.population.experts = 5;
    c.population.lr_spread = 4.0;
    const double expected[] = {0.25, 0.5, 1.0, 2.0, 4.0};
    for (int k = 0; k < 5; k++)
        assert_true(fabs(plan_lr_scale(&c, k) - expected[k]) < 1e-12);
    c.population.lr_spread = 1.0;
    for (int k = 0; k < 5; k++)
        assert_true(plan_lr_scale(&c, k) == 1.0);
    c.population.experts = 1;
    c.population.lr_spread = 4.0;
    assert_true(plan_lr_scale(&c, 0) == 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_by_fitness),
        cmocka_unit_test(ties_go_to_the_recombinant_then_to_the_lower_number),
        cmocka_unit_test(what_is_not_finite_loses),
        cmocka_unit_test(ranks_thousands),
        cmocka_unit_test(knows_who_lives),
        cmocka_unit_test(spread_ignores_the_dead),
        cmocka_unit_test(finds_the_attractor),
        cmocka_unit_test(rates_are_spread_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
