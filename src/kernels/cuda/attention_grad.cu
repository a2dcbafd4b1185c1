/* attention_grad.cu - causal attention, backward. Bound by the tensor cores: 7 T^2 HS operations a
 * head, half of T x T counted, of which 2 are made twice.
 *
 * p = e^(score - stats) is computed again from the saved log-sum-exp. With delta = dout . out,
 *   dv += p^T dout,   ds = p (dout v^T - delta),   dq += ds k scale,   dk += ds^T q scale.
 * One kernel makes dk and dv, a block for 64 keys with all queries that see them; another makes dq,
 * a block for 64 queries with all keys they see. Scores and dout v^T are made in both: one kernel
 * for all would have to add dq up across blocks, in an order that is not fixed. */
#include "kernels/cuda/attention.cuh"

/* ---- delta -------------------------------------------------------------------------------------
 */

enum { DELTA_WARPS = 8 };

/* delta (B, NH, T); a warp owns one head of one row. */
template <typename T>
static __global__ void delta_k(float *delta, const T *dout, const T *out, struct heads h)
{
    const int64_t i = (int64_t)blockIdx.x * DELTA_WARPS + threadIdx.x / WARP;
    if (i >= h.batch * h.context * h.count) return; /* the whole warp */
    const int64_t row = i / h.count, head = i % h.count, at = row * h.width + head * h.size;
    float sum = 0.0f;
    for (int d = threadIdx.x % WARP; d < h.size; d += WARP)
        sum += get(dout, at + d) * get(out, at + d);
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0)
        delta[(row / h.context * h.count + head) * h.context + row % h.context] = sum;
}

static enum shoal_status make_delta(struct device *dev, float *delta, struct view dout,
                                    struct view out, const struct heads *h)
{
    const int64_t rows = h->batch * h->context * h->count;
    const struct grid g =
        grid_of(dim3((unsigned)parts_of(rows, DELTA_WARPS)), dim3(DELTA_WARPS * WARP));
    if (out.dtype == DTYPE_BF16)
        return launch(dev, g, delta_k<half_bits>, delta, (const half_bits *)dout.data,
                      (const half_bits *)out.data, *h);
    return launch(dev, g, delta_k<float>, delta, (const float *)dout.data, (const float *)out.data,
                  *h);
}

/* ---- keys and values ---------------------------------------------------------------------------
 */

struct gradient {
    half_bits *dqkv;
    const half_bits *dout, *qkv;
    const float *stats, *delta;
    struct heads h;
    bool wide, wide_out, pairs;
};

/* Log-sum-exp, in powers of two, and delta of N rows from `begin`; zeros past the context, where
 * queries and dout are zero too. */
template <int N>
DEVICE_FN void load_statistics(float *stats, float *delta, const struct gradient *t, int64_t index,
                               int64_t begin)
{
    const int64_t at = index * t->h.context + begin;
    for (int i = threadIdx.x; i < N; i += TILE_THREADS) {
        const bool in = begin + i < t->h.context;
        stats[i] = in ? t->stats[at + i] * LOG2E : 0.0f;
        delta[i] = in ? t->delta[at + i] : 0.0f;
    }
}

/* Scores and dout . v, both (16 keys, N queries), become p and ds. ahead: first query - first key
 * of the warp. */
template <int N>
DEVICE_FN void soften_keys(float (*s)[4], float (*g)[4], const float *stats, const float *delta,
                           float scale, int ahead)
{
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < N / 8; i++)
        for (int k = 0; k < 4; k++) {
            const int query = 8 * i + lane % 4 * 2 + k % 2, key = lane / 4 + k / 2 * 8;
            const float p = exp2_fast(s[i][k] * scale - stats[query]);
            const bool seen = key <= query + ahead;
            s[i][k] = seen ? p : 0.0f;
            g[i][k] = seen ? p * (g[i][k] - delta[query]) : 0.0f;
        }
}

