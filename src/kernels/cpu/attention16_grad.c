/* attention16_grad.c - causal attention in bf16, backward; the formulas are in attention_grad.c.
 *
 * A task is one head of keys and values of one sequence with all heads of queries that share it.
 * TILE queries meet TILE keys at a time: p and ds are computed in f32, rounded to bf16 and packed,
 * so that their transposes can be read as left operands: dv += p^T . dout, dk += ds^T . q,
 * dq += ds . k. On the diagonal, products start and stop where the mask does. */
#include "kernels/cpu/attention16.h"
#include "kernels/cpu/tile16.h"

#if TILE16
#include <math.h>
#include <omp.h>
#include <string.h>
#include "kernels/cpu/tile.h"
#include "kernels/cpu/vec.h"

enum { COLS = TILE16_COLS, ROWS = TILE16_ROWS, SIDE = TILE16_COLS /* of a tile of scores */ };

/* One thread's memory. `padded`: the head's size in whole panels; `context` likewise. */
struct work {
    float score[SIDE * SIDE], gain[SIDE * SIDE]; /* q . k, dout . v; rows are queries */
    uint16_t p[SIDE * SIDE], ds[SIDE * SIDE];
    uint16_t p_panel[SIDE * COLS], ds_panel[SIDE * COLS];
    float stats[SIDE], delta[SIDE];
    int64_t padded, context;
    uint16_t *keys_t, *values_t; /* panels of COLS keys each, (size, COLS) */
    uint16_t *keys;              /* for each SIDE keys, panels of COLS numbers of them */
    uint16_t *query, *dout;      /* the same of SIDE queries */
    float *dkeys, *dvalues;      /* (context, padded): sums over queries */
    float *dquery;               /* (SIDE, padded) */
};

/* Lay w's arrays out behind it; returns the bytes of all. */
static int64_t lay_out(const struct heads *h, struct work *w)
{
    char *at = (char *)w + round_up((int64_t)sizeof *w, 64);
    w->padded = round_up(h->size, COLS);
    w->context = round_up(h->context, SIDE);
    const int64_t all = w->context * w->padded, tile = SIDE * w->padded;
    w->dkeys = (float *)(void *)at;
    w->dvalues = w->dkeys + all;
    w->dquery = w->dvalues + all;
    w->keys_t = (uint16_t *)(void *)(w->dquery + tile);
    w->values_t = w->keys_t + w->context * h->size;
    w->keys = w->values_t + w->context * h->size;
    w->query = w->keys + all;
    w->dout = w->query + tile;
    return round_up((char *)(w->dout + tile) - (char *)w, 64);
}

static int64_t work_bytes(const struct heads *h)
{
    struct work w;
    return lay_out(h, &w);
}

static const uint16_t *row_of(struct head head, int64_t t)
{
    return (const uint16_t *)head.data + head.at + t * head.row;
}

/* Rows t .. t + n - 1 of a head, n <= SIDE, as panels of SIDE rows; those that miss are zero. */
static void pack_rows(const struct heads *h, uint16_t *to, struct head from, int64_t t, int64_t n)
{
    const int64_t even = n / 2 * 2;
    for (int64_t d = 0; d < h->size; d += COLS, to += SIDE * COLS) {
        const int64_t cols = h->size - d < COLS ? h->size - d : COLS;
        tile16_pack(to, row_of(from, t) + d, from.row, even, cols);
        memset(to + even * COLS, 0, (size_t)((SIDE - even) * COLS) * sizeof *to);
        for (int64_t j = 0; even < n && j < cols; j++)
            to[even * COLS + 2 * j] = row_of(from, t + even)[d + j];
    }
}

static void pack_keys(const struct heads *h, struct work *w, struct head key, struct head value)
{
    for (int64_t t = 0; t < h->context; t += SIDE) {
        const int64_t n = h->context - t < SIDE ? h->context - t : SIDE;
        tile16_pack_transposed(w->keys_t + t * h->size, row_of(key, t), key.row, h->size, n);
        tile16_pack_transposed(w->values_t + t * h->size, row_of(value, t), value.row, h->size, n);
        pack_rows(h, w->keys + t * w->padded, key, t, n);
    }
    memset(w->dkeys, 0, (size_t)(2 * w->context * w->padded) * sizeof *w->dkeys);
}

