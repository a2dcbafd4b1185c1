/* Laws of the evolution kernels. Numbers drawn are recomputed here one at a time with rng_bits, so
 * the kernels' blocks, pieces and threads must not show. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "config/config.h"
#include "kernels/fixture.h"
#include "kernels/tensor.h"

enum { ROWS = 301, COLS = 257, N = ROWS * COLS }; /* odd, several pieces, more than CPU_SMALL */

static const struct rng_key own_key = {42, RNG_SWARM_OWN, 3, 7, 11};
static const struct rng_key best_key = {42, RNG_SWARM_BEST, 3, 7, 11};
static const struct rng_key cross_key = {42, RNG_CROSSOVER, 3, 7, 11};

static float *floats(double scale, uint32_t seed)
{
    struct tensor t = tensor_random(DTYPE_F32, ROWS, COLS, scale, seed);
    free(t.exact);
    return t.view.data;
}

static float factor(int law, int draw, struct rng_key key, int64_t i)
{
    if (draw == DRAW_CONSTANT) return 1.0f;
    if (draw == DRAW_EXPERT) key.tensor = 0;
    const int64_t index = draw == DRAW_ELEMENT ? i : draw == DRAW_ROW ? i / COLS : 0;
    const uint32_t bits = rng_bits(key, (uint64_t)index);
    if (law == LAW_UNIFORM) return rng_to_uniform(bits);
    return fminf(fmaxf((rng_to_normal(bits) + 3.0f) / 6.0f, 0.0f), 1.0f);
}

