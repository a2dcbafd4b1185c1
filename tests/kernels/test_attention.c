/* Causal attention, forward, backward and decoding, against the double-precision reference. */
#include <stdlib.h>
#include <string.h>
#include "kernels/fixture.h"
#include "kernels/reference.h"
#include "kernels/tensor.h"

struct shape {
    int64_t B, T, C;
    int NH;
};

/* Contexts around multiples of the tile, one position, head sizes that are no vector length. */
static const struct shape shapes[] = {{1, 1, 48, 3},    {2, 5, 48, 3},  {1, 63, 64, 1},
                                      {2, 64, 128, 2},  {1, 65, 96, 3}, {3, 130, 48, 4},
                                      {1, 257, 128, 4}, {1, 97, 10, 2}, {1, 200, 288, 2}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

/* bf16: the kernel rounds `out`, and through it every gradient, to 8 bits. */
static struct tolerance loose(enum dtype act)
{
    const struct tolerance f32 = {2e-5, 4e-6}, bf16 = {1e-2, 4e-3};
    return act == DTYPE_BF16 ? bf16 : f32;
}

struct buffers {
    struct tensor qkv, out, stats, dout, dqkv;
};

static struct buffers buffers_make(const struct shape *s, enum dtype act, double scale)
{
    const int64_t R = s->B * s->T;
    const struct buffers b = {tensor_random(act, R, 3 * s->C, scale, 1), tensor_zero(act, R, s->C),
                              tensor_zero(DTYPE_F32, s->B * s->NH, s->T),
                              tensor_random(act, R, s->C, 1.0, 2), tensor_zero(act, R, 3 * s->C)};
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
    const struct view qkv = tensor_view3(&b->qkv, s->B, s->T, 3 * s->C),
                      dqkv = tensor_view3(&b->dqkv, s->B, s->T, 3 * s->C),
                      out = tensor_view3(&b->out, s->B, s->T, s->C),
                      dout = tensor_view3(&b->dout, s->B, s->T, s->C),
                      stats = tensor_view3(&b->stats, s->B, s->NH, s->T);
    OK(kernel_attention(dev, out, stats, qkv, s->NH));
    OK(kernel_attention_grad(dev, dqkv, dout, out, stats, qkv, s->NH));
}

static void against_reference(void **state)
{
    for (int i = 0; i < 2 * N_SHAPES; i++) {
        const struct shape *const s = &shapes[i / 2];
        const enum dtype act = i % 2 ? DTYPE_BF16 : DTYPE_F32;
        struct buffers b = buffers_make(s, act, 1.5);
        double *const out = doubles(b.out.n), *const stats = doubles(b.stats.n),
                      *const dqkv = doubles(b.qkv.n);
        run(*state, &b, s);
        ref_attention(out, stats, b.qkv.exact, s->B, s->T, s->C, s->NH);
        ref_attention_grad(dqkv, b.dout.exact, b.qkv.exact, s->B, s->T, s->C, s->NH);
        assert_true(tensor_close("attention", &b.out, out, loose(act)));
        assert_true(tensor_close("attention stats", &b.stats, stats, loose(DTYPE_F32)));
        assert_true(tensor_close("attention dqkv", &b.dqkv, dqkv, loose(act)));
        free(out);
        free(stats);
        free(dqkv);
        buffers_free(&b);
    }
}

/* Scores in the thousands: the running maximum must be subtracted everywhere. */
static void large_scores(void **state)
{
    const struct shape s = {1, 130, 32, 2};
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
    const struct shape s = {1, 130, 32, 2};
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
    const struct shape s = {2, 100, 64, 2};
    struct device *alone = NULL;
    OK(device_open("cpu", 0, 1, &alone));
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
    enum { T = 70, C = 48, NH = 3 };
    struct tensor qkv = tensor_random(DTYPE_F32, T, 3 * C, 1.5, 1),
                  out = tensor_zero(DTYPE_F32, 1, C), keys = tensor_zero(DTYPE_F32, T, C),
                  values = tensor_zero(DTYPE_F32, T, C);
    double *const want = doubles((int64_t)T * C), *const stats = doubles((int64_t)T * NH);
    ref_attention(want, stats, qkv.exact, 1, T, C, NH);
    for (int64_t t = 0; t < T; t++) {
        const struct view row = view_make((float *)qkv.view.data + t * 3 * C, DTYPE_F32, 1, 3 * C);
        OK(kernel_attention_decode(*state, out.view, keys.view, values.view, row, t, NH));
        assert_true(tensor_close("decode", &out, want + t * C, loose(DTYPE_F32)));
    }
    free(want);
    free(stats);
    tensor_free(&qkv);
    tensor_free(&out);
    tensor_free(&keys);
    tensor_free(&values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_reference),
        cmocka_unit_test(large_scores),
        cmocka_unit_test(causal),
        cmocka_unit_test(repeatable),
        cmocka_unit_test(decode),
    };
    return cmocka_run_group_tests(tests, device_setup, device_teardown);
}
