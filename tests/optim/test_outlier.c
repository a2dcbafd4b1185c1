/* Which steps are skipped, against a second bookkeeping that keeps everything and shares no code.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/rng.h"
#include "optim/outlier.h"

enum { MOST_STEPS = 20000 };

/* Uniform in [0, 1). */
static double draw(uint64_t index)
{
    const struct rng_key key = {.seed = 5, .stream = RNG_SAMPLE};
    return rng_bits(key, index) / 4294967296.0;
}

/* ---- the second bookkeeping ------------------------------------------------------------------ */

/* Every accepted step since the window was last emptied. */
struct reference {
    double loss[MOST_STEPS], norm[MOST_STEPS];
    int n, row;
};

/* How many standard deviations x lies above the last `window` of n values, from power sums; -1
 * where that has no meaning. */
static long double score(const double *values, int n, int window, double x)
{
    long double s1 = 0, s2 = 0;
    for (int i = n - window; i < n; i++) {
        s1 += values[i];
        s2 += (long double)values[i] * values[i];
    }
    const long double variance = (s2 - s1 * s1 / window) / (window - 1);
    return variance > 1e-15L ? (x - s1 / window) / sqrtl(variance) : -1.0L;
}

static enum skip reference_judge(struct reference *r, double threshold, int window, double loss,
                                 double norm)
{
    enum skip why = SKIP_NONE;
    if (!(fabs(loss) <= 1e300) || !(fabs(norm) <= 1e300)) return SKIP_NOT_FINITE;
    if (r->n >= window && score(r->norm, r->n, window, norm) > threshold) why = SKIP_GRAD_NORM;
    if (r->n >= window && score(r->loss, r->n, window, loss) > threshold) why = SKIP_LOSS;
    if (why == SKIP_NONE) {
        r->loss[r->n] = loss;
        r->norm[r->n++] = norm;
        r->row = 0;
    } else {
        r->row++;
        if (r->row == (window >= 16 ? window / 8 : 1)) r->n = r->row = 0;
    }
    return why;
}

/* A run of steps with spikes of every kind, and now and then a stretch of them. */
static struct outlier_row made_step(uint64_t i)
{
    struct outlier_row step = {3.0 - 1e-4 * (double)i + 0.1 * draw(8 * i),
                               exp(draw(8 * i + 1) + draw(8 * i + 2))};
    const bool stretch = i / 40 % 13 == 7;
    if (stretch || draw(8 * i + 3) < 0.01) step.loss += 8.0 * draw(8 * i + 4);
    if (draw(8 * i + 5) < 0.01) step.grad_norm *= 20.0;
    if (draw(8 * i + 6) < 0.003) step.loss = draw(8 * i + 7) < 0.5 ? (double)NAN : -INFINITY;
    if (draw(8 * i + 6) > 0.997) step.grad_norm = INFINITY;
    return step;
}

static void decisions_are_the_references(void **state)
{
    (void)state;
    const struct {
        double threshold;
        int window;
    } cases[] = {{6.0, 128}, {3.0, 16}, {2.0, 2}, {2.5, 7}, {4.0, 17}, {3.0, 1024}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        static struct outlier o;
        static struct reference r;
        int64_t count[SKIP_KINDS] = {0};
        memset(&o, 0, sizeof o);
        r.n = r.row = 0;
        for (int i = 0; i < MOST_STEPS; i++) {
            const struct outlier_row step = made_step((uint64_t)i);
            const enum skip expected =
                reference_judge(&r, cases[k].threshold, cases[k].window, step.loss, step.grad_norm);
            const enum skip found = outlier_judge(&o, cases[k].threshold, cases[k].window, step);
            if (found != expected) fail_msg("case %zu, step %d: %d, not %d", k, i, found, expected);
            count[found]++;
        }
        for (int why = 0; why < SKIP_KINDS; why++)
            assert_true(count[why] > 0);
        assert_int_equal(o.skipped, MOST_STEPS - count[SKIP_NONE]);
    }
}

/* ---- one property at a time ------------------------------------------------------------------ */

enum { WINDOW = 32 };

static enum skip judge(struct outlier *o, double loss, double norm)
{
    return outlier_judge(o, 3.0, WINDOW, (struct outlier_row){loss, norm});
}

/* A full window around a loss of 2 and a norm of 1. */
static struct outlier filled(void)
{
    struct outlier o = {.n = 0};
    for (int i = 0; i < WINDOW; i++)
        assert_int_equal(judge(&o, 2.0 + 0.1 * (i % 3), 1.0 + 0.1 * (i % 2)), SKIP_NONE);
    return o;
}

