/* norm.c - layer normalisation over the last dimension.
 *
 * Forward keeps mean and rstd = 1/sqrt(var + eps) of each row. With h = (x - mean) rstd and
 * g = dout gain:  dx += rstd (g - avg(g) - h avg(g h)),  dgain += sum dout h,  dbias += sum dout.
 * The column sums go through one partial row per block of rows, added in order, so that the result
 * does not depend on the number of threads. */
#include <math.h>
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"

SPECIALISED void norm_row(void *out, float *mean, float *rstd, const float *x, const float *gain,
                          const float *bias, int64_t cols, float eps, bool out16)
{
    float sum = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < cols; c++)
        sum += x[c];
    const float m = sum / (float)cols;
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < cols; c++)
        squares += (x[c] - m) * (x[c] - m);
    const float r = 1.0f / sqrtf(squares / (float)cols + eps);
#pragma omp simd
    for (int64_t c = 0; c < cols; c++)
        element_put(out, c, out16, (x[c] - m) * r * gain[c] + bias[c]);
    *mean = m;
    *rstd = r;
}

enum shoal_status cpu_layernorm(struct device *dev, struct view out, struct view mean,
                                struct view rstd, struct view x, struct view gain, struct view bias,
                                float eps)
{
    const int64_t rows = x.dim[0], cols = x.dim[1];
    const float *const g = gain.data, *const b = bias.data;
    float *const m = mean.data, *const r = rstd.data;
    const int team = cpu_team(dev, rows * cols);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < rows; i++) {
        const float *const row = (const float *)x.data + i * cols;
        if (out.dtype == DTYPE_BF16)
            norm_row(element_at(out.data, i * cols, true), m + i, r + i, row, g, b, cols, eps,
                     true);
        else
            norm_row(element_at(out.data, i * cols, false), m + i, r + i, row, g, b, cols, eps,
                     false);
    }
    return SHOAL_OK;
}

/* One row of the backward pass; dgain, dbias: this block's partial sums. */
SPECIALISED void norm_grad_row(float *dx, float *dgain, float *dbias, const void *dout,
                               const float *x, float mean, float rstd, const float *gain,
                               int64_t cols, bool d16)
{
    float sum_g = 0.0f, sum_gh = 0.0f;
#pragma omp simd reduction(+ : sum_g, sum_gh)
    for (int64_t c = 0; c < cols; c++) {
        const float d = element_get(dout, c, d16), h = (x[c] - mean) * rstd;
        sum_g += d * gain[c];
        sum_gh += d * gain[c] * h;
        dgain[c] += d * h;
        dbias[c] += d;
    }
    const float avg_g = sum_g / (float)cols, avg_gh = sum_gh / (float)cols;
#pragma omp simd
    for (int64_t c = 0; c < cols; c++) {
        const float g = element_get(dout, c, d16) * gain[c], h = (x[c] - mean) * rstd;
        dx[c] += rstd * (g - avg_g - h * avg_gh);
    }
}

enum { NORM_ROWS = 32, NORM_MAX_BLOCKS = 128 };

/* Rows of one block: a function of the shape only. */
static int64_t norm_block_rows(int64_t rows)
{
    const int64_t even = (rows + NORM_MAX_BLOCKS - 1) / NORM_MAX_BLOCKS;
    return even < NORM_ROWS ? NORM_ROWS : even;
}

struct norm_grad {
    float *dx;
    const void *dout;
    const float *x, *mean, *rstd, *gain;
    int64_t rows, cols;
};

/* Rows [begin, end); partial: 2 * cols floats for dgain and dbias. */
SPECIALISED void norm_grad_block(const struct norm_grad *t, float *partial, int64_t begin,
                                 int64_t end, bool d16)
{
    for (int64_t c = 0; c < 2 * t->cols; c++)
        partial[c] = 0.0f;
    for (int64_t i = begin; i < end; i++)
        norm_grad_row(t->dx + i * t->cols, partial, partial + t->cols,
                      element_at(t->dout, i * t->cols, d16), t->x + i * t->cols, t->mean[i],
                      t->rstd[i], t->gain, t->cols, d16);
}

enum shoal_status cpu_layernorm_grad(struct device *dev, struct view dx, struct view dgain,
                                     struct view dbias, struct view dout, struct view x,
                                     struct view mean, struct view rstd, struct view gain)
{
    const struct norm_grad t = {dx.data,   dout.data, x.data,   mean.data,
                                rstd.data, gain.data, x.dim[0], x.dim[1]};
    const int64_t step = norm_block_rows(t.rows), blocks = (t.rows + step - 1) / step;
    const int team = cpu_team(dev, 2 * t.rows * t.cols);
    float *partials, *const to_gain = dgain.data, *const to_bias = dbias.data;
    SHOAL_TRY(cpu_scratch(dev, (size_t)(blocks * 2 * t.cols) * sizeof(float), &partials));
#pragma omp parallel num_threads(team)
    {
#pragma omp for schedule(static)
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t begin = b * step, end = begin + step < t.rows ? begin + step : t.rows;
            if (dout.dtype == DTYPE_BF16)
                norm_grad_block(&t, partials + b * 2 * t.cols, begin, end, true);
            else
                norm_grad_block(&t, partials + b * 2 * t.cols, begin, end, false);
        }
#pragma omp for schedule(static)
        for (int64_t c = 0; c < t.cols; c++)
            for (int64_t b = 0; b < blocks; b++) {
                to_gain[c] += partials[b * 2 * t.cols + c];
                to_bias[c] += partials[b * 2 * t.cols + t.cols + c];
            }
    }
    return SHOAL_OK;
}
