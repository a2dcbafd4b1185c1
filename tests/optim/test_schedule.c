/* The learning rate of every step, against the formulas of the papers and of PyTorch's schedulers,
 * written here from their side: by recursion, by geometry, by interpolation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "optim/optim.h"

static struct config some_config(void)
{
    struct config c = {0};
    c.run.steps = 110;
    c.train.lr = 2e-3;
    c.train.lr_final = 0.1;
    c.train.warmup = 10;
    c.train.wsd_decay = 0.2;
    return c;
}

static void assert_lr(const struct config *c, int64_t step, double expected)
{
    const double found = optim_lr(c, step);
    if (!(fabs(found - expected) < 1e-15))
        fail_msg("step %lld: learning rate %.17g, expected %.17g", (long long)step, found,
                 expected);
}

/* ---- single values --------------------------------------------------------------------------- */

static void warmup_is_linear_and_reaches_the_peak(void **state)
{
    (void)state;
    struct config c = some_config();
    for (int schedule = SCHEDULE_COSINE; schedule <= SCHEDULE_WSD; schedule++) {
        c.train.schedule = schedule;
        assert_lr(&c, 1, 2e-4);
        assert_lr(&c, 5, 1e-3);
        assert_lr(&c, 10, 2e-3);
    }
}

static void schedules_end_where_they_say(void **state)
{
    (void)state;
    struct config c = some_config();
    assert_lr(&c, 35, 2e-4 + 1.8e-3 * (0.5 + sqrt(0.125))); /* a quarter: cos 45 degrees */
    assert_lr(&c, 60, 1.1e-3);
    assert_lr(&c, 110, 2e-4);
    assert_lr(&c, 500, 2e-4);
    c.train.schedule = SCHEDULE_LINEAR;
    assert_lr(&c, 35, 1.55e-3);
    assert_lr(&c, 110, 2e-4);
    c.train.schedule = SCHEDULE_CONSTANT;
    assert_lr(&c, 110, 2e-3);
    c.train.schedule = SCHEDULE_WSD; /* falls over the last 22 steps */
    assert_lr(&c, 88, 2e-3);
    assert_lr(&c, 99, 1.1e-3);
    assert_lr(&c, 110, 2e-4);
    c.train.lr_final = 0.0;
    assert_lr(&c, 110, 0.0);
    c.train.lr_final = 1.0;
    assert_lr(&c, 99, 2e-3);
}

static void degenerate_schedules_are_finite(void **state)
{
    (void)state;
    struct config c = some_config();
    for (int schedule = SCHEDULE_COSINE; schedule <= SCHEDULE_WSD; schedule++) {
        c.train.schedule = schedule;
        c.train.warmup = 0;
        c.run.steps = 1;
        assert_true(isfinite(optim_lr(&c, 1)));
        c.train.warmup = 50; /* longer than the run */
        assert_lr(&c, 1, 2e-3 / 50.0);
        c.run.steps = 0;
        c.train.warmup = 0;
        assert_true(isfinite(optim_lr(&c, 1)));
    }
}

/* ---- whole curves ---------------------------------------------------------------------------- */

/* Loshchilov & Hutter 2017 as PyTorch's CosineAnnealingLR steps through it: each rate from the one
 * before, no cosine of the present step alone. */
static void cosine_is_the_recursion(void **state)
{
    (void)state;
    struct config c = some_config();
    c.train.schedule = SCHEDULE_COSINE;
    const double pi = acos(-1.0), last = 2e-4, n = 100.0;
    double lr = 2e-3;
    for (int k = 1; k <= 100; k++) {
        lr = last + (lr - last) * (1.0 + cos(pi * k / n)) / (1.0 + cos(pi * (k - 1) / n));
        if (!(fabs(optim_lr(&c, 10 + k) - lr) < 1e-12)) fail_msg("step %d", 10 + k);
    }
}

/* Equal steps down, so that every rate is the mean of its neighbours. */
static void linear_falls_by_equal_steps(void **state)
{
    (void)state;
    struct config c = some_config();
    c.train.schedule = SCHEDULE_LINEAR;
    double lr = 2e-3;
    for (int k = 1; k <= 100; k++) {
        lr -= 1.8e-5;
        assert_true(fabs(optim_lr(&c, 10 + k) - lr) < 1e-15);
    }
}

/* Warm-up, stable, decay (Hu et al. 2024), each by its own rule. */
static double wsd(double peak, double last, int warmup, int stable_end, int steps, int step)
{
    if (step <= warmup) return peak / warmup * step;
    if (step <= stable_end) return peak;
    return (peak * (steps - step) + last * (step - stable_end)) / (steps - stable_end);
}

static void wsd_has_three_straight_parts(void **state)
{
    (void)state;
    const struct {
        double decay;
        int stable_end; /* of 110 steps */
    } cases[] = {{0.2, 88}, {0.1, 99}, {0.5, 55}, {0.3, 77}, {0.29, 78}, {0.9, 11}};
    struct config c = some_config();
    c.train.schedule = SCHEDULE_WSD;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        c.train.wsd_decay = cases[i].decay;
        for (int step = 1; step <= 110; step++)
            assert_lr(&c, step, wsd(2e-3, 2e-4, 10, cases[i].stable_end, 110, step));
    }
}

static void wsd_is_linear_or_constant_at_its_limits(void **state)
{
    (void)state;
    struct config c = some_config(), linear = some_config(), constant = some_config();
    c.train.schedule = SCHEDULE_WSD;
    linear.train.schedule = SCHEDULE_LINEAR;
    constant.train.schedule = SCHEDULE_CONSTANT;
    for (int step = 1; step <= 110; step++) {
        c.train.wsd_decay = 1.0;
        assert_lr(&c, step, optim_lr(&linear, step));
        c.train.wsd_decay = 0.0;
        assert_lr(&c, step, optim_lr(&constant, step));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warmup_is_linear_and_reaches_the_peak),
        cmocka_unit_test(schedules_end_where_they_say),
        cmocka_unit_test(degenerate_schedules_are_finite),
        cmocka_unit_test(cosine_is_the_recursion),
        cmocka_unit_test(linear_falls_by_equal_steps),
        cmocka_unit_test(wsd_has_three_straight_parts),
        cmocka_unit_test(wsd_is_linear_or_constant_at_its_limits),
    };
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