static void only_upward_and_only_when_full(void **state)
{
    (void)state;
    struct outlier o = filled(), part = {.n = 0};
    assert_int_equal(judge(&o, -50.0, 1.0), SKIP_NONE);
    o = filled();
    assert_int_equal(judge(&o, 2.0, 1e-9), SKIP_NONE);
    o = filled();
    assert_int_equal(judge(&o, 9.0, 1.0), SKIP_LOSS);
    assert_int_equal(judge(&o, 2.0, 9.0), SKIP_GRAD_NORM);
    assert_int_equal(judge(&o, 9.0, 9.0), SKIP_LOSS);
    for (int i = 0; i < WINDOW; i++) /* one short of full, whatever comes is accepted */
        assert_int_equal(judge(&part, i == WINDOW - 1 ? 50.0 : 2.0 + i % 3, 1.0), SKIP_NONE);
}

static void an_outlier_stays_out_of_the_window(void **state)
{
    (void)state;
    struct outlier o = filled(), before = o;
    assert_int_equal(judge(&o, 9.0, 1.0), SKIP_LOSS);
    assert_int_equal(o.n, before.n);
    assert_memory_equal(o.row, before.row, sizeof o.row);
    assert_int_equal(judge(&o, NAN, 1.0), SKIP_NOT_FINITE);
    assert_memory_equal(o.row, before.row, sizeof o.row);
    assert_int_equal(o.skipped, 2);
}

static void a_lasting_shift_is_accepted(void **state)
{
    (void)state;
    struct outlier o = filled();
    for (int i = 0; i < WINDOW / 8; i++) {
        assert_int_equal(judge(&o, 9.0, 1.0), SKIP_LOSS);
        /* neither counts among those in a row, nor ends it */
        assert_int_equal(judge(&o, NAN, 1.0), SKIP_NOT_FINITE);
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(judge(&o, 9.0 + 0.1 * (i % 3), 1.0), SKIP_NONE);
    assert_int_equal(judge(&o, 20.0, 1.0), SKIP_LOSS);
}

static void an_accepted_step_ends_a_row(void **state)
{
    (void)state;
    struct outlier o = filled();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(judge(&o, 9.0, 1.0), SKIP_LOSS);
        assert_int_equal(judge(&o, 2.0 + 0.1 * (i % 3), 1.0 + 0.1 * (i % 2)), SKIP_NONE);
    }
}

static void equal_values_say_nothing(void **state)
{
    (void)state;
    struct outlier o = {.n = 0};
    for (int i = 0; i < WINDOW; i++)
        assert_int_equal(judge(&o, 2.0, 1.0), SKIP_NONE);
    assert_int_equal(judge(&o, 2.5, 1.0), SKIP_NONE);
}

static void switched_off_it_remembers_nothing(void **state)
{
    (void)state;
    struct outlier o = filled();
    const struct outlier before = o;
    assert_int_equal(outlier_judge(&o, 0.0, WINDOW, (struct outlier_row){1e9, 1e9}), SKIP_NONE);
    assert_memory_equal(&o, &before, sizeof o);
    assert_int_equal(outlier_judge(&o, 0.0, WINDOW, (struct outlier_row){1.0, NAN}),
                     SKIP_NOT_FINITE);
    assert_int_equal(o.skipped, 1);
}

/* What another window of the same run left behind. */
static void a_window_may_change(void **state)
{
    (void)state;
    struct outlier o = filled();
    o.in_a_row = 3;
    assert_int_equal(outlier_judge(&o, 3.0, 16, (struct outlier_row){9.0, 1.0}), SKIP_LOSS);
    assert_int_equal(o.n, 0); /* more in a row than this window allows */
    o = filled();
    assert_int_equal(outlier_judge(&o, 3.0, 16, (struct outlier_row){2.125, 1.0}), SKIP_NONE);
    assert_int_equal(o.n, 16);
    assert_true(o.row[15].loss == 2.125 && o.row[0].loss == 2.0 + 0.1 * (17 % 3));
    o = filled();
    for (int i = 0; i < 16; i++) /* what no longer counts would say that 9 is usual */
        o.row[i].loss = 9.0 * (i % 2);
    assert_int_equal(outlier_judge(&o, 3.0, 16, (struct outlier_row){9.0, 1.0}), SKIP_LOSS);
    o = filled();
    assert_int_equal(outlier_judge(&o, 3.0, 64, (struct outlier_row){9.0, 1.0}), SKIP_NONE);
    assert_int_equal(o.n, WINDOW + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions_are_the_references),
        cmocka_unit_test(only_upward_and_only_when_full),
        cmocka_unit_test(an_outlier_stays_out_of_the_window),
        cmocka_unit_test(a_lasting_shift_is_accepted),
        cmocka_unit_test(an_accepted_step_ends_a_row),
        cmocka_unit_test(equal_values_say_nothing),
        cmocka_unit_test(switched_off_it_remembers_nothing),
        cmocka_unit_test(a_window_may_change),
    };
    return cmocka_run_group_tests_name("outlier", tests, NULL, NULL);
}
