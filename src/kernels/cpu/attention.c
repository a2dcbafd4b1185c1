/* attention.c - causal attention, forward.
 *
 * A task is one head of queries of one sequence. Its keys are packed transposed and its values as
 * they are; then a few queries at a time, as many as a tile has rows, meet up to CHUNK keys: scores
 * = q . K^T for all of them, softmax over the row, out = p . V with p rounded to the type of qkv.
 * Contexts longer than CHUNK go on with a running maximum and sum (Dao et al. 2022). Keys right of
 * the diagonal are left out, but for what fills a tile up. */
#include <math.h>
#include <omp.h>
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/heads.h"
#include "kernels/cpu/tile.h"

enum { COLS = TILE_COLS, ROWS = TILE_ROWS, CHUNK = 512 };

/* One thread's memory. Panels, p and values are of the type of qkv. */
struct work {
    float score[ROWS * CHUNK];
    float p[ROWS * CHUNK];        /* e^(score - top); bf16 takes half of it */
    float top[ROWS], total[ROWS]; /* of each row so far */
    float *sum;                   /* (ROWS, padded): sum of p v */
    char *keys, *values;          /* panels: of COLS keys each; of COLS numbers of all keys each */
    int64_t padded, padded_context; /* size and context, in whole panels */
};

/* Lay w's arrays out behind it; returns the bytes of all. */
static int64_t lay_out(const struct heads *h, struct work *w)
{
    char *const at = (char *)w + round_up((int64_t)sizeof *w, 64);
    w->padded = round_up(h->size, COLS);
    w->padded_context = round_up(h->context, COLS);
    w->sum = (float *)(void *)at;
    w->keys = (char *)(w->sum + ROWS * w->padded);
    w->values = w->keys + w->padded_context / COLS * tile_panel_bytes(h->size, h->is16);
    return round_up(w->values - (char *)w, 64) +
           w->padded / COLS * tile_panel_bytes(w->padded_context, h->is16);
}

static int64_t work_bytes(const struct heads *h)
{
    struct work w;
    return lay_out(h, &w);
}

/* The panel of COLS keys from t on; of COLS numbers of the values from d on. */
static char *key_panel(const struct heads *h, const struct work *w, int64_t t)
{
    return w->keys + t / COLS * tile_panel_bytes(h->size, h->is16);
}
static char *value_panel(const struct heads *h, const struct work *w, int64_t d)
{
    return w->values + d / COLS * tile_panel_bytes(w->padded_context, h->is16);
}

static void pack(const struct heads *h, struct work *w, struct head key, struct head value)
{
    for (int64_t t = 0; t < h->context; t += COLS) {
        const int64_t n = h->context - t < COLS ? h->context - t : COLS;
        tile_pack_transposed(key_panel(h, w, t), head_row(key, t), key.row, h->size, n, h->is16);
    }
    for (int64_t d = 0; d < h->size; d += COLS) {
        const int64_t n = h->size - d < COLS ? h->size - d : COLS;
        tile_pack(value_panel(h, w, d), element_at(head_row(value, 0), d, h->is16), value.row,
                  h->context, n, h->is16);
    }
}

static float largest(vec v)
{
    float top = v[0];
    for (int k = 1; k < VEC; k++)
        top = v[k] > top ? v[k] : top;
    return top;
}

/* Row r's scores become p, and what the row has so far shrinks to the new maximum. `seen`: keys it
 * may see; `width`: keys of the chunk, of which the rest gets p = 0. unit: scores to powers of 2.
 */
