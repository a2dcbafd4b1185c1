/* norm.c - layer normalisation and RMSNorm over the last dimension.
 *
 * Forward keeps mean (0 for RMSNorm) and rstd of each row. With h = (x - mean) rstd and
 * g = dout gain:  dx += rstd (g - avg(g) - h avg(g h)),  dgain += sum dout h,  dbias += sum dout;
 * RMSNorm has no avg(g) and no dbias. The column sums go through one partial row per block of
 * rows, added in order, so that the result does not depend on the number of threads. */
#include <math.h>
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec.h"

/* ---- forward --------------------------------------------------------------------------------- */

struct norm {
    void *out;
    float *mean, *rstd; /* mean NULL: RMSNorm */
    const float *x, *gain, *bias;
    int64_t cols;
    float eps;
};

/* Sum of (x - mean)^2 over a row; what is past its end does not count. */
SPECIALISED float squares(const float *x, float mean, int64_t n)
{
    vec sum = vec_all(0.0f);
    int64_t i = 0;
    for (; i + VEC <= n; i += VEC) {
        const vec d = vec_get(x, i, VEC, false) - mean;
        sum = vec_fma(d, d, sum);
    }
    float rest = 0.0f;
    for (; i < n; i++)
        rest += (x[i] - mean) * (x[i] - mean);
    return vec_sum(sum) + rest;
}

SPECIALISED float total(const float *x, int64_t n)
{
    vec sum = vec_all(0.0f);
    for (int64_t i = 0; i < n; i += VEC) {
        const int64_t count = n - i < VEC ? n - i : VEC;
        sum += vec_get(x, i, count, false);
    }
    return vec_sum(sum);
}

SPECIALISED void norm_row(const struct norm *t, int64_t row, bool rms, bool out16)
{
    const int64_t n = t->cols;
    const float *const x = t->x + row * n;
    void *const out = element_at(t->out, row * n, out16);
    const float mean = rms ? 0.0f : total(x, n) / (float)n;
    const float rstd = 1.0f / sqrtf(squares(x, mean, n) / (float)n + t->eps);
    for (int64_t i = 0; i < n; i += VEC) {
        const int64_t count = n - i < VEC ? n - i : VEC;
        const vec h = (vec_get(x, i, count, false) - mean) * rstd;
        const vec gain = vec_get(t->gain, i, count, false);
        const vec bias = rms ? vec_all(0.0f) : vec_get(t->bias, i, count, false);
        vec_put(out, i, count, out16, vec_fma(h, gain, bias));
    }
    if (!rms) t->mean[row] = mean;
    t->rstd[row] = rstd;
}

enum shoal_status cpu_norm(struct device *dev, struct view out, struct view mean, struct view rstd,
                           struct view x, struct view gain, struct view bias, float eps)
{
    const struct norm t = {out.data,  mean.data, rstd.data, x.data,
                           gain.data, bias.data, x.dim[1],  eps};
    const int64_t rows = x.dim[0];
    const bool rms = !mean.data, out16 = out.dtype == DTYPE_BF16;
    const int team = cpu_team(dev, rows * t.cols);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < rows; i++) {
        if (rms && out16)
            norm_row(&t, i, true, true);
        else if (rms)
            norm_row(&t, i, true, false);
        else if (out16)
            norm_row(&t, i, false, true);
        else
            norm_row(&t, i, false, false);
    }
    return SHOAL_OK;
}

/* ---- backward -------------------------------------------------------------------------------- */

struct norm_grad {
    float *dx;
    void *dx16;
    const void *dout;
    const float *x, *mean, *rstd, *gain;
    int64_t rows, cols;
};

