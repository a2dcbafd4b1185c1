/* embed.c - token and position embedding.
 *
 * The backward pass scatters rows, and several rows may hit the same token: each thread owns a
 * range of columns and walks all rows in order, so sums have one order whatever the team. */
#include "kernels/cpu/cpu.h"

enum shoal_status cpu_embed(struct device *dev, struct view out, struct view tokens,
                            struct view wte, struct view wpe)
{
    const int64_t rows = out.dim[0], cols = out.dim[1], context = tokens.dim[1];
    const int32_t *const token = tokens.data;
    const int team = cpu_team(dev, rows * cols);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < rows; i++) {
        float *const to = (float *)out.data + i * cols;
        const float *const what = (const float *)wte.data + token[i] * cols;
        const float *const where = (const float *)wpe.data + i % context * cols;
#pragma omp simd
        for (int64_t c = 0; c < cols; c++)
            to[c] = what[c] + where[c];
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
            float *const what = (float *)dwte.data + token[i] * cols + begin;
            float *const where = (float *)dwpe.data + i % context * cols + begin;
#pragma omp simd
            for (int64_t c = 0; c < n; c++) {
                what[c] += d[c];
                where[c] += d[c];
            }
        }
    }
    return SHOAL_OK;
}
