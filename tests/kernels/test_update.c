/* Sums, AdamW, axpby, device memory; and that every kernel gives the same bits when repeated. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "kernels/fixture.h"
#include "kernels/reference.h"
#include "kernels/tensor.h"

static void sums(void **state)
{
    const int64_t counts[] = {0, 1, 33, 100003};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct tensor x = tensor_random(DTYPE_F32, 1, counts[i], 1.0, 1);
        double sum = 0.0, squares = 0.0, got, again;
        for (int64_t k = 0; k < x.n; k++) {
            sum += x.exact[k];
            squares += x.exact[k] * x.exact[k];
        }
        OK(kernel_sum(*state, &got, x.view.data, x.n));
        assert_true(fabs(got - sum) <= 1e-9);
        OK(kernel_sumsq(*state, &got, x.view.data, x.n));
        assert_true(fabs(got - squares) <= 1e-12 * squares);
        OK(kernel_sumsq(*state, &again, x.view.data, x.n));
        assert_true(got == again);
        tensor_free(&x);
    }
}

static void sums_show_nan(void **state)
{
    struct tensor x = tensor_random(DTYPE_F32, 1, 50000, 1.0, 1);
    double got;
    ((float *)x.view.data)[49999] = NAN;
    OK(kernel_sumsq(*state, &got, x.view.data, x.n));
    assert_true(isnan(got));
    tensor_free(&x);
}

/* Ten steps, so that errors would add up; odd length. */
static void adamw(void **state)
{
    enum { N = 40007 };
    struct tensor w = tensor_random(DTYPE_F32, 1, N, 0.02, 1), m = tensor_zero(DTYPE_F32, 1, N),
                  v = tensor_zero(DTYPE_F32, 1, N), w16 = tensor_zero(DTYPE_BF16, 1, N),
                  rounded = tensor_zero(DTYPE_BF16, 1, N);
    const struct tolerance tol = {2e-6, 1e-6};
    for (int step = 1; step <= 10; step++) {
        struct tensor g = tensor_random(DTYPE_F32, 1, N, 0.1, (uint32_t)(10 + step));
        const struct adamw_args a = {1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, step, NULL};
        OK(kernel_adamw(*state, w.view.data, w16.view.data, m.view.data, v.view.data, g.view.data,
                        N, a));
        ref_adamw(w.exact, m.exact, v.exact, g.exact, N, (double)a.lr, (double)a.beta1,
                  (double)a.beta2, (double)a.eps, (double)a.decay, (double)a.grad_scale, step);
        tensor_free(&g);
    }
    assert_true(tensor_close("adamw w", &w, w.exact, tol));
    assert_true(tensor_close("adamw m", &m, m.exact, tol));
    assert_true(tensor_close("adamw v", &v, v.exact, tol));
    OK(kernel_convert(*state, rounded.view, w.view));
    assert_memory_equal(w16.view.data, rounded.view.data, N * 2);
    tensor_free(&w);
    tensor_free(&m);
    tensor_free(&v);
    tensor_free(&w16);
    tensor_free(&rounded);
}

/* No gradient, no moments, no weight: padding stays exactly zero. */
static void adamw_keeps_zeros(void **state)
{
    float w[64] = {0}, m[64] = {0}, v[64] = {0}, g[64] = {0}, zero[64] = {0};
    const struct adamw_args a = {1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 1.0f, 1, NULL};
    OK(kernel_adamw(*state, w, NULL, m, v, g, 64, a));
    assert_memory_equal(w, zero, sizeof w);
    assert_memory_equal(m, zero, sizeof m);
    assert_memory_equal(v, zero, sizeof v);
}

