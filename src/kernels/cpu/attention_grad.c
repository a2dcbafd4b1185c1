/* attention_grad.c - causal attention, backward.
 *
 * p = e^(score - stats) is computed again from the saved log-sum-exp. With delta = dout . out,
 *   dv += p^T dout,   ds = p (dout v^T - delta) scale,   dq += ds k,   dk += ds^T q.
 * A task is one head of keys and values of one sequence with all heads of queries that share it,
 * and runs in one thread, SIDE queries against SIDE keys at a time, so sums have one order whatever
 * the team. p and ds are computed in f32, rounded to the type of qkv and packed, so that their
 * transposes can be read as left operands. On the diagonal, products start and stop where the mask
 * does. */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <string.h>
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/heads.h"
#include "kernels/cpu/tile.h"

enum { COLS = TILE_COLS, ROWS = TILE_ROWS, SIDE = 64 /* of a tile of scores */ };
static_assert(SIDE % TILE_COLS == 0, "a tile of scores is whole panels");

/* One thread's memory. `padded`: the head's size in whole panels; `context` in whole tiles. What is
 * char is of the type of qkv; f32 arrays that become it have room for either. */
struct work {
    float score[SIDE * SIDE], gain[SIDE * SIDE]; /* q . k, dout . v; rows are queries */
    float p[SIDE * SIDE], ds[SIDE * SIDE];
    float p_panels[SIDE * SIDE], ds_panels[SIDE * SIDE]; /* of COLS keys each */
    float stats[SIDE], delta[SIDE];
    int64_t padded, context;
    float *dkeys, *dvalues;  /* (context, padded): sums over queries */
    float *dquery;           /* (SIDE, padded) */
    char *keys_t, *values_t; /* panels of COLS keys each, (size, COLS) */
    char *keys;              /* for each SIDE keys, panels of COLS numbers of them */
    char *query, *dout;      /* the same of SIDE queries */
    int64_t key_panel_bytes; /* of one of keys_t and values_t */
    int64_t panel_bytes;     /* of one of the others: SIDE rows */
    int64_t panels_bytes;    /* of all that SIDE rows have */
};

/* Lay w's arrays out behind it; returns the bytes of all. */
static int64_t lay_out(const struct heads *h, struct work *w)
{
    char *const at = (char *)w + round_up((int64_t)sizeof *w, 64);
    w->padded = round_up(h->size, COLS);
    w->context = round_up(h->context, SIDE);
    w->key_panel_bytes = tile_panel_bytes(h->size, h->is16);
    w->panel_bytes = tile_panel_bytes(SIDE, h->is16);
    w->panels_bytes = w->padded / COLS * w->panel_bytes;
    w->dkeys = (float *)(void *)at;
    w->dvalues = w->dkeys + w->context * w->padded;
    w->dquery = w->dvalues + w->context * w->padded;
    w->keys_t = (char *)(w->dquery + SIDE * w->padded);
    w->values_t = w->keys_t + w->context / COLS * w->key_panel_bytes;
    w->keys = w->values_t + w->context / COLS * w->key_panel_bytes;
    w->query = w->keys + w->context / SIDE * w->panels_bytes;
    w->dout = w->query + w->panels_bytes;
    return round_up(w->dout + w->panels_bytes - (char *)w, 64);
}

static int64_t work_bytes(const struct heads *h)
{
    struct work w;
    return lay_out(h, &w);
}

/* Rows t .. t + n - 1 of a head, n <= SIDE, as panels of SIDE rows; those that miss are zero. */
static void pack_rows(const struct heads *h, const struct work *w, char *to, struct head from,
                      int64_t t, int64_t n)
{
    const int64_t used = tile_panel_bytes(n, h->is16);
    for (int64_t d = 0; d < h->size; d += COLS, to += w->panel_bytes) {
        tile_pack(to, element_at(head_row(from, t), d, h->is16), from.row, n,
                  h->size - d < COLS ? h->size - d : COLS, h->is16);
        memset(to + used, 0, (size_t)(w->panel_bytes - used));
    }
}

