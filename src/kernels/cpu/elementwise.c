/* elementwise.c - conversion, weighted sums of tensors. Bound by memory. */
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"

SPECIALISED void convert_piece(void *out, const void *x, int64_t n, bool out16, bool x16)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        element_put(out, i, out16, element_get(x, i, x16));
}

enum shoal_status cpu_convert(struct device *dev, struct view out, struct view x)
{
    const int64_t n = view_count(x);
    const bool out16 = out.dtype == DTYPE_BF16, x16 = x.dtype == DTYPE_BF16;
    if (out16 == x16)
        return dev->ops->copy(dev, out.data, x.data, (size_t)n * dtype_bytes(x.dtype));
    const int team = cpu_team(dev, n);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t p = 0; p < cpu_pieces(n); p++) {
        void *const to = element_at(out.data, p * CPU_PIECE, out16);
        const void *const from = element_at(x.data, p * CPU_PIECE, x16);
        if (out16)
            convert_piece(to, from, cpu_piece(n, p), true, false);
        else
            convert_piece(to, from, cpu_piece(n, p), false, true);
    }
    return SHOAL_OK;
}

static inline void axpby_piece(float *out, const float *x, int64_t n, float alpha, float beta)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = alpha * x[i] + beta * out[i];
}

static inline void scale_piece(float *out, const float *x, int64_t n, float alpha)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = alpha * x[i];
}

enum shoal_status cpu_axpby(struct device *dev, float *out, const float *x, int64_t n, float alpha,
                            float beta)
{
    const int team = cpu_team(dev, n);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t p = 0; p < cpu_pieces(n); p++) {
        const int64_t at = p * CPU_PIECE;
        if (beta == 0.0f) /* out may hold anything, NaN included */
            scale_piece(out + at, x + at, cpu_piece(n, p), alpha);
        else
            axpby_piece(out + at, x + at, cpu_piece(n, p), alpha, beta);
    }
    return SHOAL_OK;
}