/* The shared memory of grad_keys_k, N queries at a time. */
template <int D, int N> struct key_work {
    half_bits key[TILE * tile<D>::STRIDE], value[TILE * tile<D>::STRIDE];
    half_bits query[N * tile<D>::STRIDE], dout[N * tile<D>::STRIDE];
    float stats[N], delta[N];
};

/* Block (tile of keys, batch * kv_heads + head). */
template <int D, int N>
static __global__ __launch_bounds__(TILE_THREADS) void grad_keys_k(struct gradient t)
{
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    struct key_work<D, N> *const w = (struct key_work<D, N> *)(void *)shared_bytes;
    const int64_t context = t.h.context, row = t.h.row, begin = (int64_t)blockIdx.x * TILE;
    const int first = threadIdx.x / WARP * 16, size = t.h.size;
    /* a head of queries of this group; those of the others follow */
    const int64_t head =
        blockIdx.y / t.h.kv_count * t.h.count + (int64_t)(blockIdx.y % t.h.kv_count) * t.h.group;
    const int64_t key_row = key_at(&t.h, head) + begin * row;
    const int64_t value_row = value_at(&t.h, head) + begin * row;
    const float scale = t.h.scale * LOG2E;
    float dkey[D / 8][4], dvalue[D / 8][4], s[N / 8][4], g[N / 8][4];
    for (int i = 0; i < D / 8; i++)
        for (int k = 0; k < 4; k++)
            dkey[i][k] = dvalue[i][k] = 0.0f;
    load_rows<D, TILE>(w->key, t.qkv + key_row, row, context - begin, size, t.wide);
    load_rows<D, TILE>(w->value, t.qkv + value_row, row, context - begin, size, t.wide);
    for (int64_t q = head; q < head + t.h.group; q++)
        for (int64_t at = begin; at < context; at += N) {
            load_rows<D, N>(w->query, t.qkv + query_at(&t.h, q) + at * row, row, context - at, size,
                            t.wide);
            load_rows<D, N>(w->dout, t.dout + out_at(&t.h, q) + at * t.h.width, t.h.width,
                            context - at, size, t.wide_out);
            load_statistics<N>(w->stats, w->delta, &t, q, at);
            copies_wait();
            __syncthreads(); /* all is in */
            multiply_rows<D, N>(s, w->key, first, w->query);
            multiply_rows<D, N>(g, w->value, first, w->dout);
            soften_keys<N>(s, g, w->stats, w->delta, scale, (int)(at - begin) - first);
            mix_rows<D, N>(dvalue, s, w->dout);
            mix_rows<D, N>(dkey, g, w->query);
            __syncthreads(); /* queries are free */
        }
    const float to_key[2] = {t.h.scale, t.h.scale}, to_value[2] = {1.0f, 1.0f};
    store_rows<D>(t.dqkv + key_row, row, first, context - begin, size, dkey, to_key, t.pairs);
    store_rows<D>(t.dqkv + value_row, row, first, context - begin, size, dvalue, to_value, t.pairs);
}

/* ---- queries -----------------------------------------------------------------------------------
 */

/* Scores and dout . v, both (16 queries, 64 keys), become ds. */
DEVICE_FN void soften_queries(float (*s)[4], const float (*g)[4], const float *stats,
                              const float *delta, float scale, int first, bool diagonal)
{
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < TILE / 8; i++)
        for (int k = 0; k < 4; k++) {
            const int key = 8 * i + lane % 4 * 2 + k % 2, query = first + lane / 4 + k / 2 * 8;
            const float p = exp2_fast(s[i][k] * scale - stats[query]);
            const bool seen = !diagonal || key <= query;
            s[i][k] = seen ? p * (g[i][k] - delta[query]) : 0.0f;
        }
}

template <int D> struct query_work {
    half_bits query[TILE * tile<D>::STRIDE], dout[TILE * tile<D>::STRIDE];
    half_bits key[TILE * tile<D>::STRIDE], value[TILE * tile<D>::STRIDE];
    float stats[TILE], delta[TILE];
};