/* Where the numbers of one head of queries come from and go to. */
struct task {
    struct head query, dquery, dout, out;
    const float *stats;
};

static float dot(const uint16_t *x, const uint16_t *y, int64_t n)
{
    vec sum = vec_all(0.0f);
    for (int64_t i = 0; i < n; i += VEC) {
        const int64_t count = n - i < VEC ? n - i : VEC;
        sum = vec_fma(vec_get(x, i, count, true), vec_get(y, i, count, true), sum);
    }
    return vec_sum(sum);
}

static void load_queries(const struct heads *h, struct work *w, const struct task *task, int64_t t,
                         int64_t n)
{
    pack_rows(h, w->query, task->query, t, n);
    pack_rows(h, w->dout, task->dout, t, n);
    for (int64_t i = 0; i < n; i++) {
        w->stats[i] = task->stats[t + i];
        w->delta[i] = dot(row_of(task->dout, t + i), row_of(task->out, t + i), h->size);
    }
    memset(w->dquery, 0, (size_t)(SIDE * w->padded) * sizeof *w->dquery);
}

/* p and ds of query i of the tile, which sees `seen` of the keys. */
static void soften_grad(struct work *w, int64_t i, int64_t seen, float scale)
{
    const float unit = scale * 1.44269504f, stats = w->stats[i] * 1.44269504f;
    float *const score = w->score + i * SIDE;
    for (int64_t j = seen; j < SIDE; j++) {
        score[j] = -INFINITY;
        w->gain[i * SIDE + j] = 0.0f;
    }
    for (int64_t j = 0; j < SIDE; j += VEC) {
        const vec p = vec_exp2(vec_get(score, j, VEC, false) * unit - stats, true);
        const vec gain = vec_get(w->gain, i * SIDE + j, VEC, false) - w->delta[i];
        vec_put(w->p, i * SIDE + j, VEC, true, p);
        vec_put(w->ds, i * SIDE + j, VEC, true, p * gain * scale);
    }
}

static int few(int64_t rows)
{
    return rows < ROWS ? (int)rows : ROWS;
}

/* p and ds of n queries from row t on and the keys from row `key` on; on the diagonal t == key. */
static void probabilities(const struct heads *h, struct work *w, const struct task *task, int64_t t,
                          int64_t n, int64_t key)
{
    const float scale = 1.0f / sqrtf((float)h->size);
    for (int64_t i = 0; i < n; i += ROWS) {
        const int rows = few(n - i);
        tile16_multiply(w->score + i * SIDE, SIDE, row_of(task->query, t + i), task->query.row, 2,
                        w->keys_t + key * h->size, h->size, rows, false);
        tile16_multiply(w->gain + i * SIDE, SIDE, row_of(task->dout, t + i), task->dout.row, 2,
                        w->values_t + key * h->size, h->size, rows, false);
    }
    for (int64_t i = 0; i < n; i++)
        soften_grad(w, i, t > key ? SIDE : i + 1, scale);
    const size_t rest = (size_t)((SIDE - n) * SIDE) * sizeof *w->p;
    memset(w->p + n * SIDE, 0, rest);
    memset(w->ds + n * SIDE, 0, rest);
    tile16_pack(w->p_panel, w->p, SIDE, SIDE, SIDE);
    tile16_pack(w->ds_panel, w->ds, SIDE, SIDE, SIDE);
}

/* dquery += ds . k, for n queries. */
static void pull_queries(struct work *w, int64_t n, int64_t key, bool diagonal)
{
    for (int64_t d = 0; d < w->padded; d += COLS)
        for (int64_t i = 0; i < n; i += ROWS) {
            const int64_t seen = diagonal ? round_up(i + few(n - i), 2) : SIDE;
            tile16_multiply(w->dquery + i * w->padded + d, w->padded, w->ds + i * SIDE, SIDE, 2,
                            w->keys + key * w->padded + d * SIDE, seen, few(n - i), true);
        }
}