SPECIALISED void soften(struct work *w, int r, int64_t seen, int64_t width, float unit, bool is16)
{
    float *const score = w->score + r * CHUNK;
    const int64_t end = round_up(width, VEC);
    vec top = vec_all(w->top[r]), total = vec_all(0.0f);
    for (int64_t j = seen > 0 ? seen : 0; j < end; j++)
        score[j] = -INFINITY;
    for (int64_t j = 0; j < end; j += VEC)
        top = vec_max(top, vec_get(score, j, VEC, false));
    const float old = w->top[r], now = largest(top);
    for (int64_t j = 0; j < end; j += VEC) {
        const vec p = vec_exp2((vec_get(score, j, VEC, false) - now) * unit, is16);
        total += p;
        vec_put(w->p, r * CHUNK + j, VEC, is16, p);
    }
    const float shrink = exp2f((old - now) * unit); /* 0 at first, when old is -inf */
    w->top[r] = now;
    w->total[r] = w->total[r] * shrink + vec_sum(total);
    if (shrink > 0.0f && shrink < 1.0f)
        for (int64_t d = 0; d < w->padded; d++)
            w->sum[r * w->padded + d] *= shrink;
}

/* `rows` queries from t on against the keys from `begin` on, as many as a chunk has. */
static void meet(const struct heads *h, struct work *w, struct head query, int64_t t, int rows,
                 int64_t begin)
{
    const float unit = 1.44269504f / sqrtf((float)h->size);
    const int64_t left = t + rows - begin, width = left < CHUNK ? left : CHUNK;
    const struct tile_left queries = tile_left_rows(head_row(query, t), query.row, h->is16);
    const struct tile_left weights = tile_left_rows(w->p, CHUNK, h->is16);
    for (int64_t j = 0; j < width; j += COLS)
        tile_multiply(w->score + j, CHUNK, queries, key_panel(h, w, begin + j), h->size, rows,
                      false);
    for (int r = 0; r < rows; r++) {
        const int64_t seen = t + r + 1 - begin < width ? t + r + 1 - begin : width;
        if (h->is16)
            soften(w, r, seen, width, unit, true);
        else
            soften(w, r, seen, width, unit, false);
    }
    for (int64_t d = 0; d < w->padded; d += COLS)
        tile_multiply(w->sum + d, w->padded, weights,
                      tile_panel_row(value_panel(h, w, d), begin, h->is16), width, rows, begin > 0);
}

/* `rows` queries from t on. */
static void attend(const struct heads *h, struct work *w, struct head query, struct head out,
                   float *stats, int64_t t, int rows)
{
    for (int r = 0; r < rows; r++) {
        w->top[r] = -INFINITY;
        w->total[r] = 0.0f;
    }
    for (int64_t begin = 0; begin < t + rows; begin += CHUNK)
        meet(h, w, query, t, rows, begin);
    for (int r = 0; r < rows; r++) {
        stats[t + r] = w->top[r] / sqrtf((float)h->size) + logf(w->total[r]);
        head_store(h, out, t + r, w->sum + r * w->padded, 1.0f / w->total[r]);
    }
}

enum shoal_status cpu_attention(struct device *dev, struct view out, struct view stats,
                                struct view qkv, struct attention_shape shape)
{
    const struct heads heads = heads_of(qkv, shape), *const h = &heads;
    const int64_t n = h->batch * h->count, bytes = work_bytes(h);
    const int team = cpu_team(dev, n * h->context * h->context * h->size / 16);
    char *memory;
    SHOAL_TRY(cpu_scratch(dev, (size_t)(team * bytes), &memory));
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < n; i++) {
        struct work *const w = (struct work *)(void *)(memory + omp_get_thread_num() * bytes);
        (void)lay_out(h, w);
        pack(h, w, head_in_qkv(h, qkv, i / h->group, HEAD_KEY),
             head_in_qkv(h, qkv, i / h->group, HEAD_VALUE));
        for (int64_t t = 0; t < h->context; t += ROWS)
            attend(h, w, head_in_qkv(h, qkv, i, HEAD_QUERY), head_in_out(h, out, i),
                   (float *)stats.data + i * h->context, t,
                   (int)(h->context - t < ROWS ? h->context - t : ROWS));
    }
    return SHOAL_OK;
}