/* One row; dgain, dbias: this block's partial sums. */
SPECIALISED void norm_grad_row(const struct norm_grad *t, float *dgain, float *dbias, int64_t row,
                               bool rms, bool d16)
{
    const int64_t n = t->cols, at = row * n;
    const float *const x = t->x + at;
    const void *const dout = element_at(t->dout, at, d16);
    const float mean = rms ? 0.0f : t->mean[row], rstd = t->rstd[row];
    vec sum_g = vec_all(0.0f), sum_gh = vec_all(0.0f);
    for (int64_t i = 0; i < n; i += VEC) {
        const int64_t count = n - i < VEC ? n - i : VEC;
        const vec d = vec_get(dout, i, count, d16), h = (vec_get(x, i, count, false) - mean) * rstd;
        const vec g = d * vec_get(t->gain, i, count, false);
        sum_g += g;
        sum_gh = vec_fma(g, h, sum_gh);
        vec_put(dgain, i, count, false, vec_fma(d, h, vec_get(dgain, i, count, false)));
        if (!rms) vec_put(dbias, i, count, false, d + vec_get(dbias, i, count, false));
    }
    const float avg_g = rms ? 0.0f : vec_sum(sum_g) / (float)n;
    const float avg_gh = vec_sum(sum_gh) / (float)n;
    for (int64_t i = 0; i < n; i += VEC) {
        const int64_t count = n - i < VEC ? n - i : VEC;
        const vec d = vec_get(dout, i, count, d16), h = (vec_get(x, i, count, false) - mean) * rstd;
        const vec g = d * vec_get(t->gain, i, count, false);
        const vec sum = vec_get(t->dx + at, i, count, false) + (g - avg_g - h * avg_gh) * rstd;
        vec_put(t->dx + at, i, count, false, sum);
        if (t->dx16) vec_put(element_at(t->dx16, at, true), i, count, true, sum);
    }
}

enum { NORM_ROWS = 32, NORM_MAX_BLOCKS = 128 };

/* Rows of one block: a function of the shape only. */
static int64_t norm_block_rows(int64_t rows)
{
    const int64_t even = (rows + NORM_MAX_BLOCKS - 1) / NORM_MAX_BLOCKS;
    return even < NORM_ROWS ? NORM_ROWS : even;
}

/* Rows [begin, end); partial: 2 * cols floats for dgain and dbias. */
static void norm_grad_block(const struct norm_grad *t, float *partial, int64_t begin, int64_t end,
                            bool d16)
{
    float *const dgain = partial, *const dbias = partial + t->cols;
    const bool rms = !t->mean;
    for (int64_t c = 0; c < 2 * t->cols; c++)
        partial[c] = 0.0f;
    for (int64_t i = begin; i < end; i++) {
        if (rms && d16)
            norm_grad_row(t, dgain, dbias, i, true, true);
        else if (rms)
            norm_grad_row(t, dgain, dbias, i, true, false);
        else if (d16)
            norm_grad_row(t, dgain, dbias, i, false, true);
        else
            norm_grad_row(t, dgain, dbias, i, false, false);
    }
}

enum shoal_status cpu_norm_grad(struct device *dev, struct view dx, struct view dx16,
                                struct view dgain, struct view dbias, struct view dout,
                                struct view x, struct view mean, struct view rstd, struct view gain)
{
    const struct norm_grad t = {dx.data,   dx16.data, dout.data, x.data,  mean.data,
                                rstd.data, gain.data, x.dim[0],  x.dim[1]};
    const int64_t step = norm_block_rows(t.rows), blocks = (t.rows + step - 1) / step;
    const int team = cpu_team(dev, 2 * t.rows * t.cols);
    float *partials, *const to_gain = dgain.data, *const to_bias = dbias.data;
    SHOAL_TRY(cpu_scratch(dev, (size_t)(blocks * 2 * t.cols) * sizeof(float), &partials));
#pragma omp parallel num_threads(team)
    {
#pragma omp for schedule(static)
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t begin = b * step, end = begin + step < t.rows ? begin + step : t.rows;
            norm_grad_block(&t, partials + b * 2 * t.cols, begin, end, dout.dtype == DTYPE_BF16);
        }
#pragma omp for schedule(static)
        for (int64_t c = 0; c < t.cols; c++)
            for (int64_t b = 0; b < blocks; b++) {
                to_gain[c] += partials[b * 2 * t.cols + c];
                if (to_bias) to_bias[c] += partials[b * 2 * t.cols + t.cols + c];
            }
    }
    return SHOAL_OK;
}
