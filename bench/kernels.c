/* bench/kernels - how fast each kernel is, beside what the machine can do.
 *
 *   build/bench/bench_kernels [rows] [width] [context] [threads] [device]
 *                                            (2048 256 256, all cores, cpu; on a GPU 4096 4096
 * 1024)
 *
 * Every kernel is first compared with the double-precision reference at the same width and a few
 * rows; one that disagrees stops the program untimed. Times are the best of many, since other work
 * only adds. Products are compared with a product of 768 x 768 x 768 (the width, on a GPU) in the
 * same type; the rest with a plain copy of the size of an activation. Both are measured in the same
 * run. Bytes are what must be read and written once; operations of causal attention count half of T
 * x T.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "config/config.h"
#include "kernels/kernels.h"
#include "kernels/mirror.h"
#include "kernels/reference.h"
#include "kernels/tensor.h"

enum { VOCAB = 250, PADDED = 256 };

static const struct view none = {NULL, {0, 0, 0, 0}, DTYPE_F32};

/* One layer's worth of tensors. R = B T rows, width C, 4C hidden. */
struct problem {
    struct device *dev;
    enum dtype act;
    int64_t B, T, C;
    int heads;
    struct tensor x, w, bias, hidden, dhidden, dx, dw, dbias; /* (R, C), (4C, C), (4C), (R, 4C) */
    struct tensor norm, mean, rstd, gain;                     /* norm (R, C) act */
    struct tensor residual, dresidual;                        /* (R, C) f32 */
    struct tensor qkv, out, stats, dout, dqkv;
    struct tensor logits, losses;
    struct tensor weights, m, v, grad; /* (4C, C) f32 */
    int32_t *targets;                  /* owned */
};

/* Memory of a GPU is filled fast and is not kept in double precision: it is only timed. */
static struct tensor make(struct device *dev, enum dtype type, int64_t d0, int64_t d1, double scale,
                          uint32_t seed)
{
    if (device_is_host(dev)) return tensor_random(type, d0, d1, scale, seed);
    const size_t bytes = (size_t)(d0 * d1) * dtype_bytes(type);
    struct tensor t = {.view = view_make(NULL, type, d0, d1), .n = d0 * d1};
    char *const host = malloc(bytes);
    for (int64_t i = 0; host && i < t.n; i++) {
        const float f =
            (float)(((double)((uint32_t)(i + seed) * 2654435761u) * 0x1p-31 - 1) * scale);
        memcpy(host + i * (int64_t)dtype_bytes(type),
               (const char *)&f + (type == DTYPE_BF16 ? 2 : 0), dtype_bytes(type));
    }
    if (!host || device_alloc(dev, bytes, "a tensor", &t.view.data) != SHOAL_OK ||
        device_upload(dev, t.view.data, host, bytes) != SHOAL_OK) {
        (void)fprintf(stderr, "%s\n", shoal_failure_text());
        exit(1);
    }
    free(host);
    return t;
}

static void unmake(struct device *dev, struct tensor *t)
{
    if (device_is_host(dev)) {
        tensor_free(t);
    } else {
        device_free(dev, t->view.data);
    }
}