/* Every draw and law against the formula in double precision, with and without velocity. */
static void swarm_formula(void **state)
{
    float *const x = floats(1.0, 1), *const v = floats(1.0, 2), *const own = floats(1.0, 3),
                 *const best = floats(1.0, 4), *const x0 = floats(1.0, 1),
                 *const v0 = floats(1.0, 2);
    for (int i = 0; i < 10; i++) {
        const struct swarm_args a = {0.5f, 1.25f, 0.75f, i % 5, i / 5, own_key, best_key};
        memcpy(x, x0, N * sizeof *x);
        memcpy(v, v0, N * sizeof *v);
        OK(kernel_swarm(*state, x, v, own, best, ROWS, COLS, a));
        for (int64_t k = 0; k < N; k++) {
            const double r1 = (double)factor(a.law, a.draw, own_key, k);
            const double r2 = (double)factor(a.law, a.draw, best_key, k);
            const double move = 0.5 * (double)v0[k] + 1.25 * r1 * ((double)own[k] - (double)x0[k]) +
                                0.75 * r2 * ((double)best[k] - (double)x0[k]);
            assert_true(fabs((double)v[k] - move) < 4e-6);
            assert_true(x[k] == x0[k] + v[k]);
        }
    }
    float *const all[] = {x, v, own, best, x0, v0};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* Rows longer than the pieces the kernel works in still have one factor each. */
static void swarm_long_rows(void **state)
{
    enum { SHORT = 3, LONG = N / SHORT };
    float *const x = floats(1.0, 1), *const x0 = floats(1.0, 1), *const best = floats(1.0, 2);
    const struct swarm_args a = {.social = 0.5f, .draw = DRAW_ROW, .best = best_key};
    OK(kernel_swarm(*state, x, NULL, NULL, best, SHORT, LONG, a));
    for (int64_t i = 0; i < (int64_t)SHORT * LONG; i++) {
        const double r = (double)rng_to_uniform(rng_bits(best_key, (uint64_t)(i / LONG)));
        const double want = (double)x0[i] + 0.5 * r * ((double)best[i] - (double)x0[i]);
        assert_true(fabs((double)x[i] - want) < 2e-6);
    }
    free(x);
    free(x0);
    free(best);
}

static void swarm_whole_step_copies(void **state)
{
    float *const x = floats(3.0, 1), *const best = floats(1e-3, 2);
    const struct swarm_args a = {.social = 1.0f, .draw = DRAW_CONSTANT};
    best[3] = -0.0f;
    OK(kernel_swarm(*state, x, NULL, NULL, best, ROWS, COLS, a));
    assert_memory_equal(x, best, N * sizeof *x);
    free(x);
    free(best);
}

/* Strengths of zero change nothing, the sign of zero and the bits of a NaN included. */
static void zero_strength_is_identity(void **state)
{
    float *const x = floats(1.0, 1), *const kept = floats(1.0, 1), *const best = floats(1.0, 2),
                 *const m = floats(1.0, 3), *const v = floats(1.0, 4);
    for (int64_t i = 0; i < N; i++)
        v[i] *= v[i];
    x[0] = kept[0] = -0.0f;
    x[1] = kept[1] = NAN;
    for (int draw = DRAW_CONSTANT; draw <= DRAW_ELEMENT; draw++) {
        const struct swarm_args a = {.draw = draw, .own = own_key, .best = best_key};
        OK(kernel_swarm(*state, x, NULL, NULL, best, ROWS, COLS, a));
        if (draw != DRAW_CONSTANT)
            OK(kernel_crossover(*state, x, best, ROWS, COLS, 0.0f, draw, cross_key));
    }
    const struct mutate_args a = {.rate = 0.5f, .scale = 1.0f, .lr = 1.0f, .step = 3};
    struct mutate_args no_rate = a, no_scale = a, no_step = a;
    no_rate.rate = 0.0f;
    no_scale.scale = 0.0f;
    no_step.step = 0;
    OK(kernel_mutate(*state, x, m, v, N, no_rate));
    OK(kernel_mutate(*state, x, m, v, N, no_scale));
    OK(kernel_mutate(*state, x, m, v, N, no_step));
    assert_memory_equal(x, kept, N * sizeof *x);
    float *const all[] = {x, kept, best, m, v};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

/* Mean and variance of the distance to the attractor, in units of what it was. */
static void distance_moments(const float *x, const float *best, const float *x0, double *mean,
                             double *variance)
{
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < N; i++) {
        const double d = ((double)x[i] - (double)best[i]) / ((double)x0[i] - (double)best[i]);
        sum += d;
        squares += d * d;
    }
    *mean = sum / N;
    *variance = squares / N - *mean * *mean;
}

/* Social 2 with the clipped normal: the follower overshoots as often as not. Of 1 - 2r with
 * r = clip((z + 3) / 6, 0, 1) the variance is 0.1106; crossover 0.6 leaves 40 % of it. */
static void koifish_moments(void **state)
{
    float *const x = floats(1.0, 1), *const best = floats(1.0, 2), *const x0 = floats(1.0, 1);
    for (int64_t i = 0; i < N; i++) { /* a distance of about 1 keeps the ratio well conditioned */
        best[i] = 1.0f + fabsf(best[i]);
        x[i] = x0[i] = -1.0f - fabsf(x[i]);
    }
    const struct swarm_args a = {
        .social = 2.0f, .draw = DRAW_ELEMENT, .law = LAW_KOIFISH, .own = own_key, .best = best_key};
    double mean, variance;
    OK(kernel_swarm(*state, x, NULL, NULL, best, ROWS, COLS, a));
    distance_moments(x, best, x0, &mean, &variance);
    assert_true(fabs(mean) < 5.0 * sqrt(0.1106 / N));
    assert_true(fabs(variance - 0.1106) < 0.003);
    OK(kernel_crossover(*state, x, best, ROWS, COLS, 0.6f, DRAW_ELEMENT, cross_key));
    distance_moments(x, best, x0, &mean, &variance);
    assert_true(fabs(mean) < 5.0 * sqrt(0.0442 / N));
    assert_true(fabs(variance - 0.0442) < 0.003);
    free(x);
    free(best);
    free(x0);
}

/* Each element is exactly one parent's, chosen as drawn; shares are as asked. */
static void crossover_parents(void **state)
{
    const float rates[] = {0.3f, 0.6f, 1.0f};
    for (int i = 0; i < 12; i++) {
        const int by = DRAW_EXPERT + i % 4;
        const float rate = rates[i / 4];
        float *const x = floats(1.0, 1), *const x0 = floats(1.0, 1), *const best = floats(1.0, 2);
        int64_t taken = 0;
        OK(kernel_crossover(*state, x, best, ROWS, COLS, rate, by, cross_key));
        for (int64_t k = 0; k < N; k++) {
            const bool takes = factor(LAW_UNIFORM, by, cross_key, k) < rate;
            assert_memory_equal(&x[k], takes ? &best[k] : &x0[k], sizeof *x);
            taken += takes;
        }
        const double share = (double)taken / N, trials = by == DRAW_ELEMENT ? N : ROWS;
        if (by >= DRAW_ROW)
            assert_true(fabs(share - (double)rate) <=
                        5.0 * sqrt((double)(rate * (1.0f - rate)) / trials));
        else
            assert_true(taken == 0 || taken == N);
        free(x);
        free(x0);
        free(best);
    }
}

/* Over many tensors, whole ones cross at the rate asked for. */
static void crossover_tensor_rate(void **state)
{
    enum { TENSORS = 4000 };
    struct rng_key key = cross_key;
    const float best = 1.0f;
    int taken = 0;
    for (int i = 0; i < TENSORS; i++) {
        float x = 0.0f;
        key.tensor = (uint32_t)i;
        OK(kernel_crossover(*state, &x, &best, 1, 1, 0.25f, DRAW_TENSOR, key));
        taken += x == 1.0f;
    }
    assert_true(abs(taken - TENSORS / 4) < 5 * 28); /* sqrt(4000 * 0.25 * 0.75) = 27.4 */
}

static const struct mutate_args mutation = {
    .rate = 0.3f,
    .scale = 2.0f,
    .lr = 0.01f,
    .beta1 = 0.9f,
    .beta2 = 0.95f,
    .eps = 1e-8f,
    .step = 4,
    .which = {42, RNG_MUTATE, 3, 7, 11},
    .noise = {42, RNG_NOISE, 3, 7, 11},
};

/* Noise is measured in AdamW steps: z * scale * lr * |m_hat| / (sqrt(v_hat) + eps). */
static void mutate_formula(void **state)
{
    float *const x = floats(1.0, 1), *const x0 = floats(1.0, 1), *const m = floats(0.1, 2),
                 *const v = floats(0.1, 3);
    const double unbias1 = 1.0 - pow(0.9f, 4), unbias2 = 1.0 - pow(0.95f, 4);
    int64_t hit = 0;
    double squares = 0.0;
    for (int64_t i = 0; i < N; i++)
        v[i] *= v[i];
    OK(kernel_mutate(*state, x, m, v, N, mutation));
    for (int64_t i = 0; i < N; i++) {
        const double size =
            2.0 * 0.01f * fabs((double)m[i] / unbias1) / (sqrt((double)v[i] / unbias2) + 1e-8);
        const double z = (double)rng_to_normal(rng_bits(mutation.noise, (uint64_t)i));
        const bool hits = rng_to_uniform(rng_bits(mutation.which, (uint64_t)i)) < 0.3f;
        const double want = (double)x0[i] + (hits ? z * size : 0.0);
        assert_true(fabs((double)x[i] - want) <= 2e-7 * (fabs(want) + fabs(z * size)));
        if (hits && size > 1e-4) squares += pow(((double)x[i] - (double)x0[i]) / size, 2.0);
        hit += hits && size > 1e-4;
    }
    assert_true(fabs((double)hit / N - 0.3) < 0.02);
    assert_true(fabs(squares / (double)hit - 1.0) < 0.05);
    free(x);
    free(x0);
    free(m);
    free(v);
}

/* What no gradient ever reached does not move: vocabulary padding and gaps stay zero. */
static void mutate_keeps_zeros(void **state)
{
    float x[100] = {0}, m[100] = {0}, v[100] = {0}, zero[100] = {0};
    struct mutate_args always = mutation;
    always.rate = 1.0f;
    OK(kernel_mutate(*state, x, m, v, 100, always));
    for (int i = 0; i < 100; i++)
        assert_true(x[i] == zero[i]);
}

/* The same bits from one thread as from two. */
static void threads_do_not_show(void **state)
{
    struct device *devices[2] = {*state, device_alone()};
    float *x[2], *v[2];
    float *const best = floats(1.0, 5), *const m = floats(1.0, 6), *const second = floats(1.0, 7);
    for (int64_t i = 0; i < N; i++)
        second[i] *= second[i];
    for (int i = 0; i < 2; i++) {
        const struct swarm_args a = {0.5f,        0.0f,    1.5f,    DRAW_ELEMENT,
                                     LAW_KOIFISH, own_key, best_key};
        const struct swarm_args rows = {0.0f, 0.0f, 1.5f, DRAW_ROW, LAW_UNIFORM, own_key, best_key};
        x[i] = floats(1.0, 1);
        v[i] = floats(1.0, 2);
        OK(kernel_swarm(devices[i], x[i], v[i], NULL, best, ROWS, COLS, a));
        OK(kernel_swarm(devices[i], x[i], NULL, NULL, best, ROWS, COLS, rows));
        OK(kernel_crossover(devices[i], x[i], best, ROWS, COLS, 0.3f, DRAW_ELEMENT, cross_key));
        OK(kernel_crossover(devices[i], x[i], best, ROWS, COLS, 0.3f, DRAW_ROW, cross_key));
        OK(kernel_mutate(devices[i], x[i], m, second, N, mutation));
    }
    assert_memory_equal(x[0], x[1], N * sizeof(float));
    assert_memory_equal(v[0], v[1], N * sizeof(float));
    device_close(&devices[1]);
    float *const all[] = {x[0], x[1], v[0], v[1], best, m, second};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(swarm_formula),           cmocka_unit_test(swarm_long_rows),
        cmocka_unit_test(swarm_whole_step_copies), cmocka_unit_test(zero_strength_is_identity),
        cmocka_unit_test(koifish_moments),         cmocka_unit_test(crossover_parents),
        cmocka_unit_test(crossover_tensor_rate),   cmocka_unit_test(mutate_formula),
        cmocka_unit_test(mutate_keeps_zeros),      cmocka_unit_test(threads_do_not_show),
    };
    device_or_skip();
    return cmocka_run_group_tests(tests, device_setup, device_teardown);
}
