/* reduce.c - sums. Every sum is cut into blocks by its length alone and the blocks are added in
 * order, so that results do not depend on the number of threads. */
#include <math.h>
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"

enum { SUM_BLOCK = 32768 };

static double block_sum(const float *x, int64_t n)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i];
    return sum;
}

static double block_sumsq(const float *x, int64_t n)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static enum shoal_status reduce(struct device *dev, double *out, const float *x, int64_t n,
                                bool squares)
{
    const int64_t blocks = (n + SUM_BLOCK - 1) / SUM_BLOCK;
    double *partial, sum = 0.0;
    SHOAL_TRY(cpu_scratch(dev, (size_t)blocks * sizeof(double), &partial));
    const int team = cpu_team(dev, n);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t at = b * SUM_BLOCK, count = n - at < SUM_BLOCK ? n - at : SUM_BLOCK;
        partial[b] = squares ? block_sumsq(x + at, count) : block_sum(x + at, count);
    }
    for (int64_t b = 0; b < blocks; b++)
        sum += partial[b];
    *out = sum;
    return SHOAL_OK;
}

enum shoal_status cpu_sum(struct device *dev, double *out, const float *x, int64_t n)
{
    return reduce(dev, out, x, n, false);
}

enum shoal_status cpu_sumsq(struct device *dev, double *out, const float *x, int64_t n)
{
    return reduce(dev, out, x, n, true);
}

enum shoal_status cpu_figures_loss(struct device *dev, struct figures *f, const float *losses,
                                   int64_t n, double over, bool add)
{
    double sum;
    SHOAL_TRY(reduce(dev, &sum, losses, n, false));
    f->loss = add ? f->loss + sum / over : sum / over;
    return SHOAL_OK;
}

enum shoal_status cpu_figures_norm(struct device *dev, struct figures *f, const float *grad,
                                   int64_t n, double clip)
{
    SHOAL_TRY(reduce(dev, &f->sumsq, grad, n, true));
    const double norm = sqrt(f->sumsq);
    const bool clips = clip > 0.0 && norm > clip;
    f->scale = isfinite(norm) && isfinite(f->loss) ? (float)(clips ? clip / norm : 1.0) : NAN;
    return SHOAL_OK;
}

/* Column sums: a thread owns whole slices of columns; within a slice rows are added in blocks, so
 * that the error grows with the block and not with the column. */
enum { COLUMN_SLICE = 64, COLUMN_ROWS = 128 };

/* Sums of `rows` rows of n <= COLUMN_SLICE columns, added to `to`. */
SPECIALISED void slice_sums(float *to, const void *x, int64_t rows, int64_t cols, int64_t n,
                            bool x16)
{
    float sum[COLUMN_SLICE] = {0};
    for (int64_t i = 0; i < rows; i++) {
        const void *const row = element_at(x, i * cols, x16);
#pragma omp simd
        for (int64_t c = 0; c < n; c++)
            sum[c] += element_get(row, c, x16);
    }
    for (int64_t c = 0; c < n; c++)
        to[c] += sum[c];
}

void cpu_add_column_sums(struct device *dev, float *to, const void *x, bool x16, int64_t rows,
                         int64_t cols)
{
    const int64_t slices = (cols + COLUMN_SLICE - 1) / COLUMN_SLICE;
    const int team = cpu_team(dev, rows * cols);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t s = 0; s < slices; s++) {
        const int64_t at = s * COLUMN_SLICE,
                      n = cols - at < COLUMN_SLICE ? cols - at : COLUMN_SLICE;
        for (int64_t i = 0; i < rows; i += COLUMN_ROWS) {
            const int64_t count = rows - i < COLUMN_ROWS ? rows - i : COLUMN_ROWS;
            const void *const from = element_at(x, i * cols + at, x16);
            if (x16)
                slice_sums(to + at, from, count, cols, n, true);
            else
                slice_sums(to + at, from, count, cols, n, false);
        }
    }
}
