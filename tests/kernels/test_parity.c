/* The CPU and another device side by side: evolution, axpby, conversions and packed
 * numbers give the same bits; the
 * rest, which may use fused multiply-adds and other orders of sums, agrees within stated bounds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "config/config.h"
#include "kernels/fixture.h"
#include "kernels/tensor.h"

/* Odd, more than one block of any kernel, rows that begin inside a random block of four. */
enum { ROWS = 67, COLS = 129, N = ROWS * COLS };

static const struct rng_key own_key = {7, RNG_SWARM_OWN, 3, 7, 11};
static const struct rng_key best_key = {7, RNG_SWARM_BEST, 3, 7, 11};
static const struct rng_key cross_key = {7, RNG_CROSSOVER, 3, 7, 11};

/* The same tensors for the CPU (0) and the device (1). */
struct pair {
    struct device *dev[2];
    struct tensor x[2], v[2], own, best, m, second;
};

static struct pair pair_open(void **state)
{
    struct pair p;
    p.dev[0] = NULL;
    p.dev[1] = *state;
    OK(device_open("cpu", 0, 1, &p.dev[0]));
    for (int i = 0; i < 2; i++) {
        p.x[i] = tensor_random(DTYPE_F32, ROWS, COLS, 1.0, 1);
        p.v[i] = tensor_random(DTYPE_F32, ROWS, COLS, 1.0, 2);
    }
    p.own = tensor_random(DTYPE_F32, ROWS, COLS, 1.0, 3);
    p.best = tensor_random(DTYPE_F32, ROWS, COLS, 1.0, 4);
    p.m = tensor_random(DTYPE_F32, ROWS, COLS, 1e-3, 5);
    p.second = tensor_random(DTYPE_F32, ROWS, COLS, 1e-3, 6);
    float *const second = p.second.view.data;
    for (int64_t i = 0; i < N; i++)
        second[i] *= second[i];
    return p;
}

static void pair_close(struct pair *p)
{
    struct tensor *const all[] = {&p->x[0], &p->x[1], &p->v[0], &p->v[1],
                                  &p->own,  &p->best, &p->m,    &p->second};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        tensor_free(all[i]);
    device_close(&p->dev[0]);
}

static void assert_same_bits(const struct tensor *t)
{
    assert_memory_equal(t[0].view.data, t[1].view.data,
                        (size_t)t[0].n * dtype_bytes(t[0].view.dtype));
}

/* Every draw and law; without velocity, with it, without a pull of one's own. One after the other,
 * on what the last left. */
static void swarm(void **state)
{
    struct pair p = pair_open(state);
    for (int i = 0; i < 30; i++)
        for (int d = 0; d < 2; d++) {
            const int kind = i / 10;
            const struct swarm_args a = {.inertia = kind == 0 ? 0.5f : 0.0f,
                                         .cognitive = kind == 2 ? 0.0f : 0.25f,
                                         .social = 0.75f,
                                         .draw = i % 5,
                                         .law = i / 5 % 2,
                                         .own = own_key,
                                         .best = best_key};
            OK(kernel_swarm(p.dev[d], p.x[d].view.data, p.v[d].view.data, p.own.view.data,
                            p.best.view.data, ROWS, COLS, a));
            if (d == 1) assert_same_bits(p.x);
            if (d == 1) assert_same_bits(p.v);
        }
    pair_close(&p);
}

static void crossover(void **state)
{
    struct pair p = pair_open(state);
    for (int by = DRAW_EXPERT; by <= DRAW_ELEMENT; by++)
        for (int d = 0; d < 2; d++)
            OK(kernel_crossover(p.dev[d], p.x[d].view.data, p.best.view.data, ROWS, COLS, 0.4f, by,
                                cross_key));
    assert_same_bits(p.x);
    pair_close(&p);
}

static void mutate(void **state)
{
    struct pair p = pair_open(state);
    const struct mutate_args a = {.rate = 0.3f,
                                  .scale = 2.0f,
                                  .lr = 1e-3f,
                                  .beta1 = 0.9f,
                                  .beta2 = 0.95f,
                                  .eps = 1e-8f,
                                  .step = 17,
                                  .which = {7, RNG_MUTATE, 3, 7, 11},
                                  .noise = {7, RNG_NOISE, 3, 7, 11}};
    for (int d = 0; d < 2; d++)
        OK(kernel_mutate(p.dev[d], p.x[d].view.data, p.m.view.data, p.second.view.data, N, a));
    assert_same_bits(p.x);
    pair_close(&p);
}

/* The last elements are fewer than a vector. */
static void axpby(void **state)
{
    struct pair p = pair_open(state);
    for (int d = 0; d < 2; d++) {
        float *const x = p.x[d].view.data;
        OK(kernel_axpby(p.dev[d], x, p.best.view.data, N, 0.3f, 0.7f));
        OK(kernel_axpby(p.dev[d], x, x, N, 1.0f / 3.0f, 0.0f));
    }
    assert_same_bits(p.x);
    pair_close(&p);
}