static void pack_keys(const struct heads *h, struct work *w, struct head key, struct head value)
{
    for (int64_t t = 0; t < h->context; t += COLS) {
        const int64_t n = h->context - t < COLS ? h->context - t : COLS;
        const int64_t at = t / COLS * w->key_panel_bytes;
        tile_pack_transposed(w->keys_t + at, head_row(key, t), key.row, h->size, n, h->is16);
        tile_pack_transposed(w->values_t + at, head_row(value, t), value.row, h->size, n, h->is16);
    }
    for (int64_t t = 0; t < h->context; t += SIDE)
        pack_rows(h, w, w->keys + t / SIDE * w->panels_bytes, key, t,
                  h->context - t < SIDE ? h->context - t : SIDE);
    memset(w->dkeys, 0, (size_t)(2 * w->context * w->padded) * sizeof *w->dkeys);
}

/* Where the numbers of one head of queries come from and go to. */
struct task {
    struct head query, dquery, dout, out;
    const float *stats;
};

SPECIALISED float dot(const void *x, const void *y, int64_t n, bool is16)
{
    vec sum = vec_all(0.0f);
    for (int64_t i = 0; i < n; i += VEC) {
        const int64_t count = n - i < VEC ? n - i : VEC;
        sum = vec_fma(vec_get(x, i, count, is16), vec_get(y, i, count, is16), sum);
    }
    return vec_sum(sum);
}

static void load_queries(const struct heads *h, struct work *w, const struct task *task, int64_t t,
                         int64_t n)
{
    pack_rows(h, w, w->query, task->query, t, n);
    pack_rows(h, w, w->dout, task->dout, t, n);
    for (int64_t i = 0; i < n; i++) {
        const void *const dout = head_row(task->dout, t + i), *const out =
                                                                  head_row(task->out, t + i);
        w->stats[i] = task->stats[t + i];
        w->delta[i] = h->is16 ? dot(dout, out, h->size, true) : dot(dout, out, h->size, false);
    }
    memset(w->dquery, 0, (size_t)(SIDE * w->padded) * sizeof *w->dquery);
}

/* p and ds of query i of the tile, which sees `seen` of the keys. */
SPECIALISED void soften_grad(struct work *w, int64_t i, int64_t seen, float scale, bool is16)
{
    const float unit = scale * 1.44269504f, stats = w->stats[i] * 1.44269504f;
    float *const score = w->score + i * SIDE;
    for (int64_t j = seen; j < SIDE; j++) {
        score[j] = -INFINITY;
        w->gain[i * SIDE + j] = 0.0f;
    }
    for (int64_t j = 0; j < SIDE; j += VEC) {
        const vec p = vec_exp2(vec_load(score + j, false) * unit - stats, is16);
        const vec gain = vec_load(w->gain + i * SIDE + j, false) - w->delta[i];
        vec_put(w->p, i * SIDE + j, VEC, is16, p);
        vec_put(w->ds, i * SIDE + j, VEC, is16, p * gain * scale);
    }
}

static int few(int64_t rows)
{
    return rows < ROWS ? (int)rows : ROWS;
}

/* x (SIDE, SIDE), whose rows from n on become zero, as panels. */
static void pack_tile(const struct heads *h, float *panels, float *x, int64_t n)
{
    char *const rest = element_at(x, n * SIDE, h->is16), *const end =
                                                             element_at(x, SIDE * SIDE, h->is16);
    memset(rest, 0, (size_t)(end - rest));
    for (int64_t j = 0; j < SIDE; j += COLS)
        tile_pack(tile_panel_row(panels, j / COLS * SIDE, h->is16), element_at(x, j, h->is16), SIDE,
                  SIDE, COLS, h->is16);
}