/* A NAN as scale leaves everything as it is; any other does what the same grad_scale does. */
static void adamw_by_figures(void **state)
{
    enum { N = 20011 };
    const float scales[] = {0.25f, NAN};
    for (int i = 0; i < 2; i++) {
        struct tensor w[2], m[2], v[2], w16[2];
        struct tensor g = tensor_random(DTYPE_F32, 1, N, 0.1, 3);
        const struct figures figures = {.scale = scales[i]};
        struct adamw_args a = {1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, scales[i], 1, NULL};
        for (int k = 0; k < 2; k++) {
            w[k] = tensor_random(DTYPE_F32, 1, N, 0.02, 1);
            m[k] = tensor_random(DTYPE_F32, 1, N, 0.02, 2);
            v[k] = tensor_zero(DTYPE_F32, 1, N);
            w16[k] = tensor_zero(DTYPE_BF16, 1, N);
            if (k == 1) a.grad_scale = 7.0f, a.figures = &figures;
            if (k == 0 && isnan(scales[i])) continue;
            OK(kernel_adamw(*state, w[k].view.data, w16[k].view.data, m[k].view.data,
                            v[k].view.data, g.view.data, N, a));
        }
        assert_memory_equal(w[0].view.data, w[1].view.data, N * sizeof(float));
        assert_memory_equal(m[0].view.data, m[1].view.data, N * sizeof(float));
        assert_memory_equal(v[0].view.data, v[1].view.data, N * sizeof(float));
        assert_memory_equal(w16[0].view.data, w16[1].view.data, N * 2);
        for (int k = 0; k < 2; k++) {
            tensor_free(&w[k]);
            tensor_free(&m[k]);
            tensor_free(&v[k]);
            tensor_free(&w16[k]);
        }
        tensor_free(&g);
    }
}

/* The loss adds up over batches; the scale is what clips the norm, or says that there is none. */
static void figures(void **state)
{
    enum { N = 40007 };
    struct tensor a = tensor_random(DTYPE_F32, 1, N, 1.0, 1),
                  b = tensor_random(DTYPE_F32, 1, N, 1.0, 2);
    struct figures f = {.loss = NAN};
    double sum[2] = {0}, squares = 0, got;
    for (int64_t i = 0; i < N; i++) {
        sum[0] += a.exact[i];
        sum[1] += b.exact[i];
        squares += b.exact[i] * b.exact[i];
    }
    OK(kernel_figures_loss(*state, &f, a.view.data, N, 7.0, false));
    assert_true(fabs(f.loss - sum[0] / 7.0) <= 1e-9);
    OK(kernel_figures_loss(*state, &f, b.view.data, N, 9.0, true));
    assert_true(fabs(f.loss - (sum[0] / 7.0 + sum[1] / 9.0)) <= 1e-9);
    OK(kernel_sumsq(*state, &got, b.view.data, N));
    const double clips[] = {0.0, 1.5, 1e6}, norm = sqrt(squares);
    const double scales[] = {1.0, 1.5 / norm, 1.0};
    for (int i = 0; i < 3; i++) {
        OK(kernel_figures_norm(*state, &f, b.view.data, N, clips[i]));
        assert_true(f.sumsq == got);
        assert_true(fabs((double)f.scale - scales[i]) <= 1e-6 * scales[i]);
    }
    f.loss = INFINITY;
    OK(kernel_figures_norm(*state, &f, b.view.data, N, 1.0));
    assert_true(isnan(f.scale) && f.sumsq == got);
    f.loss = 1.0;
    ((float *)b.view.data)[N - 1] = INFINITY;
    OK(kernel_figures_norm(*state, &f, b.view.data, N, 0.0));
    assert_true(isnan(f.scale) && isinf(f.sumsq));
    tensor_free(&a);
    tensor_free(&b);
}

static void axpby(void **state)
{
    enum { N = 20011 };
    struct tensor x = tensor_random(DTYPE_F32, 1, N, 1.0, 1),
                  y = tensor_random(DTYPE_F32, 1, N, 1.0, 2);
    double *const want = doubles(N);
    for (int i = 0; i < N; i++)
        want[i] = 0.25 * x.exact[i] + 0.75 * y.exact[i];
    OK(kernel_axpby(*state, y.view.data, x.view.data, N, 0.25f, 0.75f));
    assert_true(tensor_close("axpby", &y, want, tolerance_for(DTYPE_F32)));
    ((float *)y.view.data)[5] = NAN; /* with beta 0, out is not read */
    OK(kernel_axpby(*state, y.view.data, x.view.data, N, 1.0f, 0.0f));
    assert_memory_equal(y.view.data, x.view.data, N * sizeof(float));
    free(want);
    tensor_free(&x);
    tensor_free(&y);
}

