/* The network's kernels against the double-precision references, in f32 and bf16, at odd shapes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "kernels/fixture.h"
#include "kernels/reference.h"
#include "kernels/tensor.h"

static const enum dtype acts[] = {DTYPE_F32, DTYPE_BF16};
enum { N_ACTS = 2 };

static const struct view none = {NULL, {0, 0, 0, 0}, DTYPE_F32};

/* ---- matmul -------------------------------------------------------------------------------- */

static const int64_t matmul_shapes[][3] = {{1, 48, 144},   {3, 48, 33},   {64, 128, 384},
                                           {130, 48, 192}, {257, 96, 51}, {33, 7, 5}};
enum { N_MATMUL = sizeof matmul_shapes / sizeof matmul_shapes[0] };

static void matmul_forward(struct device *dev, const int64_t *shape, enum dtype in, enum dtype out)
{
    const int64_t R = shape[0], I = shape[1], O = shape[2];
    struct tensor x = tensor_random(in, R, I, 1.0, 1), w = tensor_random(in, O, I, 1.0, 2),
                  b = tensor_random_bias(O, 1.0, 3), y = tensor_zero(out, R, O);
    double *const want = doubles(y.n);
    OK(kernel_matmul(dev, y.view, x.view, w.view, b.view));
    ref_matmul(want, x.exact, w.exact, b.exact, R, I, O);
    assert_true(tensor_close("matmul", &y, want, tolerance_for(out)));
    OK(kernel_matmul(dev, y.view, x.view, w.view, none));
    ref_matmul(want, x.exact, w.exact, NULL, R, I, O);
    assert_true(tensor_close("matmul without bias", &y, want, tolerance_for(out)));
    free(want);
    tensor_free(&x);
    tensor_free(&w);
    tensor_free(&b);
    tensor_free(&y);
}

static void matmul_backward(struct device *dev, const int64_t *shape, enum dtype in, enum dtype out)
{
    const int64_t R = shape[0], I = shape[1], O = shape[2];
    struct tensor x = tensor_random(in, R, I, 1.0, 1), w = tensor_random(in, O, I, 1.0, 2),
                  d = tensor_random(in, R, O, 1.0, 3), dx = tensor_random(out, R, I, 1.0, 4),
                  dw = tensor_random(DTYPE_F32, O, I, 1.0, 5),
                  db = tensor_random(DTYPE_F32, 1, O, 1.0, 6);
    double *const want_x = doubles(x.n), *const want_w = doubles(w.n), *const want_b = doubles(O);
    ref_matmul_grad_x(want_x, d.exact, w.exact, R, I, O);
    ref_matmul_grad_w(want_w, want_b, d.exact, x.exact, R, I, O);
    OK(kernel_matmul_grad_x(dev, dx.view, d.view, w.view));
    assert_true(tensor_close("grad_x", &dx, want_x, tolerance_for(out)));
    OK(kernel_matmul_grad_w(dev, dw.view, db.view, d.view, x.view, true));
    assert_true(tensor_added("grad_w added", &dw, want_w, tolerance_for(DTYPE_F32)));
    assert_true(tensor_added("grad_bias", &db, want_b, tolerance_for(DTYPE_F32)));
    OK(kernel_matmul_grad_w(dev, dw.view, none, d.view, x.view, false));
    assert_true(tensor_close("grad_w", &dw, want_w, tolerance_for(DTYPE_F32)));
    free(want_x);
    free(want_w);
    free(want_b);
    tensor_free(&x);
    tensor_free(&w);
    tensor_free(&d);
    tensor_free(&dx);
    tensor_free(&dw);
    tensor_free(&db);
}

/* GELU and its derivative may meet what was rounded already. */
static struct tolerance rounded_twice(enum dtype act)
{
    const struct tolerance once = tolerance_for(act);
    return (struct tolerance){2.5 * once.relative, 2.0 * once.absolute};
}

/* sum = x + residual; returns it. */
static double *residual_plus(double *sum, const double *x, const struct tensor *residual)
{
    for (int64_t i = 0; i < residual->n; i++)
        sum[i] = x[i] + residual->exact[i];
    return sum;
}