static struct problem problem_make(struct device *dev, enum dtype act, int64_t B, int64_t T,
                                   int64_t C)
{
    const int64_t R = B * T, H = 4 * C;
    const int heads = C % 64 == 0 ? (int)(C / 64) : 1;
    struct problem p = {.dev = dev, .act = act, .B = B, .T = T, .C = C, .heads = heads};
    p.x = make(dev, act, R, C, 1.0, 1);
    p.w = make(dev, act, H, C, 0.1, 2);
    p.bias =
        device_is_host(dev) ? tensor_random_bias(H, 0.1, 3) : make(dev, DTYPE_F32, 1, H, 0.1, 3);
    p.hidden = make(dev, act, R, H, 1.0, 4);
    p.dhidden = make(dev, act, R, H, 1.0, 5);
    p.dx = make(dev, act, R, C, 0.0, 0);
    p.dw = make(dev, DTYPE_F32, H, C, 0.0, 0);
    p.dbias = make(dev, DTYPE_F32, 1, H, 0.0, 0);
    p.norm = make(dev, act, R, C, 1.0, 6);
    p.mean = make(dev, DTYPE_F32, 1, R, 0.0, 0);
    p.rstd = make(dev, DTYPE_F32, 1, R, 0.0, 0);
    p.gain = make(dev, DTYPE_F32, 1, C, 1.0, 7);
    p.residual = make(dev, DTYPE_F32, R, C, 1.0, 8);
    p.dresidual = make(dev, DTYPE_F32, R, C, 0.0, 0);
    p.qkv = make(dev, act, R, 3 * C, 1.0, 9);
    p.out = make(dev, act, R, C, 0.0, 0);
    p.stats = make(dev, DTYPE_F32, B * heads, T, 0.0, 0);
    p.dout = make(dev, act, R, C, 1.0, 10);
    p.dqkv = make(dev, act, R, 3 * C, 0.0, 0);
    p.logits = make(dev, act, R, PADDED, 1.0, 11);
    p.losses = make(dev, DTYPE_F32, 1, R, 0.0, 0);
    p.weights = make(dev, DTYPE_F32, H, C, 0.1, 12);
    p.m = make(dev, DTYPE_F32, H, C, 0.0, 0);
    p.v = make(dev, DTYPE_F32, H, C, 0.0, 0);
    p.grad = make(dev, DTYPE_F32, H, C, 0.1, 13);
    int32_t *const targets = calloc((size_t)R, sizeof *targets);
    for (int64_t i = 0; targets && i < R; i++)
        targets[i] = (int32_t)(i * 7 % VOCAB);
    p.targets = targets;
    if (!device_is_host(dev)) {
        p.targets = make(dev, DTYPE_F32, 1, R, 0.0, 0).view.data; /* as large as i32 */
        (void)device_upload(dev, p.targets, targets, (size_t)R * sizeof *targets);
        free(targets);
    }
    return p;
}

static void problem_free(struct problem *p)
{
    struct tensor *const all[] = {&p->x,      &p->w,       &p->bias,     &p->hidden,    &p->dhidden,
                                  &p->dx,     &p->dw,      &p->dbias,    &p->norm,      &p->mean,
                                  &p->rstd,   &p->gain,    &p->residual, &p->dresidual, &p->qkv,
                                  &p->out,    &p->stats,   &p->dout,     &p->dqkv,      &p->logits,
                                  &p->losses, &p->weights, &p->m,        &p->v,         &p->grad};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        unmake(p->dev, all[i]);
    if (device_is_host(p->dev))
        free(p->targets);
    else
        device_free(p->dev, p->targets);
}

static struct view rows_of(const struct problem *p, const struct tensor *t, int64_t cols)
{
    return tensor_view3(t, p->B, p->T, cols);
}

/* ---- the kernels, as called in a training step --------------------------------------------- */

