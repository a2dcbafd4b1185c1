/* attention.cu - causal attention, forward, by tiles with a running softmax (Dao et al. 2022).
 * Bound by the tensor cores: 2 T^2 HS operations a head, half of T x T counted.
 *
 * A block owns 64 queries of one head, a warp 16 of them. Tiles of 64 keys come one after the
 * other; while scores = Q . K^T are made the tile's values arrive, and while P . V is added up the
 * next keys do. Tiles right of the diagonal are never touched. Blocks with most tiles start first.
 * In f32, and for heads that the tiles cannot hold, attention_plain.cu does it. */
#include "kernels/cuda/attention.cuh"

/* Rows' maxima and sums: [0] of the lane's upper row, [1] of its lower. A sum is the lane's part.
 */
struct running {
    float max[2], sum[2];
};

/* Over the four lanes that share a row. */
DEVICE_FN float row_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, 1));
    return fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, 2));
}
DEVICE_FN float row_sum(float x)
{
    x += __shfl_xor_sync(WHOLE_WARP, x, 1);
    return x + __shfl_xor_sync(WHOLE_WARP, x, 2);
}

/* On the diagonal: no query sees a later key. `first`: the warp's first row in the tile. */
DEVICE_FN void mask(float (*s)[4], int first)
{
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < TILE / 8; i++)
        for (int k = 0; k < 4; k++) {
            const int key = 8 * i + lane % 4 * 2 + k % 2, query = first + lane / 4 + k / 2 * 8;
            if (key > query) s[i][k] = -INFINITY;
        }
}

/* Scores become p = 2^((s - max) scale); out and sums are brought to the new maxima. */
template <int D>
DEVICE_FN void soften(float (*s)[4], float (*out)[4], struct running *r, float scale)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float top = r->max[half], sum = 0.0f;
#pragma unroll
        for (int i = 0; i < TILE / 8; i++)
            top = fmaxf(top, fmaxf(s[i][2 * half], s[i][2 * half + 1]));
        top = row_max(top);
        const float shrink = exp2_fast((r->max[half] - top) * scale), offset = top * scale;
#pragma unroll
        for (int i = 0; i < TILE / 8; i++)
            for (int k = 2 * half; k < 2 * half + 2; k++) {
                s[i][k] = exp2_fast(s[i][k] * scale - offset);
                sum += s[i][k];
            }
#pragma unroll
        for (int i = 0; i < D / 8; i++) {
            out[i][2 * half] *= shrink;
            out[i][2 * half + 1] *= shrink;
        }
        r->max[half] = top;
        r->sum[half] = r->sum[half] * shrink + sum;
    }
}

struct attend {
    half_bits *out;
    float *stats;
    const half_bits *qkv;
    struct heads h;
    bool wide, pairs;
};

template <int D>
DEVICE_FN void finish(const struct attend *t, int64_t index, int64_t begin, int first,
                      const float (*out)[4], const struct running *r)
{
    const int lane = threadIdx.x % WARP;
    const int64_t there = t->h.context - begin;
    float *const stats = t->stats + index * t->h.context + begin;
    float factor[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float sum = row_sum(r->sum[half]);
        const int row = first + lane / 4 + 8 * half;
        factor[half] = 1.0f / sum;
        if (lane % 4 == 0 && row < there) stats[row] = r->max[half] * t->h.scale + logf(sum);
    }
    store_rows<D>(t->out + out_at(&t->h, index) + begin * t->h.width, t->h.width, first, there,
                  t->h.size, out, factor, t->pairs);
}

template <int D> static __global__ __launch_bounds__(TILE_THREADS) void attend_k(struct attend t)
{
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    half_bits *const query = (half_bits *)(void *)shared_bytes;
    half_bits *const key = query + tile<D>::ELEMENTS, *const value = key + tile<D>::ELEMENTS;
    const int64_t index = blockIdx.y, last = gridDim.x - 1 - blockIdx.x, begin = last * TILE;
    const int first = threadIdx.x / WARP * 16, size = t.h.size;
    const int64_t context = t.h.context, row = t.h.row;
    const half_bits *const queries = t.qkv + query_at(&t.h, index) + begin * row;
    const half_bits *const keys = t.qkv + key_at(&t.h, index);
    const half_bits *const values = t.qkv + value_at(&t.h, index);
    const float scale = t.h.scale * LOG2E;
    float s[TILE / 8][4], out[D / 8][4];
    struct running r = {{-INFINITY, -INFINITY}, {0.0f, 0.0f}};
    for (int i = 0; i < D / 8; i++)
        for (int k = 0; k < 4; k++)
            out[i][k] = 0.0f;
    load_rows<D, TILE>(query, queries, row, context - begin, size, t.wide);
    load_rows<D, TILE>(key, keys, row, context, size, t.wide);
    copies_wait();
    __syncthreads();
    for (int64_t j = 0; j <= last; j++) {
        const int64_t at = j * TILE;
        load_rows<D, TILE>(value, values + at * row, row, context - at, size, t.wide);
        multiply_rows<D, TILE>(s, query, first, key);
        copies_wait();
        __syncthreads(); /* values are in, keys are free */
        if (j < last)
            load_rows<D, TILE>(key, keys + (at + TILE) * row, row, context - at - TILE, size,
                               t.wide);
        if (j == last) mask(s, first);
        soften<D>(s, out, &r, scale);
        mix_rows<D, TILE>(out, s, value);
        copies_wait();
        __syncthreads(); /* keys are in, values are free */
    }
    finish<D>(&t, index, begin, first, out, &r);
}

template <int D> static enum shoal_status attend(struct device *dev, const struct attend *t)
{
    const size_t shared_bytes = 3 * tile<D>::ELEMENTS * sizeof(half_bits);
    const struct grid g =
        grid_of(dim3((unsigned)parts_of(t->h.context, TILE), (unsigned)(t->h.batch * t->h.count)),
                dim3(TILE_THREADS), shared_bytes);
    return launch(dev, g, attend_k<D>, *t);
}

enum shoal_status cuda_attention(struct device *dev, struct view out, struct view stats,
                                 struct view qkv, struct attention_shape shape)
{
    const struct heads h = heads_of(qkv, shape);
    if (!tiles_cover(qkv, &h)) return attention_plain(dev, &h, out, stats, qkv);
    const struct attend t = {(half_bits *)out.data,
                             (float *)stats.data,
                             (const half_bits *)qkv.data,
                             h,
                             heads_wide(qkv.data, h.row, h.size),
                             heads_paired(out.data, h.width, h.size)};
    return h.size <= 64 ? attend<64>(dev, &t) : attend<128>(dev, &t);
}