/* What follows a product: a residual sum, GELU, GELU's derivative. */
static void matmul_epilogues(struct device *dev, const int64_t *shape, enum dtype act)
{
    const int64_t R = shape[0], I = shape[1], O = shape[2];
    const double scale = 1.0 / sqrt((double)I);
    struct tensor x = tensor_random(act, R, I, 1.0, 1), w = tensor_random(act, O, I, scale, 2),
                  b = tensor_random_bias(O, 1.0, 3), out = tensor_zero(act, R, O),
                  pre = tensor_zero(act, R, O), d = tensor_random(act, R, I, 1.0, 4),
                  wt = tensor_random(act, I, O, scale, 5), dpre = tensor_zero(act, R, O),
                  residual = tensor_random(DTYPE_F32, R, O, 1.0, 6),
                  sum = tensor_zero(DTYPE_F32, R, O);
    double *const want = doubles(R * O), *const other = doubles(R * O);
    ref_matmul(want, x.exact, w.exact, b.exact, R, I, O);
    ref_gelu(other, want, R * O);
    OK(kernel_matmul_gelu(dev, out.view, pre.view, x.view, w.view, b.view));
    assert_true(tensor_close("before GELU", &pre, want, tolerance_for(act)));
    assert_true(tensor_close("after GELU", &out, other, rounded_twice(act)));
    OK(kernel_matmul_residual(dev, sum.view, residual.view, x.view, w.view, b.view));
    assert_true(tensor_close("residual", &sum, residual_plus(other, want, &residual),
                             tolerance_for(DTYPE_F32)));
    OK(kernel_matmul_residual(dev, residual.view, residual.view, x.view, w.view, b.view));
    assert_true(tensor_added("residual in place", &residual, want, tolerance_for(DTYPE_F32)));
    for (int64_t i = 0; i < R * O; i++)
        pre.exact[i] = tensor_get(&pre, i);
    ref_matmul_grad_x(other, d.exact, wt.exact, R, O, I);
    ref_gelu_grad(want, other, pre.exact, R * O);
    OK(kernel_matmul_gelu_grad_x(dev, dpre.view, d.view, wt.view, pre.view));
    assert_true(tensor_close("GELU's derivative", &dpre, want, rounded_twice(act)));
    free(want);
    free(other);
    struct tensor *const all[] = {&x, &w, &b, &out, &pre, &d, &wt, &dpre, &residual, &sum};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        tensor_free(all[i]);
}

/* Long sums are built up in parts, many columns are packed in groups. */
static void matmul_large(void **state)
{
    const int64_t large[][3] = {{7, 5000, 70}, {70, 64, 1500}, {3000, 34, 66}};
    for (int s = 0; s < 3; s++) {
        matmul_forward(*state, large[s], DTYPE_BF16, DTYPE_BF16);
        matmul_backward(*state, large[s], DTYPE_BF16, DTYPE_BF16);
        matmul_epilogues(*state, large[s], DTYPE_BF16);
    }
}

static void matmul(void **state)
{
    for (int s = 0; s < N_MATMUL; s++) {
        matmul_epilogues(*state, matmul_shapes[s], DTYPE_F32);
        matmul_epilogues(*state, matmul_shapes[s], DTYPE_BF16);
        matmul_forward(*state, matmul_shapes[s], DTYPE_F32, DTYPE_F32);
        matmul_forward(*state, matmul_shapes[s], DTYPE_BF16, DTYPE_F32);
        matmul_forward(*state, matmul_shapes[s], DTYPE_BF16, DTYPE_BF16);
        matmul_backward(*state, matmul_shapes[s], DTYPE_F32, DTYPE_F32);
        matmul_backward(*state, matmul_shapes[s], DTYPE_BF16, DTYPE_F32);
        matmul_backward(*state, matmul_shapes[s], DTYPE_BF16, DTYPE_BF16);
    }
}

/* ---- normalisation ------------------------------------------------------------------------- */