static void memory(void **state)
{
    enum { N = 300001 };
    struct tensor x = tensor_random(DTYPE_F32, 1, N, 1.0, 1), y = tensor_zero(DTYPE_F32, 1, N),
                  zero = tensor_zero(DTYPE_F32, 1, N);
    float *on_device = NULL, *copy = NULL;
    OK(device_alloc(*state, N * sizeof(float), "test", &on_device));
    OK(device_alloc(*state, N * sizeof(float), "test", &copy));
    assert_int_equal((uintptr_t)on_device % 64, 0);
    OK(device_download(*state, y.view.data, on_device, N * sizeof(float)));
    assert_memory_equal(y.view.data, zero.view.data, N * sizeof(float));
    OK(device_upload(*state, on_device, x.view.data, N * sizeof(float)));
    OK(device_copy(*state, copy, on_device, N * sizeof(float)));
    OK(device_download(*state, y.view.data, copy, N * sizeof(float)));
    assert_memory_equal(y.view.data, x.view.data, N * sizeof(float));
    OK(device_zero(*state, copy, N * sizeof(float)));
    OK(device_download(*state, y.view.data, copy, N * sizeof(float)));
    assert_memory_equal(y.view.data, zero.view.data, N * sizeof(float));
    OK(device_sync(*state));
    device_free(*state, on_device);
    device_free(*state, copy);
    device_free(*state, NULL);
    tensor_free(&x);
    tensor_free(&y);
    tensor_free(&zero);
}

/* Products, norms and column sums, twice: the same bits. */
static void wait_for(struct device *dev, int slot)
{
    bool done = false;
    while (!done)
        OK(device_slot_done(dev, slot, &done));
}

/* Out to pinned memory and back beside computing; the CPU does so at once. */
static void beside(void **state)
{
    enum { N = 1000, SLOT = 3 };
    struct device *const dev = *state;
    float *there = NULL, *pinned = NULL;
    bool done = false;
    OK(device_alloc(dev, N * sizeof *there, "a slab", &there));
    OK(device_alloc_pinned(dev, N * sizeof *pinned, "a slab's copy", &pinned));
    for (int i = 0; i < N; i++)
        pinned[i] = (float)i;
    OK(device_slot_done(dev, SLOT, &done));
    assert_true(done); /* never used */
    OK(device_beside_begin(dev));
    OK(device_store(dev, there, pinned, N * sizeof *there, SLOT));
    wait_for(dev, SLOT);
    memset(pinned, 0, N * sizeof *pinned);
    OK(device_fetch(dev, pinned, there, N * sizeof *there, SLOT + 1));
    OK(device_note(dev, SLOT));
    OK(device_beside_end(dev));
    wait_for(dev, SLOT);
    wait_for(dev, SLOT + 1);
    for (int i = 0; i < N; i++)
        assert_true(pinned[i] == (float)i);
    assert_true((device_beside_stream(dev) == NULL) == (device_identity(dev)[0] == 0));
    device_free_pinned(dev, pinned);
    device_free_pinned(dev, NULL);
    device_free(dev, there);
}

static void listed(void **state)
{
    char id[2][DEVICE_ID] = {"x", "x"};
    int count = -1;
    OK(device_list("cpu", id, 2, &count));
    assert_int_equal(count, 1);
    assert_string_equal(id[0], "");
    assert_true(strcmp(device_name(*state), "cpu") != 0 || device_identity(*state)[0] == 0);
    OK(device_list("auto", id, 0, &count));
    assert_int_equal(count, 0);
    if (strcmp(device_name(*state), "cpu") != 0) {
        OK(device_list("cuda", id, 2, &count));
        assert_true(count >= 1 && strcmp(id[0], device_identity(*state)) == 0);
    }
    assert_int_equal(device_list("abacus", id, 2, &count), SHOAL_ENOTSUP);
    assert_int_equal(count, 0);
}

