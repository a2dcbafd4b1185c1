/* gelu.c - GELU in its tanh form.
 *
 * 0.5 x (1 + tanh u) with u = sqrt(2/pi) (x + 0.044715 x^3) is x / (1 + e^(-2u)): one exponential
 * instead of a tanh. With s = 1 / (1 + e^(-2u)) the derivative is s + x s (1 - s) 2 u'. */
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd_math.h"

#define TWO_SQRT_2_PI 1.5957691216057308f /* 2 sqrt(2/pi) */
#define CUBIC         0.044715f

/* 1 / (1 + e^(-2u)) */
static inline float gelu_gate(float x)
{
    return 1.0f / (1.0f + simd_exp(-TWO_SQRT_2_PI * (x + CUBIC * x * x * x)));
}

SPECIALISED void gelu_floats(float *out, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] * gelu_gate(x[i]);
}

SPECIALISED void gelu_grad_floats(float *dx, const float *dout, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float s = gelu_gate(x[i]);
        const float slope = TWO_SQRT_2_PI * (1.0f + 3.0f * CUBIC * x[i] * x[i]);
        dx[i] = dout[i] * (s + x[i] * s * (1.0f - s) * slope);
    }
}

/* bf16 goes through f32 buffers: in one loop, twice as many numbers would be in flight as there are
 * registers. */
static void gelu_piece16(uint16_t *out, const uint16_t *x, int64_t n)
{
    float wide[CPU_PIECE];
    bf16_widen(wide, x, n);
    gelu_floats(wide, wide, n);
    bf16_narrow(out, wide, n);
}

static void gelu_grad_piece16(uint16_t *dx, const uint16_t *dout, const uint16_t *x, int64_t n)
{
    float wide[CPU_PIECE], dwide[CPU_PIECE];
    bf16_widen(wide, x, n);
    bf16_widen(dwide, dout, n);
    gelu_grad_floats(dwide, dwide, wide, n);
    bf16_narrow(dx, dwide, n);
}

enum shoal_status cpu_gelu(struct device *dev, struct view out, struct view x)
{
    const int64_t n = view_count(x);
    const bool is16 = x.dtype == DTYPE_BF16;
    const int team = cpu_team(dev, 4 * n);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t p = 0; p < cpu_pieces(n); p++) {
        void *const to = element_at(out.data, p * CPU_PIECE, is16);
        const void *const from = element_at(x.data, p * CPU_PIECE, is16);
        if (is16)
            gelu_piece16(to, from, cpu_piece(n, p));
        else
            gelu_floats(to, from, cpu_piece(n, p));
    }
    return SHOAL_OK;
}

enum shoal_status cpu_gelu_grad(struct device *dev, struct view dx, struct view dout, struct view x)
{
    const int64_t n = view_count(x);
    const bool is16 = x.dtype == DTYPE_BF16;
    const int team = cpu_team(dev, 4 * n);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t p = 0; p < cpu_pieces(n); p++) {
        const int64_t at = p * CPU_PIECE, count = cpu_piece(n, p);
        void *const to = element_at(dx.data, at, is16);
        const void *const d = element_at(dout.data, at, is16);
        const void *const v = element_at(x.data, at, is16);
        if (is16)
            gelu_grad_piece16(to, d, v, count);
        else
            gelu_grad_floats(to, d, v, count);
    }
    return SHOAL_OK;
}