static void norm_case(struct device *dev, int64_t R, int64_t C, enum dtype act, bool rms)
{
    struct tensor x = tensor_random(DTYPE_F32, R, C, 3.0, 1),
                  gain = tensor_random(DTYPE_F32, 1, C, 1.0, 2),
                  bias = tensor_random(DTYPE_F32, 1, C, 1.0, 3), y = tensor_zero(act, R, C),
                  mean = tensor_zero(DTYPE_F32, 1, R), rstd = tensor_zero(DTYPE_F32, 1, R),
                  d = tensor_random(act, R, C, 1.0, 4), dx = tensor_random(DTYPE_F32, R, C, 1.0, 5),
                  dx16 = tensor_zero(DTYPE_BF16, R, C), rounded = tensor_zero(DTYPE_BF16, R, C),
                  dgain = tensor_random(DTYPE_F32, 1, C, 1.0, 6),
                  dbias = tensor_random(DTYPE_F32, 1, C, 1.0, 7);
    double *const out = doubles(x.n), *const m = doubles(R), *const r = doubles(R),
                  *const gx = doubles(x.n), *const gg = doubles(C), *const gb = doubles(C);
    const struct tolerance f32 = tolerance_for(DTYPE_F32);
    const struct view means = rms ? none : mean.view;
    for (int64_t i = 0; i < x.n; i++) { /* a mean that is not small against the deviation */
        ((float *)x.view.data)[i] += 5.0f;
        x.exact[i] = (double)((float *)x.view.data)[i];
    }
    OK(kernel_norm(dev, y.view, means, rstd.view, x.view, gain.view, rms ? none : bias.view,
                   1e-5f));
    OK(kernel_norm_grad(dev, dx.view, dx16.view, dgain.view, rms ? none : dbias.view, d.view,
                        x.view, means, rstd.view, gain.view));
    if (rms) {
        ref_rmsnorm(out, r, x.exact, gain.exact, R, C, 1e-5);
        ref_rmsnorm_grad(gx, gg, d.exact, x.exact, gain.exact, R, C, 1e-5);
    } else {
        ref_layernorm(out, m, r, x.exact, gain.exact, bias.exact, R, C, 1e-5);
        ref_layernorm_grad(gx, gg, gb, d.exact, x.exact, gain.exact, R, C, 1e-5);
        assert_true(tensor_close("norm mean", &mean, m, f32));
        assert_true(tensor_added("norm dbias", &dbias, gb, f32));
    }
    assert_true(tensor_close("norm", &y, out, tolerance_for(act)));
    assert_true(tensor_close("norm rstd", &rstd, r, f32));
    assert_true(tensor_added("norm dx", &dx, gx, f32));
    assert_true(tensor_added("norm dgain", &dgain, gg, f32));
    OK(kernel_convert(dev, rounded.view, dx.view));
    assert_memory_equal(dx16.view.data, rounded.view.data, (size_t)x.n * 2);
    struct tensor *const all[] = {&x, &gain, &bias, &y,       &mean,  &rstd,
                                  &d, &dx,   &dx16, &rounded, &dgain, &dbias};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        tensor_free(all[i]);
    double *const arrays[] = {out, m, r, gx, gg, gb};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
}

