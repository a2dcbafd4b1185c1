/* attention_plain.cu - causal attention without tensor cores, for f32 and for long heads: a warp
 * owns a row, and meets 32 others at a time, one a lane. For checking rather than for speed. */
#include "kernels/cuda/attention.cuh"

/* What a row keeps in shared memory: four vectors of HS numbers, two of a weight for each lane. */
struct row_work {
    float *first, *second, *to_first, *to_second;
    float *weight, *other;
};

enum { PLAIN_WARPS = 4, PLAIN_MOST_SIZE = 2048 };

static inline size_t work_bytes(int size)
{
    return (size_t)(4 * size + 2 * WARP) * sizeof(float);
}

/* Warps of a block: as many as shared memory holds. */
static inline int plain_warps(int size)
{
    return work_bytes(size) * PLAIN_WARPS <= SHARED_BYTES ? PLAIN_WARPS : 1;
}

DEVICE_FN struct row_work work_of(unsigned char *shared, int size)
{
    struct row_work w;
    w.first = (float *)(void *)shared + (int)(threadIdx.x / WARP) * (4 * size + 2 * WARP);
    w.second = w.first + size;
    w.to_first = w.second + size;
    w.to_second = w.to_first + size;
    w.weight = w.to_second + size;
    w.other = w.weight + WARP;
    return w;
}

/* This warp's row among `rows`; -1: none, the whole warp. */
DEVICE_FN int64_t own_row(int64_t rows)
{
    const int64_t i = (int64_t)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    return i < rows ? i : -1;
}

template <typename T> DEVICE_FN void load_row(float *to, const T *from, int size)
{
    for (int d = threadIdx.x % WARP; d < size; d += WARP)
        to[d] = get(from, d);
}
DEVICE_FN void clear_row(float *to, int size)
{
    for (int d = threadIdx.x % WARP; d < size; d += WARP)
        to[d] = 0.0f;
}
template <typename T> DEVICE_FN void store_row(T *to, const float *from, int size, float factor)
{
    for (int d = threadIdx.x % WARP; d < size; d += WARP)
        put(to, d, from[d] * factor);
}
template <typename T> DEVICE_FN float dot(const float *x, const T *y, int size)
{
    float sum = 0.0f;
    for (int d = 0; d < size; d++)
        sum += x[d] * get(y, d);
    return sum;
}
/* sum = sum * shrink + the n rows of y, `row` apart, times their weights. */
template <typename T>
DEVICE_FN void mix(float *sum, float shrink, const float *weight, const T *y, int64_t row, int n,
                   int size)
{
    for (int d = threadIdx.x % WARP; d < size; d += WARP) {
        float value = sum[d] * shrink;
        for (int j = 0; j < n; j++)
            value += weight[j] * get(y, j * row + d);
        sum[d] = value;
    }
}

DEVICE_FN int at_most_warp(int64_t n)
{
    return n < WARP ? (int)n : WARP;
}

/* ---- forward -----------------------------------------------------------------------------------
 */

template <typename T>
static __global__ void plain_attend_k(T *out, float *stats, const T *qkv, struct heads h)
{
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    const struct row_work w = work_of(shared_bytes, h.size);
    const int lane = threadIdx.x % WARP;
    const int64_t i = own_row(h.batch * h.count * h.context);
    if (i < 0) return;
    const int64_t index = i / h.context, t = i % h.context;
    const T *const keys = qkv + key_at(&h, index), *const values = qkv + value_at(&h, index);
    float max = -INFINITY, sum = 0.0f;
    load_row(w.first, qkv + query_at(&h, index) + t * h.row, h.size);
    clear_row(w.to_first, h.size);
    __syncwarp();
    for (int64_t j = 0; j <= t; j += WARP) {
        const int n = at_most_warp(t + 1 - j);
        const float score =
            lane < n ? dot(w.first, keys + (j + lane) * h.row, h.size) * h.scale : -INFINITY;
        const float top = fmaxf(max, warp_max(score)), shrink = expf(max - top);
        const float p = expf(score - top);
        w.weight[lane] = p;
        __syncwarp();
        mix(w.to_first, shrink, w.weight, values + j * h.row, h.row, n, h.size);
        __syncwarp();
        sum = sum * shrink + warp_sum(p);
        max = top;
    }
    store_row(out + out_at(&h, index) + t * h.width, w.to_first, h.size, 1.0f / sum);
    if (lane == 0) stats[i] = max + logf(sum);
}

/* ---- backward ----------------------------------------------------------------------------------
 */

template <typename T> struct plain_grad {
    T *dqkv;
    const T *dout, *qkv;
    const float *stats, *delta;
    struct heads h;
};

/* p and ds of one query and one key, from both their products. */
DEVICE_FN float2 weights_of(float score, float gain, float stats, float delta)
{
    const float p = expf(score - stats);
    return make_float2(p, p * (gain - delta));
}

