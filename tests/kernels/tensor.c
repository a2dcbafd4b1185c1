/* tensor.c - see tensor.h. */
#include "kernels/tensor.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(size_t bytes)
{
    void *const p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!p) {
        (void)fprintf(stderr, "no memory for a test tensor of %zu bytes\n", bytes);
        abort();
    }
    memset(p, 0, (bytes + 127) / 64 * 64);
    return p;
}

double *doubles(int64_t n)
{
    return allocate((size_t)n * sizeof(double));
}

struct tensor tensor_zero(enum dtype dtype, int64_t d0, int64_t d1)
{
    struct tensor t;
    t.n = d0 * d1;
    t.view = view_make(allocate((size_t)t.n * dtype_bytes(dtype)), dtype, d0, d1);
    t.exact = doubles(t.n);
    return t;
}

static double value_of(struct view v, int64_t i)
{
    if (v.dtype == DTYPE_F32) return (double)((const float *)v.data)[i];
    const uint32_t bits = (uint32_t)((const uint16_t *)v.data)[i] << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

double tensor_get(const struct tensor *t, int64_t i)
{
    return value_of(t->view, i);
}

struct tensor tensor_random(enum dtype dtype, int64_t d0, int64_t d1, double scale, uint32_t seed)
{
    struct tensor t = tensor_zero(dtype, d0, d1);
    const struct rng_key key = {.seed = 20240520, .stream = RNG_INIT, .tensor = seed};
    for (int64_t i = 0; i < t.n; i++) {
        const float f = (float)scale * rng_to_normal(rng_bits(key, (uint64_t)i));
        if (dtype == DTYPE_F32) {
            ((float *)t.view.data)[i] = f;
        } else { /* truncation: any bf16 value will do */
            uint32_t bits;
            memcpy(&bits, &f, sizeof bits);
            ((uint16_t *)t.view.data)[i] = (uint16_t)(bits >> 16);
        }
        t.exact[i] = value_of(t.view, i);
    }
    return t;
}

struct tensor tensor_random_bias(int64_t n, double scale, uint32_t seed)
{
    struct tensor t = tensor_random(DTYPE_BF16, 1, n, scale, seed);
    float *const wide = allocate((size_t)n * sizeof *wide);
    for (int64_t i = 0; i < n; i++)
        wide[i] = (float)t.exact[i];
    free(t.view.data);
    t.view = view_make(wide, DTYPE_F32, 1, n);
    return t;
}

struct view tensor_view3(const struct tensor *t, int64_t d0, int64_t d1, int64_t d2)
{
    struct view v = t->view;
    v.dim[0] = d0;
    v.dim[1] = d1;
    v.dim[2] = d2;
    return v;
}

void tensor_free(struct tensor *t)
{
    free(t->view.data);
    free(t->exact);
}

struct tolerance tolerance_for(enum dtype dtype)
{
    const struct tolerance f32 = {1e-5, 2e-6}, bf16 = {4.0e-3, 1e-4};
    return dtype == DTYPE_BF16 ? bf16 : f32;
}

static bool close_to(const char *what, const struct tensor *t, const double *base,
                     const double *want, struct tolerance tol)
{
    double largest = 0.0;
    for (int64_t i = 0; i < t->n; i++)
        largest = fmax(largest, fabs(want[i]));
    for (int64_t i = 0; i < t->n; i++) {
        const double got = tensor_get(t, i) - (base ? base[i] : 0.0);
        if (!(fabs(got - want[i]) <= tol.relative * fabs(want[i]) + tol.absolute * largest)) {
            (void)fprintf(stderr, "%s: element %lld is %.9g, expected %.9g (largest %.3g)\n", what,
                          (long long)i, got, want[i], largest);
            return false;
        }
    }
    return true;
}

bool tensor_close(const char *what, const struct tensor *t, const double *want,
                  struct tolerance tol)
{
    return close_to(what, t, NULL, want, tol);
}

bool tensor_added(const char *what, const struct tensor *t, const double *added,
                  struct tolerance tol)
{
    return close_to(what, t, t->exact, added, tol);
}