static void norm(void **state)
{
    const int64_t shapes[][2] = {{1, 48}, {3, 33}, {130, 128}, {700, 48}, {33, 769}};
    for (int i = 0; i < 2 * N_ACTS; i++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            norm_case(*state, shapes[s][0], shapes[s][1], acts[i / 2], i % 2);
}

/* ---- element by element -------------------------------------------------------------------- */

static void gelu(void **state)
{
    for (int a = 0; a < N_ACTS; a++) {
        struct tensor x = tensor_random(acts[a], 37, 1001, 3.0, 1),
                      y = tensor_zero(acts[a], 37, 1001);
        double *const want = doubles(x.n);
        ref_gelu(want, x.exact, x.n);
        OK(kernel_gelu(*state, y.view, x.view));
        assert_true(tensor_close("gelu", &y, want, tolerance_for(acts[a])));
        OK(kernel_gelu(*state, x.view, x.view));
        assert_memory_equal(x.view.data, y.view.data, (size_t)x.n * dtype_bytes(acts[a]));
        free(want);
        tensor_free(&x);
        tensor_free(&y);
    }
}

/* Far arguments neither overflow nor lose the value; NaN is kept. The derivative is seen through a
 * product with the number one. */
static void gelu_extremes(void **state)
{
    float x[] = {-1e12f, -40.0f, -12.0f, 0.0f, 12.0f, 40.0f, 1e12f, NAN}, y[8], one[8], dx[8];
    float unit = 1.0f;
    for (int i = 0; i < 8; i++)
        one[i] = 1.0f;
    const struct view vx = view_make(x, DTYPE_F32, 8, 1), vy = view_make(y, DTYPE_F32, 8, 1),
                      vo = view_make(one, DTYPE_F32, 8, 1), vd = view_make(dx, DTYPE_F32, 8, 1);
    OK(kernel_gelu(*state, vy, vx));
    OK(kernel_matmul_gelu_grad_x(*state, vd, vo, view_make(&unit, DTYPE_F32, 1, 1), vx));
    for (int i = 0; i < 3; i++)
        assert_true(fabsf(y[i]) < 1e-6f && (i == 0 || fabsf(dx[i]) < 1e-6f));
    assert_true(y[3] == 0.0f && fabsf(dx[3] - 0.5f) < 1e-6f);
    assert_true(y[4] == 12.0f && y[5] == 40.0f && y[6] == 1e12f && dx[5] == 1.0f);
    assert_true(isnan(y[7]) && isnan(dx[7]));
}

static void swiglu(void **state)
{
    enum { R = 37, F = 45 };
    for (int a = 0; a < N_ACTS; a++) {
        struct tensor x = tensor_random(acts[a], R, 2 * F, 3.0, 1), y = tensor_zero(acts[a], R, F),
                      d = tensor_random(acts[a], R, F, 1.0, 2), dx = tensor_zero(acts[a], R, 2 * F);
        double *const want = doubles(y.n), *const grad = doubles(x.n);
        ref_swiglu(want, x.exact, R, F);
        ref_swiglu_grad(grad, d.exact, x.exact, R, F);
        OK(kernel_swiglu(*state, y.view, x.view));
        assert_true(tensor_close("swiglu", &y, want, tolerance_for(acts[a])));
        OK(kernel_swiglu_grad(*state, dx.view, d.view, x.view));
        assert_true(tensor_close("swiglu_grad", &dx, grad, tolerance_for(acts[a])));
        OK(kernel_swiglu_grad(*state, x.view, d.view, x.view));
        assert_memory_equal(x.view.data, dx.view.data, (size_t)x.n * dtype_bytes(acts[a]));
        free(want);
        free(grad);
        tensor_free(&x);
        tensor_free(&y);
        tensor_free(&d);
        tensor_free(&dx);
    }
}

/* Against complex multiplication; values stay, and turning back undoes it. */
static void rope(void **state)
{
    enum { B = 2, T = 9, NH = 4, NK = 2, HS = 6, W = (NH + 2 * NK) * HS, FIRST = 60000 };
    const struct attention_shape shape = {NH, NK};
    for (int a = 0; a < N_ACTS; a++) {
        const struct tolerance twice = {0.0, acts[a] == DTYPE_BF16 ? 1e-2 : 1e-6};
        struct tensor x = tensor_random(acts[a], B * T, W, 1.0, 1);
        const struct view qkv = tensor_view3(&x, B, T, W);
        double *const want = doubles(x.n);
        ref_rope(want, x.exact, B, T, NH + NK, NK, HS, FIRST, 10000.0);
        OK(kernel_rope(*state, qkv, shape, FIRST, 10000.0f, false));
        assert_true(tensor_close("rope", &x, want, tolerance_for(acts[a])));
        OK(kernel_rope(*state, qkv, shape, FIRST, 10000.0f, true));
        assert_true(tensor_close("rope and back", &x, x.exact, twice));
        free(want);
        tensor_free(&x);
    }
}

/* Round to nearest even by arithmetic on the 16-bit neighbours. */
static void convert(void **state)
{
    struct tensor x = tensor_random(DTYPE_F32, 3, 9001, 1.0, 1),
                  y = tensor_zero(DTYPE_BF16, 3, 9001), z = tensor_zero(DTYPE_F32, 3, 9001);
    float *const f = x.view.data;
    const uint32_t ties[] = {0x3f808000u, 0x3f818000u, 0x3f807fffu, 0x3f808001u, 0x7f7fffffu,
                             0x7f800000u, 0xff800000u, 0x80000000u, 0x7f800001u};
    const uint16_t rounded[] = {0x3f80, 0x3f82, 0x3f80, 0x3f81, 0x7f80,
                                0x7f80, 0xff80, 0x8000, 0x7fc0};
    memcpy(f, ties, sizeof ties);
    OK(kernel_convert(*state, y.view, x.view));
    assert_memory_equal(y.view.data, rounded, sizeof rounded);
    OK(kernel_convert(*state, z.view, y.view));
    for (int64_t i = 9; i < x.n; i++) {
        const double half_step = ldexp(1.0, ilogb((double)f[i]) - 8);
        assert_true(tensor_get(&z, i) == tensor_get(&y, i));
        assert_true(fabs(tensor_get(&y, i) - (double)f[i]) <= half_step);
    }
    tensor_free(&x);
    tensor_free(&y);
    tensor_free(&z);
}

/* ---- embedding ----------------------------------------------------------------------------- */

static void embed(void **state)
{
    enum { B = 3, T = 37, C = 48, VP = 64, CONTEXT = 40 };
    int32_t token[B * T];
    for (int i = 0; i < B * T; i++)
        token[i] = (i * i) % 11; /* many rows hit the same token */
    const struct view tokens = view_make(token, DTYPE_I32, B, T);
    struct tensor wte = tensor_random(DTYPE_F32, VP, C, 1.0, 1),
                  wpe = tensor_random(DTYPE_F32, CONTEXT, C, 1.0, 2),
                  y = tensor_zero(DTYPE_F32, B * T, C),
                  d = tensor_random(DTYPE_F32, B * T, C, 1.0, 3);
    double *const want = doubles(y.n), *const dwte = doubles(wte.n), *const dwpe = doubles(wpe.n);
    ref_embed(want, token, wte.exact, wpe.exact, B, T, C);
    ref_embed_grad(dwte, dwpe, d.exact, token, B, T, C, VP, CONTEXT);
    OK(kernel_embed(*state, y.view, tokens, wte.view, wpe.view));
    OK(kernel_embed_grad(*state, wte.view, wpe.view, d.view, tokens));
    assert_true(tensor_close("embed", &y, want, tolerance_for(DTYPE_F32)));
    assert_true(tensor_added("embed dwte", &wte, dwte, tolerance_for(DTYPE_F32)));
    assert_true(tensor_added("embed dwpe", &wpe, dwpe, tolerance_for(DTYPE_F32)));
    free(want);
    free(dwte);
    free(dwpe);
    tensor_free(&wte);
    tensor_free(&wpe);
    tensor_free(&y);
    tensor_free(&d);
}

/* ---- loss ---------------------------------------------------------------------------------- */

static void xent_case(struct device *dev, int64_t R, int64_t V, int64_t Vp, enum dtype act)
{
    struct tensor x = tensor_random(act, R, Vp, 4.0, 1), losses = tensor_zero(DTYPE_F32, 1, R);
    int32_t *const target = calloc((size_t)R, sizeof *target);
    double *const want = doubles(R), *const grad = doubles(x.n);
    for (int64_t i = 0; i < R; i++)
        target[i] = i % 5 == 3 ? -1 : (int32_t)(i * 7 % V);
    const struct view targets = view_make(target, DTYPE_I32, 1, R);
    ref_xent(want, grad, x.exact, target, R, V, Vp, 0.125);
    OK(kernel_xent(dev, losses.view, x.view, targets, (int)V, 0.125f, true));
    assert_true(tensor_close("xent", &losses, want, tolerance_for(DTYPE_F32)));
    assert_true(tensor_close("xent gradient", &x, grad, tolerance_for(act)));
    for (int64_t i = 0; i < R; i++)
        for (int64_t v = target[i] < 0 ? 0 : V; v < Vp; v++)
            assert_true(tensor_get(&x, i * Vp + v) == 0.0);
    free(want);
    free(grad);
    free(target);
    tensor_free(&x);
    tensor_free(&losses);
}

static void xent(void **state)
{
    for (int a = 0; a < N_ACTS; a++) {
        xent_case(*state, 1, 2, 2, acts[a]);
        xent_case(*state, 130, 65, 128, acts[a]);
        xent_case(*state, 64, 256, 256, acts[a]);
        xent_case(*state, 7, 5003, 5120, acts[a]);
    }
}

/* Without a gradient the losses are the same; far logits are exact; NaN and inf show. */
static void xent_extremes(void **state)
{
    float x[4][4] = {{1000, 0, -1000, 0}, {-1e30f, 1e30f, 0, 0}, {0, NAN, 0, 0}, {INFINITY, 0, 0}};
    float loss[4];
    int32_t target[4] = {2, 1, 0, 1};
    OK(kernel_xent(*state, view_make(loss, DTYPE_F32, 1, 4), view_make(x, DTYPE_F32, 4, 4),
                   view_make(target, DTYPE_I32, 1, 4), 4, 1.0f, false));
    assert_true(loss[0] == 2000.0f && loss[1] == 0.0f);
    assert_false(isfinite(loss[2]));
    assert_false(isfinite(loss[3]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul), cmocka_unit_test(matmul_large),  cmocka_unit_test(norm),
        cmocka_unit_test(gelu),   cmocka_unit_test(gelu_extremes), cmocka_unit_test(swiglu),
        cmocka_unit_test(rope),   cmocka_unit_test(convert),       cmocka_unit_test(embed),
        cmocka_unit_test(xent),   cmocka_unit_test(xent_extremes),
    };
    device_or_skip();
    return cmocka_run_group_tests(tests, device_setup, device_teardown);
}
