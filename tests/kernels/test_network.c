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
                  b = tensor_random(DTYPE_F32, 1, O, 1.0, 3), y = tensor_zero(out, R, O);
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
    if (out == DTYPE_F32) {
        OK(kernel_matmul_grad_x(dev, dx.view, d.view, w.view, true));
        assert_true(tensor_added("grad_x added", &dx, want_x, tolerance_for(DTYPE_F32)));
    }
    OK(kernel_matmul_grad_x(dev, dx.view, d.view, w.view, false));
    assert_true(tensor_close("grad_x", &dx, want_x, tolerance_for(out)));
    OK(kernel_matmul_grad_w(dev, dw.view, db.view, d.view, x.view));
    assert_true(tensor_added("grad_w", &dw, want_w, tolerance_for(DTYPE_F32)));
    assert_true(tensor_added("grad_bias", &db, want_b, tolerance_for(DTYPE_F32)));
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

static void matmul(void **state)
{
    for (int s = 0; s < N_MATMUL; s++) {
        matmul_forward(*state, matmul_shapes[s], DTYPE_F32, DTYPE_F32);
        matmul_forward(*state, matmul_shapes[s], DTYPE_BF16, DTYPE_F32);
        matmul_forward(*state, matmul_shapes[s], DTYPE_BF16, DTYPE_BF16);
        matmul_backward(*state, matmul_shapes[s], DTYPE_F32, DTYPE_F32);
        matmul_backward(*state, matmul_shapes[s], DTYPE_BF16, DTYPE_F32);
        matmul_backward(*state, matmul_shapes[s], DTYPE_BF16, DTYPE_BF16);
    }
}

/* ---- normalisation ------------------------------------------------------------------------- */

static void layernorm_case(struct device *dev, int64_t R, int64_t C, enum dtype act)
{
    struct tensor x = tensor_random(DTYPE_F32, R, C, 3.0, 1),
                  gain = tensor_random(DTYPE_F32, 1, C, 1.0, 2),
                  bias = tensor_random(DTYPE_F32, 1, C, 1.0, 3), y = tensor_zero(act, R, C),
                  mean = tensor_zero(DTYPE_F32, 1, R), rstd = tensor_zero(DTYPE_F32, 1, R),
                  d = tensor_random(act, R, C, 1.0, 4), dx = tensor_random(DTYPE_F32, R, C, 1.0, 5),
                  dgain = tensor_random(DTYPE_F32, 1, C, 1.0, 6),
                  dbias = tensor_random(DTYPE_F32, 1, C, 1.0, 7);
    double *const out = doubles(x.n), *const m = doubles(R), *const r = doubles(R),
                  *const gx = doubles(x.n), *const gg = doubles(C), *const gb = doubles(C);
    const struct tolerance f32 = tolerance_for(DTYPE_F32);
    for (int64_t i = 0; i < x.n; i++) { /* a mean that is not small against the deviation */
        ((float *)x.view.data)[i] += 5.0f;
        x.exact[i] = (double)((float *)x.view.data)[i];
    }
    OK(kernel_layernorm(dev, y.view, mean.view, rstd.view, x.view, gain.view, bias.view, 1e-5f));
    OK(kernel_layernorm_grad(dev, dx.view, dgain.view, dbias.view, d.view, x.view, mean.view,
                             rstd.view, gain.view));
    ref_layernorm(out, m, r, x.exact, gain.exact, bias.exact, R, C, 1e-5);
    ref_layernorm_grad(gx, gg, gb, d.exact, x.exact, gain.exact, R, C, 1e-5);
    assert_true(tensor_close("layernorm", &y, out, tolerance_for(act)));
    assert_true(tensor_close("layernorm mean", &mean, m, f32));
    assert_true(tensor_close("layernorm rstd", &rstd, r, f32));
    assert_true(tensor_added("layernorm dx", &dx, gx, f32));
    assert_true(tensor_added("layernorm dgain", &dgain, gg, f32));
    assert_true(tensor_added("layernorm dbias", &dbias, gb, f32));
    struct tensor *const all[] = {&x, &gain, &bias, &y, &mean, &rstd, &d, &dx, &dgain, &dbias};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        tensor_free(all[i]);
    double *const arrays[] = {out, m, r, gx, gg, gb};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        free(arrays[i]);
}