/* sums (SIDE keys, padded) += weights^T . rows; on the diagonal, earlier queries do not see. */
static void pull_keys(const struct work *w, float *sums, const uint16_t *weights,
                      const uint16_t *rows, bool diagonal)
{
    for (int64_t d = 0; d < w->padded; d += COLS)
        for (int64_t j = 0; j < SIDE; j += ROWS) {
            const int64_t first = diagonal ? j / 2 * 2 : 0;
            tile16_multiply(sums + j * w->padded + d, w->padded, weights + first * COLS + 2 * j, 2,
                            2 * COLS, rows + d * SIDE + first * COLS, SIDE - first, few(SIDE - j),
                            true);
        }
}

/* Rows [t, t + n) of the tensor = from (n, row). */
static void store(const struct heads *h, struct head to, const float *from, int64_t row, int64_t t,
                  int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t *const out = (uint16_t *)to.data + to.at + (t + i) * to.row;
        for (int64_t d = 0; d < h->size; d += VEC) {
            const int64_t count = h->size - d < VEC ? h->size - d : VEC;
            vec_put(out, d, count, true, vec_get(from, i * row + d, VEC, false));
        }
    }
}

/* All queries of one head. */
static void attend_grad(const struct heads *h, struct work *w, const struct task *task)
{
    for (int64_t t = 0; t < h->context; t += SIDE) {
        const int64_t n = h->context - t < SIDE ? h->context - t : SIDE;
        load_queries(h, w, task, t, n);
        for (int64_t key = 0; key <= t; key += SIDE) {
            probabilities(h, w, task, t, n, key);
            pull_queries(w, n, key, key == t);
            pull_keys(w, w->dvalues + key * w->padded, w->p_panel, w->dout, key == t);
            pull_keys(w, w->dkeys + key * w->padded, w->ds_panel, w->query, key == t);
        }
        store(h, task->dquery, w->dquery, w->padded, t, n);
    }
}

struct gradient {
    struct view dqkv, dout, out, stats, qkv;
};

/* Head `index` of keys and values, with its queries. */
static void shared_grad(const struct heads *h, struct work *w, const struct gradient *g,
                        int64_t index)
{
    pack_keys(h, w, head_in_qkv(h, g->qkv, index, HEAD_KEY),
              head_in_qkv(h, g->qkv, index, HEAD_VALUE));
    for (int64_t i = index * h->group; i < (index + 1) * h->group; i++) {
        const struct task task = {head_in_qkv(h, g->qkv, i, HEAD_QUERY),
                                  head_in_qkv(h, g->dqkv, i, HEAD_QUERY),
                                  head_in_out(h, g->dout, i), head_in_out(h, g->out, i),
                                  (const float *)g->stats.data + i * h->context};
        attend_grad(h, w, &task);
    }
    store(h, head_in_qkv(h, g->dqkv, index, HEAD_KEY), w->dkeys, w->padded, 0, h->context);
    store(h, head_in_qkv(h, g->dqkv, index, HEAD_VALUE), w->dvalues, w->padded, 0, h->context);
}

enum shoal_status attention16_grad(struct device *dev, const struct heads *h, struct view dqkv,
                                   struct view dout, struct view out, struct view stats,
                                   struct view qkv)
{
    const struct gradient g = {dqkv, dout, out, stats, qkv};
    const int64_t n = h->batch * h->kv_count, bytes = work_bytes(h);
    const int team = cpu_team(dev, n * h->group * h->context * h->context * h->size / 16);
    char *memory;
    SHOAL_TRY(cpu_scratch(dev, (size_t)(team * bytes), &memory));
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < n; i++) {
        struct work *const w = (struct work *)(void *)(memory + omp_get_thread_num() * bytes);
        lay_out(h, w);
        shared_grad(h, w, &g, i);
    }
    return SHOAL_OK;
}
#else
enum shoal_status attention16_grad(struct device *dev, const struct heads *h, struct view dqkv,
                                   struct view dout, struct view out, struct view stats,
                                   struct view qkv)
{
    (void)dev, (void)h, (void)dqkv, (void)dout, (void)out, (void)stats, (void)qkv;
    return SHOAL_FAIL(SHOAL_ENOTSUP, "attention: bf16 products are not compiled in");
}
#endif
