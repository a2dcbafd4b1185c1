/* xent.c - softmax and cross entropy in place of the logits.
 *
 * Each row is read twice (maximum, sum of exponentials) and rewritten once; a row stays in the
 * cache, so memory sees one read and one write. The exponential is computed again for the gradient
 * rather than stored, because a bf16 row could not hold it exactly. */
#include <math.h>
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd_math.h"

SPECIALISED float row_max(const void *row, int64_t n, bool is16)
{
    float max = -INFINITY;
#pragma omp simd reduction(max : max)
    for (int64_t i = 0; i < n; i++) {
        const float v = element_get(row, i, is16);
        max = v > max ? v : max;
    }
    return max;
}

SPECIALISED float row_exp_sum(const void *row, int64_t n, float max, bool is16)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += simd_exp(element_get(row, i, is16) - max);
    return sum;
}

SPECIALISED void row_fill_zero(void *row, int64_t begin, int64_t end, bool is16)
{
#pragma omp simd
    for (int64_t i = begin; i < end; i++)
        element_put(row, i, is16, 0.0f);
}

struct xent_row {
    void *logits;
    int64_t vocab, padded; /* columns that count, columns there are */
    int32_t target;
    float scale;
    bool with_grad;
};

/* Loss of one row; its logits become their gradient. */
SPECIALISED float xent_row(const struct xent_row *r, bool is16)
{
    if (r->target < 0) {
        if (r->with_grad) row_fill_zero(r->logits, 0, r->padded, is16);
        return 0.0f;
    }
    const float max = row_max(r->logits, r->vocab, is16);
    const float sum = row_exp_sum(r->logits, r->vocab, max, is16);
    const float hit = element_get(r->logits, r->target, is16) - max;
    if (r->with_grad) {
        const float factor = r->scale / sum;
#pragma omp simd
        for (int64_t i = 0; i < r->vocab; i++)
            element_put(r->logits, i, is16,
                        simd_exp(element_get(r->logits, i, is16) - max) * factor);
        element_put(r->logits, r->target, is16, simd_exp(hit) * factor - r->scale);
        row_fill_zero(r->logits, r->vocab, r->padded, is16);
    }
    return logf(sum) - hit;
}

enum shoal_status cpu_xent(struct device *dev, struct view losses, struct view logits,
                           struct view targets, int vocab, float scale, bool with_grad)
{
    const int64_t rows = logits.dim[0], padded = logits.dim[1];
    const bool is16 = logits.dtype == DTYPE_BF16;
    const int32_t *const target = targets.data;
    float *const loss = losses.data;
    const int team = cpu_team(dev, 4 * rows * padded);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < rows; i++) {
        const struct xent_row row = {
            element_at(logits.data, i * padded, is16), vocab, padded, target[i], scale, with_grad};
        loss[i] = is16 ? xent_row(&row, true) : xent_row(&row, false);
    }
    return SHOAL_OK;
}
