/* embed.c - token and position embedding.
 *
 * The backward pass scatters rows, and several rows may hit the same token: each thread owns a
 * range of columns and walks all rows in order, so sums have one order whatever the team. */
#include <string.h>
#include "kernels/cpu/cpu.h"

static inline void add_row(float *restrict to, const float *restrict x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] += x[i];
}

enum shoal_status cpu_embed(struct device *dev, struct view out, struct view tokens,
                            struct view wte, struct view wpe)
{
    const int64_t rows = out.dim[0], cols = out.dim[1], context = tokens.dim[1];
    const int32_t *const token = tokens.data;
    const int team = cpu_team(dev, rows * cols);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < rows; i++) {
        float *const to = (float *)out.data + i * cols;
        memcpy(to, (const float *)wte.data + token[i] * cols, (size_t)cols * sizeof *to);
        if (wpe.data) add_row(to, (const float *)wpe.data + i % context * cols, cols);
    }
    return SHOAL_OK;
}

enum { EMBED_COLUMNS = 32 }; /* two cache lines: threads do not share one */

enum shoal_status cpu_embed_grad(struct device *dev, struct view dwte, struct view dwpe,
                                 struct view dout, struct view tokens)
{
    const int64_t rows = dout.dim[0], cols = dout.dim[1], context = tokens.dim[1];
    const int64_t slices = (cols + EMBED_COLUMNS - 1) / EMBED_COLUMNS;
    const int32_t *const token = tokens.data;
    const int team = cpu_team(dev, rows * cols);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t s = 0; s < slices; s++) {
        const int64_t begin = s * EMBED_COLUMNS;
        const int64_t n = cols - begin < EMBED_COLUMNS ? cols - begin : EMBED_COLUMNS;
        for (int64_t i = 0; i < rows; i++) {
            const float *const d = (const float *)dout.data + i * cols + begin;
            add_row((float *)dwte.data + token[i] * cols + begin, d, n);
            if (dwpe.data) add_row((float *)dwpe.data + i % context * cols + begin, d, n);
        }
    }
    return SHOAL_OK;
}
