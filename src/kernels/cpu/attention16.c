/* attention16.c - causal attention in bf16, forward.
 *
 * A task is one head of queries of one sequence. Its keys are packed transposed and its values as
 * they are; then a few queries at a time, as many as a tile has rows, meet up to CHUNK keys: scores
 * = q . K^T for all of them, softmax over the row, out = p . V with p rounded to bf16. Contexts
 * longer than CHUNK go on with a running maximum and sum (Dao et al. 2022). Keys right of the
 * diagonal are left out, but for what fills a tile up. */
#include "kernels/cpu/attention16.h"
#include "kernels/cpu/tile16.h"

bool attention16_covers(const struct device *dev, const struct heads *h)
{
    return TILE16 && h->is16 && ((const struct cpu_device *)dev)->vectors16 && h->size % 2 == 0;
}

#if TILE16
#include <math.h>
#include <omp.h>
#include "kernels/cpu/tile.h"
#include "kernels/cpu/vec.h"

enum { COLS = TILE16_COLS, ROWS = TILE16_ROWS, CHUNK = 512 };

/* One thread's memory. */
struct work {
    float score[ROWS * CHUNK];
    uint16_t p[ROWS * CHUNK];     /* e^(score - top) */
    float top[ROWS], total[ROWS]; /* of each row so far */
    uint16_t *keys, *values;      /* panels: of COLS keys each; of COLS numbers of all keys each */
    float *sum;                   /* (ROWS, padded): sum of p v */
    int64_t padded, padded_context; /* size and context, in whole panels */
};

static int64_t work_bytes(const struct heads *h)
{
    const int64_t padded = round_up(h->size, COLS), context = round_up(h->context, COLS);
    const int64_t panels = context * (h->size + padded) * (int64_t)sizeof(uint16_t);
    return round_up((int64_t)sizeof(struct work), 64) + panels +
           ROWS * padded * (int64_t)sizeof(float);
}

static struct work *work_at(const struct heads *h, char *base, int64_t thread)
{
    char *const at = base + thread * round_up(work_bytes(h), 64);
    struct work *const w = (struct work *)(void *)at;
    w->padded = round_up(h->size, COLS);
    w->padded_context = round_up(h->context, COLS);
    w->sum = (float *)(void *)(at + round_up((int64_t)sizeof *w, 64));
    w->keys = (uint16_t *)(void *)(w->sum + ROWS * w->padded);
    w->values = w->keys + w->padded_context * h->size;
    return w;
}

static const uint16_t *row_of(struct head head, int64_t t)
{
    return (const uint16_t *)head.data + head.at + t * head.row;
}

static void pack(const struct heads *h, struct work *w, struct head key, struct head value)
{
    for (int64_t t = 0; t < h->context; t += COLS) {
        const int64_t n = h->context - t < COLS ? h->context - t : COLS;
        tile16_pack_transposed(w->keys + t * h->size, row_of(key, t), key.row, h->size, n);
    }
    /* An odd context has one row of zeros more. */
    const int64_t even = h->context / 2 * 2;
    for (int64_t d = 0; d < h->size; d += COLS) {
        const int64_t n = h->size - d < COLS ? h->size - d : COLS;
        uint16_t *const panel = w->values + d * w->padded_context;
        tile16_pack(panel, row_of(value, 0) + d, value.row, even, n);
        for (int64_t j = 0; even < h->context && j < COLS; j++) {
            panel[even * COLS + 2 * j] = j < n ? row_of(value, even)[d + j] : 0;
            panel[even * COLS + 2 * j + 1] = 0;
        }
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
static void soften(struct work *w, int r, int64_t seen, int64_t width, float unit)
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
        const vec p = vec_exp2((vec_get(score, j, VEC, false) - now) * unit, true);
        total += p;
        vec_put(w->p, r * CHUNK + j, VEC, true, p);
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
    for (int64_t j = 0; j < width; j += COLS)
        tile16_multiply(w->score + j, CHUNK, row_of(query, t), query.row, 2,
                        w->keys + (begin + j) * h->size, h->size, rows, false);
    for (int r = 0; r < rows; r++)
        soften(w, r, t + r + 1 - begin < width ? t + r + 1 - begin : width, width, unit);
    for (int64_t d = 0; d < w->padded; d += COLS)
        tile16_multiply(w->sum + d, w->padded, w->p, CHUNK, 2,
                        w->values + d * w->padded_context + begin * COLS, round_up(width, 2), rows,
                        begin > 0);
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
        uint16_t *const to = (uint16_t *)out.data + out.at + (t + r) * out.row;
        const float share = 1.0f / w->total[r];
        stats[t + r] = w->top[r] / sqrtf((float)h->size) + logf(w->total[r]);
        for (int64_t d = 0; d < h->size; d += VEC) {
            const int64_t count = h->size - d < VEC ? h->size - d : VEC;
            vec_put(to, d, count, true, vec_get(w->sum, r * w->padded + d, VEC, false) * share);
        }
    }
}

enum shoal_status attention16(struct device *dev, const struct heads *h, struct view out,
                              struct view stats, struct view qkv)
{
    const int64_t n = h->batch * h->count;
    const int team = cpu_team(dev, n * h->context * h->context * h->size / 16);
    char *memory;
    SHOAL_TRY(cpu_scratch(dev, (size_t)(team * round_up(work_bytes(h), 64)), &memory));
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < n; i++) {
        struct work *const w = work_at(h, memory, omp_get_thread_num());
        pack(h, w, head_in_qkv(h, qkv, i / h->group, HEAD_KEY),
             head_in_qkv(h, qkv, i / h->group, HEAD_VALUE));
        for (int64_t t = 0; t < h->context; t += ROWS)
            attend(h, w, head_in_qkv(h, qkv, i, HEAD_QUERY), head_in_out(h, out, i),
                   (float *)stats.data + i * h->context, t,
                   (int)(h->context - t < ROWS ? h->context - t : ROWS));
    }
    return SHOAL_OK;
}
#else
enum shoal_status attention16(struct device *dev, const struct heads *h, struct view out,
                              struct view stats, struct view qkv)
{
    (void)dev, (void)h, (void)out, (void)stats, (void)qkv;
    return SHOAL_FAIL(SHOAL_ENOTSUP, "attention: bf16 products are not compiled in");
}
#endif