/* Block (tile of queries, batch * heads + head). */
template <int D>
static __global__ __launch_bounds__(TILE_THREADS) void grad_queries_k(struct gradient t)
{
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    struct query_work<D> *const w = (struct query_work<D> *)(void *)shared_bytes;
    const int64_t index = blockIdx.y, last = gridDim.x - 1 - blockIdx.x, begin = last * TILE;
    const int64_t context = t.h.context, row = t.h.row;
    const int first = threadIdx.x / WARP * 16, size = t.h.size;
    const int64_t query_row = query_at(&t.h, index) + begin * row;
    const half_bits *const keys = t.qkv + key_at(&t.h, index);
    const half_bits *const values = t.qkv + value_at(&t.h, index);
    const float scale = t.h.scale * LOG2E, factor[2] = {t.h.scale, t.h.scale};
    float dquery[D / 8][4], s[TILE / 8][4], g[TILE / 8][4];
    for (int i = 0; i < D / 8; i++)
        for (int k = 0; k < 4; k++)
            dquery[i][k] = 0.0f;
    load_rows<D, TILE>(w->query, t.qkv + query_row, row, context - begin, size, t.wide);
    load_rows<D, TILE>(w->dout, t.dout + out_at(&t.h, index) + begin * t.h.width, t.h.width,
                       context - begin, size, t.wide_out);
    load_statistics<TILE>(w->stats, w->delta, &t, index, begin);
    for (int64_t j = 0; j <= last; j++) {
        const int64_t at = j * TILE;
        load_rows<D, TILE>(w->key, keys + at * row, row, context - at, size, t.wide);
        load_rows<D, TILE>(w->value, values + at * row, row, context - at, size, t.wide);
        copies_wait();
        __syncthreads(); /* all is in */
        multiply_rows<D, TILE>(s, w->query, first, w->key);
        multiply_rows<D, TILE>(g, w->dout, first, w->value);
        soften_queries(s, g, w->stats, w->delta, scale, first, j == last);
        mix_rows<D, TILE>(dquery, s, w->key);
        __syncthreads(); /* keys are free */
    }
    store_rows<D>(t.dqkv + query_row, row, first, context - begin, size, dquery, factor, t.pairs);
}

/* ---- launching ---------------------------------------------------------------------------------
 */

/* N: queries a block of keys meets at a time; fewer where gradients take more registers. */
template <int D, int N> static enum shoal_status grad(struct device *dev, const struct gradient *t)
{
    const unsigned tiles = (unsigned)parts_of(t->h.context, TILE);
    const struct grid of_keys = grid_of(dim3(tiles, (unsigned)(t->h.batch * t->h.kv_count)),
                                        dim3(TILE_THREADS), sizeof(struct key_work<D, N>));
    const struct grid of_queries = grid_of(dim3(tiles, (unsigned)(t->h.batch * t->h.count)),
                                           dim3(TILE_THREADS), sizeof(struct query_work<D>));
    SHOAL_TRY(launch(dev, of_keys, grad_keys_k<D, N>, *t));
    return launch(dev, of_queries, grad_queries_k<D>, *t);
}

enum shoal_status cuda_attention_grad(struct device *dev, struct view dqkv, struct view dout,
                                      struct view out, struct view stats, struct view qkv,
                                      struct attention_shape shape)
{
    const struct heads h = heads_of(qkv, shape);
    float *delta;
    SHOAL_TRY(
        cuda_scratch(dev, (size_t)scratch_attention_grad(h.batch, h.count, h.context), &delta));
    SHOAL_TRY(make_delta(dev, delta, dout, out, &h));
    if (!tiles_cover(qkv, &h))
        return attention_plain_grad(dev, &h, dqkv, dout, (const float *)stats.data, delta, qkv);
    const struct gradient t = {(half_bits *)dqkv.data,
                               (const half_bits *)dout.data,
                               (const half_bits *)qkv.data,
                               (const float *)stats.data,
                               delta,
                               h,
                               heads_wide(qkv.data, h.row, h.size),
                               heads_wide(dout.data, h.width, h.size),
                               heads_paired(dqkv.data, h.row, h.size)};
    return h.size <= 64 ? grad<64, 64>(dev, &t) : grad<128, 32>(dev, &t);
}
