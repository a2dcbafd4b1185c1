/* The references' gradients against finite differences of the references: whatever the kernels are
 * compared with must itself be right. */
#include <math.h>
#include <stdlib.h>
#include "kernels/fixture.h"
#include "kernels/reference.h"
#include "kernels/tensor.h"

/* A function of one array (x) to another (out), everything else fixed. */
struct function {
    void (*run)(double *out, const double *x, const struct function *f);
    int64_t n_x, n_out;
    const double *a, *b, *w; /* what else it needs */
    const int32_t *index;
};

/* sum of out * weight, the scalar whose gradient backward passes compute. */
static double objective(const struct function *f, const double *x, const double *weight)
{
    double *const out = doubles(f->n_out), sum = 0.0;
    f->run(out, x, f);
    for (int64_t i = 0; i < f->n_out; i++)
        sum += out[i] * weight[i];
    free(out);
    return sum;
}

static void check_gradient(const struct function *f, double *x, const double *weight,
                           const double *gradient)
{
    const double h = 1e-5;
    for (int64_t i = 0; i < f->n_x; i++) {
        const double kept = x[i];
        x[i] = kept + h;
        const double up = objective(f, x, weight);
        x[i] = kept - h;
        const double down = objective(f, x, weight);
        x[i] = kept;
        assert_true(fabs((up - down) / (2.0 * h) - gradient[i]) < 1e-7);
    }
}

enum { R = 5, C = 6, O = 4 };

static void run_matmul(double *out, const double *x, const struct function *f)
{
    ref_matmul(out, x, f->w, f->b, R, C, O);
}

static void run_matmul_w(double *out, const double *w, const struct function *f)
{
    ref_matmul(out, f->a, w, f->b, R, C, O);
}

static void run_matmul_bias(double *out, const double *b, const struct function *f)
{
    ref_matmul(out, f->a, f->w, b, R, C, O);
}

static void matmul(void **state)
{
    (void)state;
    struct tensor x = tensor_random(DTYPE_F32, R, C, 1.0, 1),
                  w = tensor_random(DTYPE_F32, O, C, 1.0, 2),
                  b = tensor_random(DTYPE_F32, 1, O, 1.0, 3),
                  d = tensor_random(DTYPE_F32, R, O, 1.0, 4);
    double *const dx = doubles(x.n), *const dw = doubles(w.n), *const db = doubles(b.n);
    ref_matmul_grad_x(dx, d.exact, w.exact, R, C, O);
    ref_matmul_grad_w(dw, db, d.exact, x.exact, R, C, O);
    const struct function by_x = {run_matmul, x.n, d.n, x.exact, b.exact, w.exact, NULL};
    const struct function by_w = {run_matmul_w, w.n, d.n, x.exact, b.exact, w.exact, NULL};
    const struct function by_b = {run_matmul_bias, b.n, d.n, x.exact, b.exact, w.exact, NULL};
    check_gradient(&by_x, x.exact, d.exact, dx);
    check_gradient(&by_w, w.exact, d.exact, dw);
    check_gradient(&by_b, b.exact, d.exact, db);
    free(dx);
    free(dw);
    free(db);
    tensor_free(&x);
    tensor_free(&w);
    tensor_free(&b);
    tensor_free(&d);
}

static const double norm_eps = 1e-5;

static void run_norm(double *out, const double *x, const struct function *f)
{
    double mean[R], rstd[R];
    ref_layernorm(out, mean, rstd, x, f->w, f->b, R, C, norm_eps);
}

static void run_norm_gain(double *out, const double *gain, const struct function *f)
{
    double mean[R], rstd[R];
    ref_layernorm(out, mean, rstd, f->a, gain, f->b, R, C, norm_eps);
}

static void run_norm_bias(double *out, const double *bias, const struct function *f)
{
    double mean[R], rstd[R];
    ref_layernorm(out, mean, rstd, f->a, f->w, bias, R, C, norm_eps);
}

static void layernorm(void **state)
{
    (void)state;
    struct tensor x = tensor_random(DTYPE_F32, R, C, 1.0, 1),
                  g = tensor_random(DTYPE_F32, 1, C, 1.0, 2),
                  b = tensor_random(DTYPE_F32, 1, C, 1.0, 3),
                  d = tensor_random(DTYPE_F32, R, C, 1.0, 4);
    double *const dx = doubles(x.n), *const dg = doubles(C), *const db = doubles(C);
    ref_layernorm_grad(dx, dg, db, d.exact, x.exact, g.exact, R, C, norm_eps);
    const struct function by_x = {run_norm, x.n, d.n, x.exact, b.exact, g.exact, NULL};
    const struct function by_g = {run_norm_gain, C, d.n, x.exact, b.exact, g.exact, NULL};
    const struct function by_b = {run_norm_bias, C, d.n, x.exact, b.exact, g.exact, NULL};
    check_gradient(&by_x, x.exact, d.exact, dx);
    check_gradient(&by_g, g.exact, d.exact, dg);
    check_gradient(&by_b, b.exact, d.exact, db);
    free(dx);
    free(dg);
    free(db);
    tensor_free(&x);
    tensor_free(&g);
    tensor_free(&b);
    tensor_free(&d);
}