/* p and ds of n queries from row t on and the keys from row `key` on; on the diagonal t == key. */
static void probabilities(const struct heads *h, struct work *w, const struct task *task, int64_t t,
                          int64_t n, int64_t key)
{
    const float scale = 1.0f / sqrtf((float)h->size);
    for (int64_t i = 0; i < n; i += ROWS)
        for (int64_t j = 0; j < SIDE; j += COLS) {
            const int64_t at = (key + j) / COLS * w->key_panel_bytes;
            tile_multiply(w->score + i * SIDE + j, SIDE,
                          tile_left_rows(head_row(task->query, t + i), task->query.row, h->is16),
                          w->keys_t + at, h->size, few(n - i), false);
            tile_multiply(w->gain + i * SIDE + j, SIDE,
                          tile_left_rows(head_row(task->dout, t + i), task->dout.row, h->is16),
                          w->values_t + at, h->size, few(n - i), false);
        }
    for (int64_t i = 0; i < n; i++) {
        if (h->is16)
            soften_grad(w, i, t > key ? SIDE : i + 1, scale, true);
        else
            soften_grad(w, i, t > key ? SIDE : i + 1, scale, false);
    }
    pack_tile(h, w->p_panels, w->p, n);
    pack_tile(h, w->ds_panels, w->ds, n);
}

/* dquery += ds . k, for n queries. */
static void pull_queries(const struct heads *h, struct work *w, int64_t n, int64_t key,
                         bool diagonal)
{
    const char *panel = w->keys + key / SIDE * w->panels_bytes;
    for (int64_t d = 0; d < w->padded; d += COLS, panel += w->panel_bytes)
        for (int64_t i = 0; i < n; i += ROWS)
            tile_multiply(w->dquery + i * w->padded + d, w->padded,
                          tile_left_rows(element_at(w->ds, i * SIDE, h->is16), SIDE, h->is16),
                          panel, diagonal ? i + few(n - i) : SIDE, few(n - i), true);
}

/* sums (SIDE keys, padded) += weights^T . rows; on the diagonal, earlier queries do not see. */
static void pull_keys(const struct heads *h, const struct work *w, float *sums,
                      const float *weights, const char *rows, bool diagonal)
{
    for (int64_t d = 0; d < w->padded; d += COLS, rows += w->panel_bytes)
        for (int64_t key = 0; key < SIDE; key += COLS)
            for (int64_t j = 0; j < COLS; j += ROWS) {
                const int64_t first = diagonal ? (key + j) / 2 * 2 : 0;
                const void *const from =
                    tile_panel_row(weights, key / COLS * SIDE + first, h->is16);
                tile_multiply(sums + (key + j) * w->padded + d, w->padded,
                              tile_left_at(tile_left_panel(from, h->is16), j),
                              tile_panel_row(rows, first, h->is16), SIDE - first, few(COLS - j),
                              true);
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
            pull_queries(h, w, n, key, key == t);
            pull_keys(h, w, w->dvalues + key * w->padded, w->p_panels, w->dout, key == t);
            pull_keys(h, w, w->dkeys + key * w->padded, w->ds_panels, w->query, key == t);
        }
        for (int64_t i = 0; i < n; i++)
            head_store(h, task->dquery, t + i, w->dquery + i * w->padded, 1.0f);
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
    const struct head dkey = head_in_qkv(h, g->dqkv, index, HEAD_KEY);
    const struct head dvalue = head_in_qkv(h, g->dqkv, index, HEAD_VALUE);
    for (int64_t t = 0; t < h->context; t++) {
        head_store(h, dkey, t, w->dkeys + t * w->padded, 1.0f);
        head_store(h, dvalue, t, w->dvalues + t * w->padded, 1.0f);
    }
}

enum shoal_status cpu_attention_grad(struct device *dev, struct view dqkv, struct view dout,
                                     struct view out, struct view stats, struct view qkv,
                                     struct attention_shape shape)
{
    const struct heads heads = heads_of(qkv, shape), *const h = &heads;
    const struct gradient g = {dqkv, dout, out, stats, qkv};
    const int64_t n = h->batch * h->kv_count, bytes = work_bytes(h);
    const int team = cpu_team(dev, n * h->group * h->context * h->context * h->size / 16);
    char *memory;
    SHOAL_TRY(cpu_scratch(dev, (size_t)(team * bytes), &memory));
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < n; i++) {
        struct work *const w = (struct work *)(void *)(memory + omp_get_thread_num() * bytes);
        (void)lay_out(h, w);
        shared_grad(h, w, &g, i);
    }
    return SHOAL_OK;
}