static void layernorm(void **state)
{
    const int64_t shapes[][2] = {{1, 48}, {3, 33}, {130, 128}, {700, 48}, {33, 769}};
    for (int a = 0; a < N_ACTS; a++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            layernorm_case(*state, shapes[s][0], shapes[s][1], acts[a]);
}

/* ---- element by element -------------------------------------------------------------------- */

static void gelu(void **state)
{
    for (int a = 0; a < N_ACTS; a++) {
        struct tensor x = tensor_random(acts[a], 37, 1000, 3.0, 1),
                      y = tensor_zero(acts[a], 37, 1000),
                      d = tensor_random(acts[a], 37, 1000, 1.0, 2);
        double *const want = doubles(x.n), *const grad = doubles(x.n);
        ref_gelu(want, x.exact, x.n);
        ref_gelu_grad(grad, d.exact, x.exact, x.n);
        OK(kernel_gelu(*state, y.view, x.view));
        assert_true(tensor_close("gelu", &y, want, tolerance_for(acts[a])));
        OK(kernel_gelu_grad(*state, y.view, d.view, x.view));
        assert_true(tensor_close("gelu_grad", &y, grad, tolerance_for(acts[a])));
        OK(kernel_gelu_grad(*state, d.view, d.view, x.view));
        assert_memory_equal(d.view.data, y.view.data, (size_t)x.n * dtype_bytes(acts[a]));
        free(want);
        free(grad);
        tensor_free(&x);
        tensor_free(&y);
        tensor_free(&d);
    }
}

/* Far arguments neither overflow nor lose the value; NaN is kept. */
static void gelu_extremes(void **state)
{
    float x[] = {-1e30f, -40.0f, -12.0f, 0.0f, 12.0f, 40.0f, 1e30f, NAN}, y[8], one[8], dx[8];
    for (int i = 0; i < 8; i++)
        one[i] = 1.0f;
    const struct view vx = view_make(x, DTYPE_F32, 1, 8), vy = view_make(y, DTYPE_F32, 1, 8),
                      vo = view_make(one, DTYPE_F32, 1, 8), vd = view_make(dx, DTYPE_F32, 1, 8);
    OK(kernel_gelu(*state, vy, vx));
    OK(kernel_gelu_grad(*state, vd, vo, vx));
    for (int i = 0; i < 3; i++)
        assert_true(fabsf(y[i]) < 1e-6f && (i == 0 || fabsf(dx[i]) < 1e-6f));
    assert_true(y[3] == 0.0f && dx[3] == 0.5f);
    assert_true(y[4] == 12.0f && y[5] == 40.0f && y[6] == 1e30f && dx[5] == 1.0f);
    assert_true(isnan(y[7]) && isnan(dx[7]));
}

static void add(void **state)
{
    for (int a = 0; a < N_ACTS; a++) {
        struct tensor x = tensor_random(DTYPE_F32, 5, 7001, 1.0, 1),
                      y = tensor_random(acts[a], 5, 7001, 1.0, 2);
        OK(kernel_add(*state, x.view, x.view, y.view));
        for (int64_t i = 0; i < x.n; i++)
            assert_true(tensor_get(&x, i) == (double)((float)x.exact[i] + (float)y.exact[i]));
        tensor_free(&x);
        tensor_free(&y);
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
        cmocka_unit_test(matmul), cmocka_unit_test(layernorm),     cmocka_unit_test(gelu),
        cmocka_unit_test(add),    cmocka_unit_test(gelu_extremes), cmocka_unit_test(convert),
        cmocka_unit_test(embed),  cmocka_unit_test(xent),          cmocka_unit_test(xent_extremes),
    };
    return cmocka_run_group_tests(tests, device_setup, device_teardown);
}
