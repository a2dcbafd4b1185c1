/* attention_grad.c - causal attention, backward.
 *
 * p = e^(score - stats) is computed again from the saved log-sum-exp. With delta = dout . out,
 *   dv += p^T dout,   ds = p (dout v^T - delta),   dq += ds k scale,   dk += ds^T q scale.
 * A task is one head of keys and values of one sequence with all heads of queries that share it,
 * and runs in one thread, TILE queries against TILE keys at a time, so sums have one order whatever
 * the team. The scale is in the loaded queries; on the diagonal, products start and stop where the
 * mask does. */
#include <math.h>
#include <omp.h>
#include "kernels/cpu/attention16.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/heads.h"
#include "kernels/cpu/simd_math.h"
#include "kernels/cpu/tile.h"

/* One thread's memory, all f32. */
struct work {
    float *keys_t, *values_t;     /* (padded_size, TILE) a tile */
    float *keys;                  /* (padded_context, padded_size) */
    float *dkeys, *dvalues;       /* the same: sums over queries */
    float *query, *dout, *dquery; /* (TILE, padded_size) */
    float p[TILE * TILE];         /* probabilities; rows are queries */
    float ds[TILE * TILE];        /* gradient of the scores */
    float stats[TILE], delta[TILE];
};

/* Floats behind the struct. */
static int64_t work_floats(const struct heads *h)
{
    return (5 * h->padded_context + 3 * TILE) * h->padded_size;
}

static struct work *work_at(const struct heads *h, char *base, int64_t thread)
{
    const int64_t bytes = (int64_t)sizeof(struct work) + work_floats(h) * (int64_t)sizeof(float);
    const int64_t all = h->padded_context * h->padded_size, tile = TILE * h->padded_size;
    struct work *const w = (struct work *)(void *)(base + thread * round_up(bytes, 64));
    w->keys_t = (float *)(void *)(w + 1);
    w->values_t = w->keys_t + all;
    w->keys = w->values_t + all;
    w->dkeys = w->keys + all;
    w->dvalues = w->dkeys + all;
    w->query = w->dvalues + all;
    w->dout = w->query + tile;
    w->dquery = w->dout + tile;
    return w;
}

/* One row's p and ds from its scores (in p) and dout . v (in ds). */
static void soften_grad(float *p, float *ds, float stats, float delta, int seen)
{
#pragma omp simd
    for (int j = 0; j < TILE; j++) {
        const float e = j < seen ? simd_exp(p[j] - stats) : 0.0f;
        ds[j] = j < seen ? e * (ds[j] - delta) : 0.0f;
        p[j] = e;
    }
}

/* p and ds of TILE_ROWS queries from row i on; `seen`: keys the first of them may see. */
static void probabilities(const struct heads *h, struct work *w, int64_t i, int64_t key_tile,
                          int64_t seen)
{
    const int64_t size = h->padded_size, most = seen + TILE_ROWS - 1;
    const struct tile_product score = {.c = w->p + i * TILE,
                                       .c_row = TILE,
                                       .a = w->query + i * size,
                                       .a_row = size,
                                       .a_col = 1,
                                       .b = w->keys_t + key_tile * TILE * size,
                                       .b_row = TILE,
                                       .n = most < TILE ? round_up(most, TILE_VECTOR) : TILE,
                                       .k = h->size};
    struct tile_product gain = score;
    gain.c = w->ds + i * TILE;
    gain.a = w->dout + i * size;
    gain.b = w->values_t + key_tile * TILE * size;
    tile_multiply(&score);
    tile_multiply(&gain);
    for (int64_t r = i; r < i + TILE_ROWS; r++)
        soften_grad(w->p + r * TILE, w->ds + r * TILE, w->stats[r], w->delta[r],
                    (int)(seen + r - i));
}

/* dquery of the same queries += ds . k */
static void pull_queries(const struct heads *h, struct work *w, int64_t i, int64_t key_tile,
                         int64_t seen)
{
    const int64_t size = h->padded_size, most = seen + TILE_ROWS - 1;
    const struct tile_product t = {.c = w->dquery + i * size,
                                   .c_row = size,
                                   .a = w->ds + i * TILE,
                                   .a_row = TILE,
                                   .a_col = 1,
                                   .b = w->keys + key_tile * TILE * size,
                                   .b_row = size,
                                   .n = size,
                                   .k = most < TILE ? most : TILE,
                                   .add = true};
    tile_multiply(&t);
}

/* sums += weights^T . rows, for TILE_ROWS keys from j on and the queries [first, n). */
static void pull_keys(const struct heads *h, float *sums, const float *weights, const float *rows,
                      int64_t j, int64_t first, int64_t n)
{
    const struct tile_product t = {.c = sums + j * h->padded_size,
                                   .c_row = h->padded_size,
                                   .a = weights + first * TILE + j,
                                   .a_row = 1,
                                   .a_col = TILE,
                                   .b = rows + first * h->padded_size,
                                   .b_row = h->padded_size,
                                   .n = h->padded_size,
                                   .k = n - first,
                                   .add = true};
    tile_multiply(&t);
}