static void run_gelu(double *out, const double *x, const struct function *f)
{
    ref_gelu(out, x, f->n_x);
}

static void gelu(void **state)
{
    (void)state;
    struct tensor x = tensor_random(DTYPE_F32, 1, 50, 2.0, 1),
                  d = tensor_random(DTYPE_F32, 1, 50, 1.0, 2);
    double *const dx = doubles(x.n);
    ref_gelu_grad(dx, d.exact, x.exact, x.n);
    const struct function f = {run_gelu, x.n, x.n, NULL, NULL, NULL, NULL};
    check_gradient(&f, x.exact, d.exact, dx);
    free(dx);
    tensor_free(&x);
    tensor_free(&d);
}

enum { B = 2, T = 5, WIDTH = 6, HEADS = 2 };

static void run_attention(double *out, const double *qkv, const struct function *f)
{
    (void)f;
    double stats[B * HEADS * T];
    ref_attention(out, stats, qkv, B, T, WIDTH, HEADS);
}

static void attention(void **state)
{
    (void)state;
    struct tensor qkv = tensor_random(DTYPE_F32, B * T, 3 * WIDTH, 1.0, 1),
                  d = tensor_random(DTYPE_F32, B * T, WIDTH, 1.0, 2);
    double *const dqkv = doubles(qkv.n);
    ref_attention_grad(dqkv, d.exact, qkv.exact, B, T, WIDTH, HEADS);
    const struct function f = {run_attention, qkv.n, d.n, NULL, NULL, NULL, NULL};
    check_gradient(&f, qkv.exact, d.exact, dqkv);
    free(dqkv);
    tensor_free(&qkv);
    tensor_free(&d);
}

enum { V = 7, VP = 9 };

static void run_xent(double *losses, const double *logits, const struct function *f)
{
    double unused[R * VP];
    ref_xent(losses, unused, logits, f->index, R, V, VP, 1.0);
}

static void xent(void **state)
{
    (void)state;
    const int32_t targets[R] = {3, -1, 0, 6, 2};
    struct tensor x = tensor_random(DTYPE_F32, R, VP, 2.0, 1);
    double losses[R], scales[R];
    double *const dx = doubles(x.n);
    ref_xent(losses, dx, x.exact, targets, R, V, VP, 0.25);
    for (int i = 0; i < R; i++)
        scales[i] = 0.25;
    const struct function f = {run_xent, x.n, R, NULL, NULL, NULL, targets};
    check_gradient(&f, x.exact, scales, dx);
    free(dx);
    tensor_free(&x);
}

static void run_embed_tokens(double *out, const double *wte, const struct function *f)
{
    ref_embed(out, f->index, wte, f->b, B, T, C);
}

static void run_embed_positions(double *out, const double *wpe, const struct function *f)
{
    ref_embed(out, f->index, f->a, wpe, B, T, C);
}

static void embed(void **state)
{
    (void)state;
    const int32_t tokens[B * T] = {1, 0, 1, 3, 2, 1, 1, 6, 0, 5};
    struct tensor wte = tensor_random(DTYPE_F32, V, C, 1.0, 1),
                  wpe = tensor_random(DTYPE_F32, T + 1, C, 1.0, 2),
                  d = tensor_random(DTYPE_F32, B * T, C, 1.0, 3);
    double *const dwte = doubles(wte.n), *const dwpe = doubles(wpe.n);
    ref_embed_grad(dwte, dwpe, d.exact, tokens, B, T, C, V, T + 1);
    const struct function by_t = {run_embed_tokens, wte.n,     d.n,   wte.exact,
                                  wpe.exact,        wte.exact, tokens};
    const struct function by_p = {run_embed_positions, wpe.n,     d.n,   wte.exact,
                                  wpe.exact,           wte.exact, tokens};
    check_gradient(&by_t, wte.exact, d.exact, dwte);
    check_gradient(&by_p, wpe.exact, d.exact, dwpe);
    free(dwte);
    free(dwpe);
    tensor_free(&wte);
    tensor_free(&wpe);
    tensor_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul),    cmocka_unit_test(layernorm), cmocka_unit_test(gelu),
        cmocka_unit_test(attention), cmocka_unit_test(xent),      cmocka_unit_test(embed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
