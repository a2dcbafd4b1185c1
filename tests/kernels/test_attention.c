/* Causal attention, forward, backward and decoding, against the double-precision reference. */
#include <stdlib.h>
#include <string.h>
#include "kernels/fixture.h"
#include "kernels/reference.h"
#include "kernels/tensor.h"

struct shape {
    int64_t B, T, C;
    int NH, NK; /* heads of queries; of keys and values */
};

/* Numbers of one head; of a row of qkv. */
static int64_t head_size(const struct shape *s)
{
    return s->C / s->NH;
}
static int64_t row_size(const struct shape *s)
{
    return s->C + 2 * s->NK * head_size(s);
}

/* Contexts around multiples of the tile, one position, head sizes that are no vector length. */
static const struct shape shapes[] = {{1, 1, 48, 3, 3},    {2, 5, 48, 3, 3},  {1, 63, 64, 1, 1},
                                      {2, 64, 128, 2, 2},  {1, 65, 96, 3, 3}, {3, 130, 48, 4, 4},
                                      {1, 257, 128, 4, 4}, {1, 97, 10, 2, 2}, {1, 200, 288, 2, 2},
                                      {1, 77, 128, 4, 2},  {2, 66, 48, 4, 1}, {1, 530, 160, 2, 1},
                                      {1, 30, 9, 3, 3}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

/* bf16: the kernel rounds `out`, and through it every gradient, to 8 bits. */
static struct tolerance loose(enum dtype act)
{
    const struct tolerance f32 = {2e-5, 4e-6}, bf16 = {1e-2, 4e-3};
    return act == DTYPE_BF16 ? bf16 : f32;
}

/* A bf16 exponential is off by up to 8e-5, and so may their sum be. */
static const struct tolerance rough_stats = {1e-4, 1e-4};

struct buffers {
    struct tensor qkv, out, stats, dout, dqkv;
};

static struct buffers buffers_make(const struct shape *s, enum dtype act, double scale)
{
    const int64_t R = s->B * s->T;
    const struct buffers b = {tensor_random(act, R, row_size(s), scale, 1),
                              tensor_zero(act, R, s->C), tensor_zero(DTYPE_F32, s->B * s->NH, s->T),
                              tensor_random(act, R, s->C, 1.0, 2),
                              tensor_zero(act, R, row_size(s))};
    return b;
}

static void buffers_free(struct buffers *b)
{
    tensor_free(&b->qkv);
    tensor_free(&b->out);
    tensor_free(&b->stats);
    tensor_free(&b->dout);
    tensor_free(&b->dqkv);
}

static void run(struct device *dev, const struct buffers *b, const struct shape *s)
{
    const struct attention_shape shape = {s->NH, s->NK};
    const struct view qkv = tensor_view3(&b->qkv, s->B, s->T, row_size(s)),
                      dqkv = tensor_view3(&b->dqkv, s->B, s->T, row_size(s)),
                      out = tensor_view3(&b->out, s->B, s->T, s->C),
                      dout = tensor_view3(&b->dout, s->B, s->T, s->C),
                      stats = tensor_view3(&b->stats, s->B, s->NH, s->T);
    OK(kernel_attention(dev, out, stats, qkv, shape));
    OK(kernel_attention_grad(dev, dqkv, dout, out, stats, qkv, shape));
}

/* Where number d of head h of part (0 query, 1 key, 2 value) is in a row of qkv. */
static int64_t place(const struct shape *s, int part, int64_t h, int64_t d)
{
    const int64_t HS = head_size(s), before[] = {0, s->NH, s->NH + s->NK};
    return (before[part] + (part == 0 ? h : h * s->NK / s->NH)) * HS + d;
}

/* Rows where every head of queries has its own copy of its keys and values; or, back, the sums of
 * such copies' gradients. */
static void spread(double *wide, const double *narrow, const struct shape *s)
{
    for (int64_t i = 0; i < s->B * s->T * 3 * s->C; i++) {
        const int64_t row = i / (3 * s->C), part = i / s->C % 3, at = i % s->C;
        wide[i] =
            narrow[row * row_size(s) + place(s, (int)part, at / head_size(s), at % head_size(s))];
    }
}
static void gather(double *narrow, const double *wide, const struct shape *s)
{
    for (int64_t i = 0; i < s->B * s->T * 3 * s->C; i++) {
        const int64_t row = i / (3 * s->C), part = i / s->C % 3, at = i % s->C;
        narrow[row * row_size(s) + place(s, (int)part, at / head_size(s), at % head_size(s))] +=
            wide[i];
    }
}

static void against_reference_case(struct device *dev, const struct shape *s, enum dtype act)
{
    struct buffers b = buffers_make(s, act, 1.5);
    const int64_t n = s->B * s->T * 3 * s->C;
    double *const out = doubles(b.out.n), *const stats = doubles(b.stats.n),
                  *const dqkv = doubles(b.qkv.n), *const wide = doubles(n),
                  *const dwide = doubles(n);
    run(dev, &b, s);
    spread(wide, b.qkv.exact, s);
    ref_attention(out, stats, wide, s->B, s->T, s->C, s->NH);
    ref_attention_grad(dwide, b.dout.exact, wide, s->B, s->T, s->C, s->NH);
    gather(dqkv, dwide, s);
    assert_true(tensor_close("attention", &b.out, out, loose(act)));
    assert_true(tensor_close("attention stats", &b.stats, stats,
                             act == DTYPE_BF16 ? rough_stats : loose(act)));
    assert_true(tensor_close("attention dqkv", &b.dqkv, dqkv, loose(act)));
    double *const arrays[] = {out, stats, dqkv, wide, dwide};
    for (int k = 0; k < 5; k++)
        free(arrays[k]);
    buffers_free(&b);
}

static void against_reference(void **state)
{
    for (int i = 0; i < N_SHAPES; i++) {
        against_reference_case(*state, &shapes[i], DTYPE_F32);
        if (head_size(&shapes[i]) % 2 == 0) against_reference_case(*state, &shapes[i], DTYPE_BF16);
    }
}

/* bf16 is multiplied in pairs. */
static void odd_heads_of_bf16_are_refused(void **state)
{
    const struct shape s = {1, 4, 9, 3, 3};
    struct buffers b = buffers_make(&s, DTYPE_BF16, 1.0);
    assert_int_equal(
        kernel_attention(*state, tensor_view3(&b.out, 1, 4, 9), tensor_view3(&b.stats, 1, 3, 4),
                         tensor_view3(&b.qkv, 1, 4, 27), (struct attention_shape){3, 3}),
        SHOAL_EARG);
    buffers_free(&b);
}

static void large_scores(void **state)
{
    const struct shape s = {1, 130, 32, 2, 2};
    struct buffers b = buffers_make(&s, DTYPE_F32, 30.0);
    double *const out = doubles(b.out.n), *const stats = doubles(b.stats.n);
    const struct tolerance tol = {1e-3, 1e-3}; /* f32 scores of 10^4 are off by about 10^-3 */
    run(*state, &b, &s);
    ref_attention(out, stats, b.qkv.exact, s.B, s.T, s.C, s.NH);
    assert_true(tensor_close("attention, large scores", &b.out, out, tol));
    free(out);
    free(stats);
    buffers_free(&b);
}

/* Changing the future changes nothing before it, not one bit. */
static void causal(void **state)
{
    const struct shape s = {1, 130, 32, 2, 2};
    enum { CHANGED = 70 };
    struct buffers a = buffers_make(&s, DTYPE_F32, 1.0), b = buffers_make(&s, DTYPE_F32, 1.0);
    for (int64_t i = CHANGED * 3 * s.C; i < b.qkv.n; i++)
        ((float *)b.qkv.view.data)[i] = -9.0f;
    run(*state, &a, &s);
    run(*state, &b, &s);
    assert_memory_equal(a.out.view.data, b.out.view.data, CHANGED * 32 * sizeof(float));
    assert_memory_not_equal(a.out.view.data, b.out.view.data, (CHANGED + 1) * 32 * sizeof(float));
    buffers_free(&a);
    buffers_free(&b);
}

/* The same bits when repeated, and from one thread or two. */
static void repeatable(void **state)
{
    const struct shape s = {2, 100, 64, 4, 2};
    struct device *alone = device_alone();
    for (int i = 0; i < 2; i++) {
        const enum dtype act = i ? DTYPE_BF16 : DTYPE_F32;
        struct buffers a = buffers_make(&s, act, 1.0), b = buffers_make(&s, act, 1.0),
                       c = buffers_make(&s, act, 1.0);
        const size_t bytes = (size_t)a.dqkv.n * dtype_bytes(act);
        run(*state, &a, &s);
        run(*state, &b, &s);
        run(alone, &c, &s);
        assert_memory_equal(a.dqkv.view.data, b.dqkv.view.data, bytes);
        assert_memory_equal(a.dqkv.view.data, c.dqkv.view.data, bytes);
        buffers_free(&a);
        buffers_free(&b);
        buffers_free(&c);
    }
    device_close(&alone);
}

/* Position by position through the cache gives what the whole sequence at once gives. */
static void decode(void **state)
{
    const struct shape all[] = {{1, 70, 48, 3, 3}, {1, 70, 48, 4, 2}};
    for (int i = 0; i < 2; i++) {
        const struct shape *const s = &all[i];
        const struct attention_shape shape = {s->NH, s->NK};
        const int64_t W = row_size(s), kept = s->NK * head_size(s);
        struct tensor qkv = tensor_random(DTYPE_F32, s->T, W, 1.5, 1),
                      out = tensor_zero(DTYPE_F32, 1, s->C),
                      keys = tensor_zero(DTYPE_F32, s->T, kept),
                      values = tensor_zero(DTYPE_F32, s->T, kept);
        double *const want = doubles(s->T * s->C), *const stats = doubles(s->T * s->NH),
                      *const wide = doubles(s->T * 3 * s->C);
        spread(wide, qkv.exact, s);
        ref_attention(want, stats, wide, 1, s->T, s->C, s->NH);
        for (int64_t t = 0; t < s->T; t++) {
            const struct view row = view_make((float *)qkv.view.data + t * W, DTYPE_F32, 1, W);
            OK(kernel_attention_decode(*state, out.view, keys.view, values.view, row, t, shape));
            assert_true(tensor_close("decode", &out, want + t * s->C, loose(DTYPE_F32)));
        }
        free(want);
        free(stats);
        free(wide);
        tensor_free(&qkv);
        tensor_free(&out);
        tensor_free(&keys);
        tensor_free(&values);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_reference), cmocka_unit_test(odd_heads_of_bf16_are_refused),
        cmocka_unit_test(large_scores),      cmocka_unit_test(causal),
        cmocka_unit_test(repeatable),        cmocka_unit_test(decode),
    };
    device_or_skip();
    return cmocka_run_group_tests(tests, device_setup, device_teardown);
}
