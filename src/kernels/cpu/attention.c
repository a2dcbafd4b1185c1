/* attention.c - causal attention, forward, by tiles with a running softmax (Dao et al. 2022).
 *
 * A task is one head of one sequence. Its keys (transposed) and values are converted to f32 once;
 * then TILE queries at a time meet TILE keys at a time: scores = Q . K^T, of each row the running
 * maximum and sum are brought up to date, and the output is rescaled and receives P . V. Tiles
 * right of the diagonal are never touched; on the diagonal, products stop at the last key a group
 * of TILE_ROWS queries may see. All products are tile.c's, in f32 whatever the type of qkv; where
 * the processor multiplies bf16, attention16.c does it. */
#include <math.h>
#include <omp.h>
#include "kernels/cpu/attention16.h"
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/heads.h"
#include "kernels/cpu/simd_math.h"
#include "kernels/cpu/tile.h"

/* One thread's memory, all f32. */
struct work {
    float *keys;                    /* (padded_size, TILE) a tile */
    float *values;                  /* (padded_context, padded_size) */
    float *query, *sum;             /* (TILE, padded_size): the queries, and sum of p v */
    float scores[TILE * TILE];      /* then p = e^(score - max) */
    float max[TILE];                /* of each row so far */
    float total[TILE][TILE_VECTOR]; /* sum of p of each row so far, in parts */
};

/* Floats behind the struct. */
static int64_t work_floats(const struct heads *h)
{
    return 2 * (h->padded_context + TILE) * h->padded_size;
}

static struct work *work_at(const struct heads *h, char *base, int64_t thread)
{
    const int64_t bytes = (int64_t)sizeof(struct work) + work_floats(h) * (int64_t)sizeof(float);
    struct work *const w = (struct work *)(void *)(base + thread * round_up(bytes, 64));
    w->keys = (float *)(void *)(w + 1);
    w->values = w->keys + h->padded_context * h->padded_size;
    w->query = w->values + h->padded_context * h->padded_size;
    w->sum = w->query + TILE * h->padded_size;
    return w;
}

