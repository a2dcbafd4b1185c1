/* norm.c - layer normalisation over the last dimension.
 *
 * Forward keeps mean and rstd = 1/sqrt(var + eps) of each row. With h = (x - mean) rstd and
 * g = dout gain:  dx += rstd (g - avg(g) - h avg(g h)),  dgain += sum dout h,  dbias += sum dout.
 * The column sums go through one partial row per block of rows, added in order, so that the result
 * does not depend on the number of threads. */
#include <math.h>
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"

struct norm_row {
    const float *x, *gain, *bias;
    int64_t cols;
    float mean, rstd;
};

static void norm_moments(struct norm_row *r, float eps)
{
    const float *const x = r->x;
    float sum = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < r->cols; c++)
        sum += x[c];
    const float mean = sum / (float)r->cols;
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < r->cols; c++)
        squares += (x[c] - mean) * (x[c] - mean);
    r->mean = mean;
    r->rstd = 1.0f / sqrtf(squares / (float)r->cols + eps);
}

/* out = columns [begin, begin + n) of the result. */
SPECIALISED void norm_columns(float *out, const struct norm_row *r, int64_t begin, int64_t n)
{
    const float *const x = r->x + begin, *const gain = r->gain + begin,
                       *const bias = r->bias + begin, mean = r->mean, rstd = r->rstd;
#pragma omp simd
    for (int64_t c = 0; c < n; c++)
        out[c] = (x[c] - mean) * rstd * gain[c] + bias[c];
}

enum { NORM_CHUNK = 256 };

/* The whole row in bf16, by way of f32 chunks: compilers make two fast loops of this, but a slow
 * one of both together. */
static void norm_narrow(uint16_t *out, const struct norm_row *r)
{
    float wide[NORM_CHUNK];
    for (int64_t c = 0; c < r->cols; c += NORM_CHUNK) {
        const int64_t n = r->cols - c < NORM_CHUNK ? r->cols - c : NORM_CHUNK;
        norm_columns(wide, r, c, n);
        bf16_narrow(out + c, wide, n);
    }
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
        struct norm_row row = {(const float *)x.data + i * cols, g, b, cols, 0.0f, 0.0f};
        norm_moments(&row, eps);
        if (out.dtype == DTYPE_BF16)
            norm_narrow((uint16_t *)out.data + i * cols, &row);
        else
            norm_columns((float *)out.data + i * cols, &row, 0, cols);
        m[i] = row.mean;
        r[i] = row.rstd;
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