static enum shoal_status run_copy(struct problem *p)
{
    return device_copy(p->dev, p->dhidden.view.data, p->hidden.view.data,
                       (size_t)p->hidden.n * dtype_bytes(p->act));
}
static enum shoal_status run_matmul(struct problem *p)
{
    return kernel_matmul(p->dev, p->hidden.view, p->x.view, p->w.view, p->bias.view);
}
static enum shoal_status run_grad_x(struct problem *p)
{
    return kernel_matmul_grad_x(p->dev, p->dx.view, p->dhidden.view, p->w.view);
}
static enum shoal_status run_grad_w(struct problem *p)
{
    return kernel_matmul_grad_w(p->dev, p->dw.view, p->dbias.view, p->dhidden.view, p->x.view,
                                false);
}
static enum shoal_status run_norm(struct problem *p)
{
    return kernel_norm(p->dev, p->norm.view, p->mean.view, p->rstd.view, p->residual.view,
                       p->gain.view, p->gain.view, 1e-5f);
}
static enum shoal_status run_norm_grad(struct problem *p)
{
    struct view dgain = p->dbias.view, dbias = p->dbias.view;
    dgain.dim[1] = dbias.dim[1] = p->C;
    dbias.data = (float *)p->dbias.view.data + p->C;
    return kernel_norm_grad(p->dev, p->dresidual.view, none, dgain, dbias, p->dout.view,
                            p->residual.view, p->mean.view, p->rstd.view, p->gain.view);
}
static enum shoal_status run_gelu(struct problem *p)
{
    return kernel_gelu(p->dev, p->dhidden.view, p->hidden.view);
}
static enum shoal_status run_matmul_gelu(struct problem *p)
{
    return kernel_matmul_gelu(p->dev, p->dhidden.view, p->hidden.view, p->x.view, p->w.view,
                              p->bias.view);
}
static enum shoal_status run_attention(struct problem *p)
{
    return kernel_attention(p->dev, rows_of(p, &p->out, p->C), p->stats.view,
                            rows_of(p, &p->qkv, 3 * p->C),
                            (struct attention_shape){p->heads, p->heads});
}
static enum shoal_status run_attention_grad(struct problem *p)
{
    return kernel_attention_grad(p->dev, rows_of(p, &p->dqkv, 3 * p->C), rows_of(p, &p->dout, p->C),
                                 rows_of(p, &p->out, p->C), p->stats.view,
                                 rows_of(p, &p->qkv, 3 * p->C),
                                 (struct attention_shape){p->heads, p->heads});
}
static enum shoal_status run_xent(struct problem *p)
{
    const struct view targets = view_make(p->targets, DTYPE_I32, 1, p->B * p->T);
    return kernel_xent(p->dev, p->losses.view, p->logits.view, targets, VOCAB, 0.5f, true);
}
static enum shoal_status run_adamw(struct problem *p)
{
    const struct adamw_args a = {1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1.0f, 1, NULL};
    return kernel_adamw(p->dev, p->weights.view.data, NULL, p->m.view.data, p->v.view.data,
                        p->grad.view.data, p->weights.n, a);
}
static enum shoal_status swarm(struct problem *p, int draw, int law)
{
    const struct swarm_args a = {
        .social = 0.5f, .draw = draw, .law = law, .best = {1, RNG_SWARM_BEST, 0, 0, 0}};
    return kernel_swarm(p->dev, p->weights.view.data, NULL, NULL, p->grad.view.data, 4 * p->C, p->C,
                        a);
}
static enum shoal_status run_swarm(struct problem *p)
{
    return swarm(p, DRAW_CONSTANT, LAW_UNIFORM);
}
static enum shoal_status run_swarm_drawn(struct problem *p)
{
    return swarm(p, DRAW_ELEMENT, LAW_KOIFISH);
}

/* ---- against the reference, after one run on fresh data ------------------------------------- */

/* Compare and free what was expected. */
static bool agrees(const char *what, const struct tensor *got, double *want, struct tolerance tol)
{
    const bool ok = tensor_close(what, got, want, tol);
    free(want);
    return ok;
}