/* Which bits a NaN has is no result. */
static void forget_nan(struct tensor *t)
{
    float *const x = t->view.data;
    for (int64_t i = 0; i < t->n; i++)
        if (isnan(x[i])) x[i] = 0.0f;
}

/* What is packed, what is lost of it, and what it means; twice, so that losses come back. */
static void pack(void **state)
{
    struct pair p = pair_open(state);
    ((float *)p.own.view.data)[70] = NAN;
    ((float *)p.own.view.data)[140] = 3e38f;
    for (int k = 0; k < 2 * PACKINGS; k++) {
        struct tensor packed[2];
        for (int d = 0; d < 2; d++) {
            const enum packing how = k % PACKINGS;
            packed[d] = tensor_zero(DTYPE_BF16, 1, pack_bytes(how, N) / 2);
            OK(kernel_pack(p.dev[d], packed[d].view.data, p.v[d].view.data, p.own.view.data,
                           k % 3 ? p.best.view.data : NULL, N, how));
            OK(kernel_unpack(p.dev[d], p.x[d].view.data, packed[d].view.data, N, how, 0.3f,
                             k % 2 ? 0.7f : 0.0f));
            forget_nan(&p.x[d]);
        }
        assert_same_bits(packed);
        assert_same_bits(p.v);
        assert_same_bits(p.x);
        tensor_free(&packed[0]);
        tensor_free(&packed[1]);
    }
    pair_close(&p);
}

static void convert(void **state)
{
    struct pair p = pair_open(state);
    struct tensor narrow[2], wide[2];
    for (int d = 0; d < 2; d++) {
        const uint32_t odd[] = {0x7f800001u, 0xffc12345u, 0x00000001u, 0x80008000u, 0x7f7fffffu};
        memcpy(p.x[d].view.data, odd, sizeof odd);
        narrow[d] = tensor_zero(DTYPE_BF16, ROWS, COLS);
        wide[d] = tensor_zero(DTYPE_F32, ROWS, COLS);
        OK(kernel_convert(p.dev[d], narrow[d].view, p.x[d].view));
        OK(kernel_convert(p.dev[d], wide[d].view, narrow[d].view));
    }
    assert_same_bits(narrow);
    assert_same_bits(wide);
    for (int d = 0; d < 2; d++) {
        tensor_free(&narrow[d]);
        tensor_free(&wide[d]);
    }
    pair_close(&p);
}

/* Sums in double precision differ by their order alone. */
static void sums(void **state)
{
    struct pair p = pair_open(state);
    double sum[2], squares[2];
    for (int d = 0; d < 2; d++) {
        OK(kernel_sum(p.dev[d], &sum[d], p.x[d].view.data, N));
        OK(kernel_sumsq(p.dev[d], &squares[d], p.x[d].view.data, N));
    }
    assert_true(fabs(sum[0] - sum[1]) <= 1e-12 * squares[0]);
    assert_true(fabs(squares[0] - squares[1]) <= 1e-13 * squares[0]);
    pair_close(&p);
}

/* Three steps: contraction may change the last bits of each. */
static void adamw(void **state)
{
    struct pair p = pair_open(state);
    struct tensor m[2], v[2];
    for (int d = 0; d < 2; d++) {
        m[d] = tensor_zero(DTYPE_F32, ROWS, COLS);
        v[d] = tensor_zero(DTYPE_F32, ROWS, COLS);
        for (int step = 1; step <= 3; step++) {
            const struct adamw_args a = {1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, step, NULL};
            OK(kernel_adamw(p.dev[d], p.x[d].view.data, NULL, m[d].view.data, v[d].view.data,
                            p.own.view.data, N, a));
        }
    }
    for (int64_t i = 0; i < N; i++) {
        const double a = tensor_get(&p.x[0], i), b = tensor_get(&p.x[1], i);
        assert_true(fabs(a - b) <= 1e-6 * (fabs(a) + 1e-2));
        assert_true(fabs(tensor_get(&m[0], i) - tensor_get(&m[1], i)) <= 1e-6);
        assert_true(fabs(tensor_get(&v[0], i) - tensor_get(&v[1], i)) <= 1e-6);
    }
    for (int d = 0; d < 2; d++) {
        tensor_free(&m[d]);
        tensor_free(&v[d]);
    }
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(swarm), cmocka_unit_test(crossover), cmocka_unit_test(mutate),
        cmocka_unit_test(axpby), cmocka_unit_test(convert),   cmocka_unit_test(sums),
        cmocka_unit_test(adamw), cmocka_unit_test(pack),
    };
    device_or_skip();
    return cmocka_run_group_tests(tests, device_setup, device_teardown);
}