static void repeatable(void **state)
{
    enum { R = 300, C = 96, O = 160 };
    const struct view none = {NULL, {0, 0, 0, 0}, DTYPE_F32};
    struct tensor dw[2], db[2], dg[2], dx[2];
    struct tensor x = tensor_random(DTYPE_F32, R, C, 1.0, 1),
                  d = tensor_random(DTYPE_F32, R, O, 1.0, 2),
                  g = tensor_random(DTYPE_F32, 1, C, 1.0, 3), y = tensor_zero(DTYPE_F32, R, C),
                  mean = tensor_zero(DTYPE_F32, 1, R), rstd = tensor_zero(DTYPE_F32, 1, R);
    OK(kernel_norm(*state, y.view, mean.view, rstd.view, x.view, g.view, g.view, 1e-5f));
    for (int i = 0; i < 2; i++) {
        dw[i] = tensor_zero(DTYPE_F32, O, C);
        db[i] = tensor_zero(DTYPE_F32, 1, O);
        dg[i] = tensor_zero(DTYPE_F32, 1, C);
        dx[i] = tensor_zero(DTYPE_F32, R, C);
        OK(kernel_matmul_grad_w(*state, dw[i].view, db[i].view, d.view, x.view, false));
        OK(kernel_norm_grad(*state, dx[i].view, none, dg[i].view, dg[i].view, y.view, x.view,
                            mean.view, rstd.view, g.view));
    }
    assert_memory_equal(dw[0].view.data, dw[1].view.data, O * C * sizeof(float));
    assert_memory_equal(db[0].view.data, db[1].view.data, O * sizeof(float));
    assert_memory_equal(dg[0].view.data, dg[1].view.data, C * sizeof(float));
    assert_memory_equal(dx[0].view.data, dx[1].view.data, R * C * sizeof(float));
    struct tensor *const all[] = {&dw[0], &dw[1], &db[0], &db[1], &dg[0], &dg[1], &dx[0],
                                  &dx[1], &x,     &d,     &g,     &y,     &mean,  &rstd};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        tensor_free(all[i]);
}

/* Mistakes of a caller are errors that name the operation and the argument. */
static void mistakes(void **state)
{
    float a[64] = {0}, b[64] = {0};
    struct device *none = NULL;
    const struct view x = view_make(a, DTYPE_F32, 8, 8), wrong = view_make(b, DTYPE_F32, 4, 8),
                      bf16 = view_make(b, DTYPE_BF16, 8, 8),
                      missing = {NULL, {8, 8, 1, 1}, DTYPE_F32};
    const struct adamw_args adam = {0};
    const struct swarm_args swarm = {.cognitive = 1.0f};
    const struct rng_key key = {0};
    assert_int_equal(kernel_matmul(*state, x, x, wrong, missing), SHOAL_EARG);
    assert_non_null(strstr(shoal_failure_text(), "matmul: argument out"));
    assert_int_equal(kernel_matmul(*state, x, x, bf16, missing), SHOAL_EARG);
    assert_non_null(strstr(shoal_failure_text(), "argument w is bf16, expected f32"));
    assert_int_equal(kernel_matmul(*state, bf16, x, x, missing), SHOAL_EARG);
    assert_int_equal(kernel_matmul_grad_x(*state, x, bf16, x), SHOAL_EARG);
    assert_int_equal(kernel_gelu(*state, x, missing), SHOAL_EARG);
    assert_int_equal(kernel_gelu(*state, wrong, x), SHOAL_EARG);
    assert_int_equal(kernel_adamw(*state, a, NULL, a, a, a, 8, adam), SHOAL_EARG);
    assert_int_equal(kernel_swarm(*state, a, NULL, NULL, b, 8, 8, swarm), SHOAL_EARG);
    assert_int_equal(kernel_crossover(*state, a, b, 8, 8, 0.5f, 0, key), SHOAL_EARG);
    assert_int_equal(device_open("abacus", 0, 1, &none), SHOAL_ENOTSUP);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums),
        cmocka_unit_test(sums_show_nan),
        cmocka_unit_test(adamw),
        cmocka_unit_test(adamw_keeps_zeros),
        cmocka_unit_test(adamw_by_figures),
        cmocka_unit_test(figures),
        cmocka_unit_test(axpby),
        cmocka_unit_test(memory),
        cmocka_unit_test(beside),
        cmocka_unit_test(listed),
        cmocka_unit_test(repeatable),
        cmocka_unit_test(mistakes),
    };
    device_or_skip();
    return cmocka_run_group_tests(tests, device_setup, device_teardown);
}