static bool check_matmul(const struct problem *p)
{
    double *const want = doubles(p->hidden.n);
    ref_matmul(want, p->x.exact, p->w.exact, p->bias.exact, p->B * p->T, p->C, 4 * p->C);
    return agrees("matmul", &p->hidden, want, tolerance_for(p->act));
}
static bool check_grad_x(const struct problem *p)
{
    double *const want = doubles(p->dx.n);
    ref_matmul_grad_x(want, p->dhidden.exact, p->w.exact, p->B * p->T, p->C, 4 * p->C);
    return agrees("matmul_grad_x", &p->dx, want, tolerance_for(p->act));
}
static bool check_grad_w(const struct problem *p)
{
    double *const dw = doubles(p->dw.n), *const dbias = doubles(4 * p->C);
    ref_matmul_grad_w(dw, dbias, p->dhidden.exact, p->x.exact, p->B * p->T, p->C, 4 * p->C);
    const bool ok = agrees("matmul_grad_w", &p->dw, dw, tolerance_for(DTYPE_F32));
    return agrees("matmul_grad_w bias", &p->dbias, dbias, tolerance_for(DTYPE_F32)) && ok;
}
static bool check_norm(const struct problem *p)
{
    const int64_t R = p->B * p->T;
    double *const want = doubles(p->norm.n), *const m = doubles(R), *const r = doubles(R);
    ref_layernorm(want, m, r, p->residual.exact, p->gain.exact, p->gain.exact, R, p->C, 1e-5);
    free(m);
    free(r);
    return agrees("layernorm", &p->norm, want, tolerance_for(p->act));
}
static bool check_norm_grad(const struct problem *p)
{
    double *const want = doubles(p->norm.n), *const g = doubles(p->C), *const b = doubles(p->C);
    ref_layernorm_grad(want, g, b, p->dout.exact, p->residual.exact, p->gain.exact, p->B * p->T,
                       p->C, 1e-5);
    free(g);
    free(b);
    return agrees("layernorm_grad", &p->dresidual, want, tolerance_for(DTYPE_F32));
}
static bool check_gelu(const struct problem *p)
{
    double *const want = doubles(p->hidden.n);
    ref_gelu(want, p->hidden.exact, p->hidden.n);
    return agrees("gelu", &p->dhidden, want, tolerance_for(p->act));
}
static bool check_matmul_gelu(const struct problem *p)
{
    double *const want = doubles(p->hidden.n);
    ref_matmul(want, p->x.exact, p->w.exact, p->bias.exact, p->B * p->T, p->C, 4 * p->C);
    ref_gelu(want, want, p->hidden.n);
    const struct tolerance once = tolerance_for(p->act);
    const struct tolerance twice = {2.5 * once.relative, 2.0 * once.absolute};
    return agrees("matmul_gelu", &p->dhidden, want, twice);
}
static struct tolerance attention_tolerance(const struct problem *p)
{
    const struct tolerance f32 = {2e-5, 4e-6}, bf16 = {1e-2, 4e-3};
    return p->act == DTYPE_BF16 ? bf16 : f32;
}
static bool check_attention(const struct problem *p)
{
    double *const want = doubles(p->out.n), *const stats = doubles(p->stats.n);
    ref_attention(want, stats, p->qkv.exact, p->B, p->T, p->C, p->heads);
    free(stats);
    return agrees("attention", &p->out, want, attention_tolerance(p));
}
static bool check_attention_grad(const struct problem *p)
{
    double *const want = doubles(p->qkv.n);
    ref_attention_grad(want, p->dout.exact, p->qkv.exact, p->B, p->T, p->C, p->heads);
    return agrees("attention_grad", &p->dqkv, want, attention_tolerance(p));
}
static bool check_xent(const struct problem *p)
{
    const int64_t R = p->B * p->T;
    double *const want = doubles(p->logits.n), *const losses = doubles(R);
    ref_xent(losses, want, p->logits.exact, p->targets, R, VOCAB, PADDED, 0.5);
    free(losses);
    return agrees("xent", &p->logits, want, tolerance_for(p->act));
}
static bool check_adamw(const struct problem *p)
{
    ref_adamw(p->weights.exact, p->m.exact, p->v.exact, p->grad.exact, p->weights.n, 1e-3, 0.9,
              0.95, 1e-8, 0.1, 1.0, 1);
    return tensor_close("adamw", &p->weights, p->weights.exact, tolerance_for(DTYPE_F32));
}
/* Elements move toward the attractor by a factor in [0, 0.5], or exactly half way when constant;
 * the laws of the draws are tests/kernels/test_evolve.c's business. */
static bool check_swarm(const struct problem *p)
{
    for (int64_t i = 0; i < p->weights.n; i++) {
        const double way = p->grad.exact[i] - p->weights.exact[i];
        const double moved = tensor_get(&p->weights, i) - p->weights.exact[i];
        if (fabs(moved - 0.25 * way) > 0.25 * fabs(way) + 1e-6) return false;
    }
    return true;
}
static bool check_nothing(const struct problem *p)
{
    (void)p;
    return true;
}