/* Queries [t, t + n), already loaded, against one tile of keys. */
static void meet(const struct heads *h, struct work *w, int64_t t, int64_t n, int64_t key_tile)
{
    const int64_t below = t - key_tile * TILE; /* 0 on the diagonal */
    float *const dkeys = w->dkeys + key_tile * TILE * h->padded_size;
    float *const dvalues = w->dvalues + key_tile * TILE * h->padded_size;
    for (int64_t i = 0; i < n; i += TILE_ROWS) {
        probabilities(h, w, i, key_tile, below + i + 1);
        pull_queries(h, w, i, key_tile, below + i + 1);
    }
    for (int64_t j = 0; j < TILE; j += TILE_ROWS) {
        const int64_t first = below > 0 ? 0 : j; /* earlier queries do not see these keys */
        if (first >= n) break;
        pull_keys(h, dvalues, w->p, w->dout, j, first, n);
        pull_keys(h, dkeys, w->ds, w->query, j, first, n);
    }
}

/* Where the numbers of one head of queries come from and go to. */
struct task {
    struct head query, dquery, dout, out;
    const float *stats;
};

static void load_queries(const struct heads *h, struct work *w, const struct task *task, int64_t t,
                         int64_t n)
{
    const int64_t size = h->padded_size;
    /* out is needed for delta only: it borrows dquery's place */
    head_load(h, w->dquery, task->out, t, TILE, 1.0f);
    head_load(h, w->dout, task->dout, t, TILE, 1.0f);
    head_load(h, w->query, task->query, t, TILE, 1.0f / sqrtf((float)h->size));
    for (int64_t i = 0; i < TILE; i++) {
        float delta = 0.0f;
#pragma omp simd reduction(+ : delta)
        for (int64_t d = 0; d < size; d++)
            delta += w->dout[i * size + d] * w->dquery[i * size + d];
        w->delta[i] = delta;
        w->stats[i] = i < n ? task->stats[t + i] : 0.0f;
    }
    for (int64_t i = 0; i < TILE * size; i++)
        w->dquery[i] = 0.0f;
}

static void attend_grad(const struct heads *h, struct work *w, const struct task *task)
{
    for (int64_t t = 0; t < h->context; t += TILE) {
        const int64_t n = h->context - t < TILE ? h->context - t : TILE;
        load_queries(h, w, task, t, n);
        for (int64_t key_tile = 0; key_tile <= t / TILE; key_tile++)
            meet(h, w, t, n, key_tile);
        head_store(h, task->dquery, w->dquery, t, n, 1.0f / sqrtf((float)h->size));
    }
}

struct gradient {
    struct view dqkv, dout, out, stats, qkv;
};

/* Head `index` of keys and values, with its queries. */
static void shared_grad(const struct heads *h, struct work *w, const struct gradient *g,
                        int64_t index)
{
    head_load_transposed(h, w->keys_t, head_in_qkv(h, g->qkv, index, HEAD_KEY));
    head_load_transposed(h, w->values_t, head_in_qkv(h, g->qkv, index, HEAD_VALUE));
    head_load(h, w->keys, head_in_qkv(h, g->qkv, index, HEAD_KEY), 0, h->padded_context, 1.0f);
    for (int64_t i = 0; i < 2 * h->padded_context * h->padded_size; i++)
        w->dkeys[i] = 0.0f; /* and dvalues, which follows */
    for (int64_t i = index * h->group; i < (index + 1) * h->group; i++) {
        const struct task task = {head_in_qkv(h, g->qkv, i, HEAD_QUERY),
                                  head_in_qkv(h, g->dqkv, i, HEAD_QUERY),
                                  head_in_out(h, g->dout, i), head_in_out(h, g->out, i),
                                  (const float *)g->stats.data + i * h->context};
        attend_grad(h, w, &task);
    }
    head_store(h, head_in_qkv(h, g->dqkv, index, HEAD_KEY), w->dkeys, 0, h->context, 1.0f);
    head_store(h, head_in_qkv(h, g->dqkv, index, HEAD_VALUE), w->dvalues, 0, h->context, 1.0f);
}

enum shoal_status cpu_attention_grad(struct device *dev, struct view dqkv, struct view dout,
                                     struct view out, struct view stats, struct view qkv,
                                     struct attention_shape shape)
{
    const struct heads h = heads_of(qkv, shape);
    const struct gradient g = {dqkv, dout, out, stats, qkv};
    const int64_t n = h.batch * h.kv_count;
    const int team = cpu_team(dev, n * h.group * h.context * h.context * h.size / 16);
    char *memory;
    if (attention16_covers(dev, &h)) return attention16_grad(dev, &h, dqkv, dout, out, stats, qkv);
    SHOAL_TRY(cpu_scratch(
        dev, (size_t)team * (sizeof(struct work) + 64 + (size_t)work_floats(&h) * sizeof(float)),
        &memory));
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < n; i++)
        shared_grad(&h, work_at(&h, memory, omp_get_thread_num()), &g, i);
    return SHOAL_OK;
}