template <typename T> static __global__ void plain_grad_queries_k(struct plain_grad<T> g)
{
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    const struct heads *const h = &g.h;
    const struct row_work w = work_of(shared_bytes, h->size);
    const int lane = threadIdx.x % WARP, size = h->size;
    const int64_t i = own_row(h->batch * h->count * h->context), row = h->row;
    if (i < 0) return;
    const int64_t index = i / h->context, t = i % h->context;
    const T *const keys = g.qkv + key_at(h, index), *const values = g.qkv + value_at(h, index);
    load_row(w.first, g.qkv + query_at(h, index) + t * row, size);
    load_row(w.second, g.dout + out_at(h, index) + t * h->width, size);
    clear_row(w.to_first, size);
    __syncwarp();
    for (int64_t j = 0; j <= t; j += WARP) {
        const int n = at_most_warp(t + 1 - j);
        float2 both = make_float2(0.0f, 0.0f);
        if (lane < n)
            both =
                weights_of(dot(w.first, keys + (j + lane) * row, size) * h->scale,
                           dot(w.second, values + (j + lane) * row, size), g.stats[i], g.delta[i]);
        w.weight[lane] = both.y;
        __syncwarp();
        mix(w.to_first, 1.0f, w.weight, keys + j * row, row, n, size);
        __syncwarp();
    }
    store_row(g.dqkv + query_at(h, index) + t * row, w.to_first, size, h->scale);
}

/* Row i: (batch, kv head, position) of a key. */
template <typename T> static __global__ void plain_grad_keys_k(struct plain_grad<T> g)
{
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    const struct heads *const h = &g.h;
    const struct row_work w = work_of(shared_bytes, h->size);
    const int lane = threadIdx.x % WARP, size = h->size;
    const int64_t i = own_row(h->batch * h->kv_count * h->context), row = h->row;
    if (i < 0) return;
    const int64_t kv = i / h->context, s = i % h->context, context = h->context;
    const int64_t head = kv / h->kv_count * h->count + kv % h->kv_count * h->group;
    const int64_t key_row = key_at(h, head) + s * row, value_row = value_at(h, head) + s * row;
    load_row(w.first, g.qkv + key_row, size);
    load_row(w.second, g.qkv + value_row, size);
    clear_row(w.to_first, size);
    clear_row(w.to_second, size);
    __syncwarp();
    for (int64_t q = head; q < head + h->group; q++)
        for (int64_t t = s; t < context; t += WARP) {
            const int n = at_most_warp(context - t);
            const T *const queries = g.qkv + query_at(h, q) + t * row;
            const T *const douts = g.dout + out_at(h, q) + t * h->width;
            float2 both = make_float2(0.0f, 0.0f);
            if (lane < n)
                both = weights_of(dot(w.first, queries + lane * row, size) * h->scale,
                                  dot(w.second, douts + lane * h->width, size),
                                  g.stats[q * context + t + lane], g.delta[q * context + t + lane]);
            w.weight[lane] = both.x;
            w.other[lane] = both.y;
            __syncwarp();
            mix(w.to_second, 1.0f, w.weight, douts, h->width, n, size);
            mix(w.to_first, 1.0f, w.other, queries, row, n, size);
            __syncwarp();
        }
    store_row(g.dqkv + key_row, w.to_first, size, h->scale);
    store_row(g.dqkv + value_row, w.to_second, size, 1.0f);
}

/* ---- launching ---------------------------------------------------------------------------------
 */

static struct grid plain_grid(const struct heads *h, int64_t rows)
{
    const int warps = plain_warps(h->size);
    return grid_of(dim3((unsigned)parts_of(rows, warps)), dim3((unsigned)(warps * WARP)),
                   work_bytes(h->size) * (size_t)warps);
}

static enum shoal_status check_size(const struct heads *h)
{
    SHOAL_CHECK(h->size <= PLAIN_MOST_SIZE, SHOAL_ENOTSUP,
                "attention: heads of %d numbers; at most %d on a GPU, use more model.heads",
                h->size, PLAIN_MOST_SIZE);
    return SHOAL_OK;
}

enum shoal_status attention_plain(struct device *dev, const struct heads *h, struct view out,
                                  struct view stats, struct view qkv)
{
    const struct grid g = plain_grid(h, h->batch * h->count * h->context);
    SHOAL_TRY(check_size(h));
    if (qkv.dtype == DTYPE_BF16)
        return launch(dev, g, plain_attend_k<half_bits>, (half_bits *)out.data, (float *)stats.data,
                      (const half_bits *)qkv.data, *h);
    return launch(dev, g, plain_attend_k<float>, (float *)out.data, (float *)stats.data,
                  (const float *)qkv.data, *h);
}

template <typename T>
static enum shoal_status plain_grad_both(struct device *dev, struct plain_grad<T> t)
{
    const struct heads *const h = &t.h;
    SHOAL_TRY(
        launch(dev, plain_grid(h, h->batch * h->kv_count * h->context), plain_grad_keys_k<T>, t));
    return launch(dev, plain_grid(h, h->batch * h->count * h->context), plain_grad_queries_k<T>, t);
}

enum shoal_status attention_plain_grad(struct device *dev, const struct heads *h, struct view dqkv,
                                       struct view dout, const float *stats, const float *delta,
                                       struct view qkv)
{
    SHOAL_TRY(check_size(h));
    if (qkv.dtype == DTYPE_BF16) {
        const struct plain_grad<half_bits> t = {
            (half_bits *)dqkv.data, (const half_bits *)dout.data,
                (const half_bits *)qkv.data, stats, delta, *h
        };
        return plain_grad_both(dev, t);
    }
    const struct plain_grad<float> t = {
        (float *)dqkv.data, (const float *)dout.data, (const float *)qkv.data, stats, delta, *h
    };
    return plain_grad_both(dev, t);
}