/* ---- the list ------------------------------------------------------------------------------ */

struct kernel {
    const char *name;
    enum shoal_status (*run)(struct problem *p);
    bool (*check)(const struct problem *p);
    int products;       /* operations / (R C C) */
    int attention;      /* operations / (B T T C), half of T x T counted */
    int act, f32, slab; /* bytes: act and f32 elements / (R C), f32 elements / (4 C C) */
};

static const struct kernel kernels[] = {
    {"matmul C>4C", run_matmul, check_matmul, 8, 0, 0, 0, 0},
    {"matmul C>4C, GELU", run_matmul_gelu, check_matmul_gelu, 8, 0, 0, 0, 0},
    {"matmul_grad_x", run_grad_x, check_grad_x, 8, 0, 0, 0, 0},
    {"matmul_grad_w+bias", run_grad_w, check_grad_w, 8, 0, 0, 0, 0},
    {"attention", run_attention, check_attention, 0, 2, 0, 0, 0},
    {"attention_grad", run_attention_grad, check_attention_grad, 0, 5, 0, 0, 0},
    {"copy 4C", run_copy, check_nothing, 0, 0, 8, 0, 0},
    {"gelu 4C", run_gelu, check_gelu, 0, 0, 8, 0, 0},
    {"layernorm", run_norm, check_norm, 0, 0, 1, 1, 0},
    {"layernorm_grad", run_norm_grad, check_norm_grad, 0, 0, 1, 3, 0},
    {"xent (V 256)", run_xent, check_xent, 0, 0, 0, 0, 0},
    {"adamw 4CC", run_adamw, check_adamw, 0, 0, 0, 0, 7},
    {"swarm 4CC", run_swarm, check_swarm, 0, 0, 0, 0, 3},
    {"swarm drawn 4CC", run_swarm_drawn, check_swarm, 0, 0, 0, 0, 3},
};
enum { N_KERNELS = sizeof kernels / sizeof kernels[0] };

static double operations(const struct kernel *k, const struct problem *p)
{
    const double R = (double)(p->B * p->T), C = (double)p->C, T = (double)p->T;
    return k->products * R * C * C + k->attention * R * T * C;
}

static double bytes(const struct kernel *k, const struct problem *p)
{
    const double R = (double)(p->B * p->T), C = (double)p->C;
    return R * C * (k->act * (double)dtype_bytes(p->act) + k->f32 * 4.0) + k->slab * 16.0 * C * C;
}

/* ---- measuring ----------------------------------------------------------------------------- */

/* Best time of one run, over at least a fifth of a second; NAN on failure. A GPU gets several runs
 * at a time, so that queueing them does not count. */
static double best_s(enum shoal_status (*run)(struct problem *p), struct problem *p)
{
    const double end = clock_now_s() + 0.2;
    const int runs = device_is_host(p->dev) ? 1 : 10;
    double best = INFINITY;
    for (int i = 0; i < 5 || clock_now_s() < end; i++) {
        const double begin = clock_now_s();
        for (int r = 0; r < runs; r++)
            if (run(p) != SHOAL_OK) return NAN;
        if (device_sync(p->dev) != SHOAL_OK) return NAN;
        best = fmin(best, (clock_now_s() - begin) / runs);
    }
    return best;
}

static enum shoal_status run_peak(struct problem *p)
{
    return kernel_matmul(p->dev, p->dw.view, p->x.view, p->w.view, none);
}

/* A large product of squares, operations per second. */
static double peak_per_s(struct device *dev, enum dtype act, int64_t width)
{
    const int64_t n = device_is_host(dev) ? 768 : width;
    struct problem p = {.dev = dev,
                        .x = make(dev, act, n, n, 1.0, 1),
                        .w = make(dev, act, n, n, 1.0, 2),
                        .dw = make(dev, act, n, n, 0.0, 0)};
    const double best = best_s(run_peak, &p);
    unmake(dev, &p.x);
    unmake(dev, &p.w);
    unmake(dev, &p.dw);
    return 2.0 * (double)n * (double)n * (double)n / best;
}