/* Largest of a row's first `seen` scores; the rest is ignored. */
SPECIALISED float row_top(const float *scores, float top, int seen, bool masked)
{
    float tops[TILE_VECTOR];
#pragma omp simd
    for (int l = 0; l < TILE_VECTOR; l++)
        tops[l] = top;
    for (int q = 0; q < TILE; q += TILE_VECTOR)
#pragma omp simd
        for (int l = 0; l < TILE_VECTOR; l++) {
            const float s = !masked || q + l < seen ? scores[q + l] : -INFINITY;
            tops[l] = s > tops[l] ? s : tops[l];
        }
    for (int half = TILE_VECTOR / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            tops[l] = tops[l + half] > tops[l] ? tops[l + half] : tops[l];
    return tops[0];
}

/* Scores become p; their sum is added to `total`, which stays a vector until the row is done. */
SPECIALISED void row_soften(float *scores, float *total, float top, float shrink, int seen,
                            bool masked)
{
    float sum[TILE_VECTOR];
#pragma omp simd
    for (int l = 0; l < TILE_VECTOR; l++)
        sum[l] = total[l] * shrink;
    for (int q = 0; q < TILE; q += TILE_VECTOR)
#pragma omp simd
        for (int l = 0; l < TILE_VECTOR; l++) {
            const float p = !masked || q + l < seen ? simd_exp(scores[q + l] - top) : 0.0f;
            scores[q + l] = p;
            sum[l] += p;
        }
    for (int l = 0; l < TILE_VECTOR; l++)
        total[l] = sum[l];
}

/* Fold the new scores of TILE_ROWS rows from i on in; `seen`: keys the first of them may see. */
SPECIALISED void soften(struct work *w, int64_t i, int64_t size, int seen, bool masked)
{
    float top[TILE_ROWS], shrink[TILE_ROWS];
    for (int r = 0; r < TILE_ROWS; r++)
        top[r] = row_top(w->scores + (i + r) * TILE, w->max[i + r], seen + r, masked);
#pragma omp simd
    for (int r = 0; r < TILE_ROWS; r++) {
        shrink[r] = simd_exp(w->max[i + r] - top[r]);
        w->max[i + r] = top[r];
    }
    for (int r = 0; r < TILE_ROWS; r++)
        row_soften(w->scores + (i + r) * TILE, w->total[i + r], top[r], shrink[r], seen + r,
                   masked);
    for (int r = 0; r < TILE_ROWS; r++) {
        float *const sum = w->sum + (i + r) * size;
#pragma omp simd
        for (int64_t d = 0; d < size; d++)
            sum[d] *= shrink[r];
    }
}

/* TILE_ROWS queries from row i on meet a tile of keys; `seen` by the first of them. */
static void meet(const struct heads *h, struct work *w, int64_t i, int64_t key_tile, int64_t seen)
{
    const int64_t size = h->padded_size, most = seen + TILE_ROWS - 1;
    const int64_t keys = most < TILE ? most : TILE;
    const struct tile_product score = {.c = w->scores + i * TILE,
                                       .c_row = TILE,
                                       .a = w->query + i * size,
                                       .a_row = size,
                                       .a_col = 1,
                                       .b = w->keys + key_tile * TILE * size,
                                       .b_row = TILE,
                                       .n = round_up(keys, TILE_VECTOR),
                                       .k = h->size};
    const struct tile_product mix = {.c = w->sum + i * size,
                                     .c_row = size,
                                     .a = w->scores + i * TILE,
                                     .a_row = TILE,
                                     .a_col = 1,
                                     .b = w->values + key_tile * TILE * size,
                                     .b_row = size,
                                     .n = size,
                                     .k = keys,
                                     .add = true};
    tile_multiply(&score);
    if (seen < TILE)
        soften(w, i, size, (int)seen, true);
    else
        soften(w, i, size, TILE, false);
    tile_multiply(&mix);
}

static void clear_rows(const struct heads *h, struct work *w)
{
    for (int64_t i = 0; i < TILE; i++) {
        w->max[i] = -INFINITY;
        for (int l = 0; l < TILE_VECTOR; l++)
            w->total[i][l] = 0.0f;
    }
    for (int64_t i = 0; i < TILE * h->padded_size; i++)
        w->sum[i] = 0.0f;
    for (int64_t i = 0; i < TILE * TILE; i++)
        w->scores[i] = 0.0f;
}

/* Rows [t, t + n) of one head. */
static void attend(const struct heads *h, struct work *w, struct head query, struct head out,
                   float *stats, int64_t t, int64_t n)
{
    clear_rows(h, w);
    head_load(h, w->query, query, t, TILE, 1.0f / sqrtf((float)h->size));
    for (int64_t key_tile = 0; key_tile <= t / TILE; key_tile++)
        for (int64_t i = 0; i < n; i += TILE_ROWS)
            meet(h, w, i, key_tile, t + i + 1 - key_tile * TILE);
    for (int64_t i = 0; i < n; i++) {
        float total = 0.0f;
        for (int l = 0; l < TILE_VECTOR; l++)
            total += w->total[i][l];
        stats[t + i] = w->max[i] + logf(total);
        head_store(h, out, w->sum + i * h->padded_size, t + i, 1, 1.0f / total);
    }
}

enum shoal_status cpu_attention(struct device *dev, struct view out, struct view stats,
                                struct view qkv, struct attention_shape shape)
{
    const struct heads h = heads_of(qkv, shape);
    const int64_t n = h.batch * h.count;
    const int team = cpu_team(dev, n * h.context * h.context * h.size / 16);
    char *memory;
    if (attention16_covers(dev, &h)) return attention16(dev, &h, out, stats, qkv);
    SHOAL_TRY(cpu_scratch(
        dev, (size_t)team * (sizeof(struct work) + 64 + (size_t)work_floats(&h) * sizeof(float)),
        &memory));
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < n; i++) {
        struct work *const w = work_at(&h, memory, omp_get_thread_num());
        head_load_transposed(&h, w->keys, head_in_qkv(&h, qkv, i / h.group, HEAD_KEY));
        head_load(&h, w->values, head_in_qkv(&h, qkv, i / h.group, HEAD_VALUE), 0, h.padded_context,
                  1.0f);
        for (int64_t t = 0; t < h.context; t += TILE)
            attend(&h, w, head_in_qkv(&h, qkv, i, HEAD_QUERY), head_in_out(&h, out, i),
                   (float *)stats.data + i * h.context, t,
                   h.context - t < TILE ? h.context - t : TILE);
    }
    return SHOAL_OK;
}