static bool all_agree(struct device *dev, enum dtype act, int64_t C)
{
    for (int i = 0; i < N_KERNELS; i++) {
        struct problem p = problem_make(dev, act, 2, 33, C);
        bool ok = kernels[i].run != run_attention_grad || run_attention(&p) == SHOAL_OK;
        ok = ok && (kernels[i].run != run_norm_grad || run_norm(&p) == SHOAL_OK);
        ok = ok && kernels[i].run(&p) == SHOAL_OK && kernels[i].check(&p);
        problem_free(&p);
        if (!ok) {
            (void)fprintf(stderr, "%s does not agree with the reference: %s\n", kernels[i].name,
                          shoal_failure_text());
            return false;
        }
    }
    return true;
}

static void measure(struct device *dev, enum dtype act, int64_t B, int64_t T, int64_t C)
{
    struct problem p = problem_make(dev, act, B, T, C);
    const double peak = peak_per_s(dev, act, C);
    const double copy = 8.0 * (double)(B * T * C) * (double)dtype_bytes(act) / best_s(run_copy, &p);
    printf("%s: product peak %.0f GFLOP/s, copy %.0f GB/s\n", act == DTYPE_BF16 ? "bf16" : "f32",
           peak * 1e-9, copy * 1e-9);
    for (int i = 0; i < N_KERNELS; i++) {
        const double s = best_s(kernels[i].run, &p);
        const double ops = operations(&kernels[i], &p), moved = bytes(&kernels[i], &p);
        printf("  %-20s %9.3f ms", kernels[i].name, s * 1e3);
        if (ops > 0.0)
            printf("  %7.1f GFLOP/s  %4.0f %% of peak", ops / s * 1e-9, 100.0 * ops / s / peak);
        else if (moved > 0.0)
            printf("  %7.1f GB/s     %4.0f %% of copy", moved / s * 1e-9, 100.0 * moved / s / copy);
        printf("\n");
    }
    problem_free(&p);
}

static int64_t argument(int argc, char **argv, int i, int64_t otherwise)
{
    const long long value = i < argc ? strtoll(argv[i], NULL, 10) : otherwise;
    return value > 0 ? value : otherwise;
}

/* Checked on copies where memory is the device's own. Takes no device over. */
static bool all_agree_on(const char *name, int threads, enum dtype act, int64_t C)
{
    struct device *dev = NULL, *checked = NULL;
    enum shoal_status st = device_open(name, 0, threads, &dev);
    checked = dev;
    if (st == SHOAL_OK && !device_is_host(dev)) st = mirror_open(dev, &checked);
    if (st != SHOAL_OK) {
        (void)fprintf(stderr, "%s\n", shoal_failure_text());
        return false;
    }
    const bool ok = all_agree(checked, act, C);
    device_close(&checked);
    return ok;
}

int main(int argc, char **argv)
{
    const char *const name = argc > 5 ? argv[5] : "cpu";
    const int threads = (int)argument(argc, argv, 4, 0);
    struct device *dev = NULL;
    if (device_open(name, 0, threads, &dev) != SHOAL_OK) {
        (void)fprintf(stderr, "%s\n", shoal_failure_text());
        return 1;
    }
    const bool host = device_is_host(dev);
    const int64_t R = argument(argc, argv, 1, host ? 2048 : 4096);
    const int64_t C = argument(argc, argv, 2, host ? 256 : 4096);
    const int64_t T = argument(argc, argv, 3, host ? 256 : 1024);
    bool ok = true;
    printf("%s; %lld rows, width %lld, context %lld\n", device_describe(dev), (long long)R,
           (long long)C, (long long)T);
    for (int act = DTYPE_F32; ok && act <= DTYPE_BF16; act++) {
        ok = all_agree_on(name, threads, (enum dtype)act, C < 256 ? C : 256);
        if (ok) measure(dev, (enum dtype)act, R / T > 0 ? R / T : 1, T, C);
    }
    device_close(&dev);
    return ok ? 0 : 1;
}
