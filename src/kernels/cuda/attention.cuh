/* attention.cuh - what the attention kernels share: where heads are, and tiles of one in shared
 * memory. */
#pragma once
#include "kernels/cuda/mma.cuh"

struct heads {
    int64_t batch, context, row, width; /* row: W, of qkv; width: C, of out */
    int size, count, kv_count, group;   /* size: HS; group: heads of queries that share keys */
    float scale;                        /* 1 / sqrt(size) */
};

static inline struct heads heads_of(struct view qkv, struct attention_shape shape)
{
    struct heads h;
    h.batch = qkv.dim[0];
    h.context = qkv.dim[1];
    h.row = qkv.dim[2];
    h.size = (int)(h.row / (shape.heads + 2 * shape.kv_heads));
    h.count = shape.heads;
    h.kv_count = shape.kv_heads;
    h.group = shape.heads / shape.kv_heads;
    h.width = (int64_t)h.count * h.size;
    h.scale = 1.0f / sqrtf((float)h.size);
    return h;
}

/* Offset of row 0 of a head of queries, of the keys or the values it uses, in qkv; of its output.
 * index: batch * heads + head. */
static __host__ __device__ inline int64_t query_at(const struct heads *h, int64_t index)
{
    return index / h->count * h->context * h->row + index % h->count * h->size;
}
static __host__ __device__ inline int64_t key_at(const struct heads *h, int64_t index)
{
    const int64_t head = h->count + index % h->count / h->group;
    return index / h->count * h->context * h->row + head * h->size;
}
static __host__ __device__ inline int64_t value_at(const struct heads *h, int64_t index)
{
    return key_at(h, index) + (int64_t)h->kv_count * h->size;
}
static __host__ __device__ inline int64_t out_at(const struct heads *h, int64_t index)
{
    return index / h->count * h->context * h->width + index % h->count * h->size;
}

/* ---- tensor cores: bf16, heads of at most 128 numbers, padded with zeros to D = 64 or 128 -------
 */

enum { TILE = 64, TILE_WARPS = 4, TILE_THREADS = TILE_WARPS * WARP }; /* a warp has 16 rows */
#define LOG2E 1.4426950408889634f

/* Distance of a tile's rows: 16 bytes more than they have, so that eight rows, read at once by
 * ldmatrix, lie in different banks. */
template <int D> struct tile {
    enum { STRIDE = D + 8, ELEMENTS = TILE * STRIDE };
};

/* Whether every head of a tensor with such rows can be read 16 bytes at a time. */
static inline bool heads_wide(const void *p, int64_t row, int size)
{
    return aligned16(p) && row % 8 == 0 && size % 8 == 0;
}

/* to = ROWS rows of `size` numbers from `from`, `row` apart; zeros from row `there` on. The whole
 * block calls it; rows are in after copies_wait and a barrier. */
template <int D, int ROWS>
DEVICE_FN void load_rows(half_bits *to, const half_bits *from, int64_t row, int64_t there, int size,
                         bool wide)
{
    enum { PIECES = D / 8 };
    for (int i = threadIdx.x; i < ROWS * PIECES; i += TILE_THREADS) {
        const int r = i / PIECES, d = i % PIECES * 8;
        half_bits *const at = to + r * tile<D>::STRIDE + d;
        if (wide) {
            const bool in = r < there && d < size;
            copy16(at, in ? from + r * row + d : from, in);
        } else {
            for (int k = 0; k < 8; k++)
                at[k] = r < there && d + k < size ? from[r * row + d + k] : (half_bits)0;
        }
    }
}

/* An a of 16 rows from `first`, columns from d on, of a tile. */
template <int D> DEVICE_FN void load_a(uint32_t *a, const half_bits *tile_at, int first, int d)
{
    const int lane = threadIdx.x % WARP;
    ldmatrix(a, tile_at + (first + lane % 16) * tile<D>::STRIDE + d + lane / 16 * 8);
}
/* Two b, for columns n and n + 8 on: element (k, n) is row n, column d + k of the tile. */
template <int D> DEVICE_FN void load_b(uint32_t *b, const half_bits *tile_at, int n, int d)
{
    const int lane = threadIdx.x % WARP;
    const int r = n + lane % 8 + lane / 16 * 8, c = d + lane / 8 % 2 * 8;
    ldmatrix(b, tile_at + r * tile<D>::STRIDE + c);
}
/* Two b, for columns n and n + 8 on: element (k, n) is row r + k, column n of the tile. */
template <int D> DEVICE_FN void load_b_turned(uint32_t *b, const half_bits *tile_at, int r, int n)
{
    const int lane = threadIdx.x % WARP;
    ldmatrix_turned(b, tile_at + (r + lane % 16) * tile<D>::STRIDE + n + lane / 16 * 8);
}

/* c (16, N) = rows [first, first + 16) of x times rows [0, N) of y, transposed. */
template <int D, int N>
DEVICE_FN void multiply_rows(float (*c)[4], const half_bits *x, int first, const half_bits *y)
{
    for (int i = 0; i < N / 8; i++)
        for (int k = 0; k < 4; k++)
            c[i][k] = 0.0f;
#pragma unroll
    for (int d = 0; d < D; d += 16) {
        uint32_t a[4], b[4];
        load_a<D>(a, x, first, d);
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            load_b<D>(b, y, n, d);
            mma(c[n / 8], a, b);
            mma(c[n / 8 + 1], a, b + 2);
        }
    }
}

/* c (16, D) += w (16, N), rounded to bf16, times rows [0, N) of y. */
template <int D, int N>
DEVICE_FN void mix_rows(float (*c)[4], const float (*w)[4], const half_bits *y)
{
#pragma unroll
    for (int n = 0; n < N; n += 16) {
        const float *const left = w[n / 8], *const right = w[n / 8 + 1];
        const uint32_t a[4] = {pack(left[0], left[1]), pack(left[2], left[3]),
                               pack(right[0], right[1]), pack(right[2], right[3])};
        uint32_t b[4];
#pragma unroll
        for (int d = 0; d < D; d += 16) {
            load_b_turned<D>(b, y, n, d);
            mma(c[d / 8], a, b);
            mma(c[d / 8 + 1], a, b + 2);
        }
    }
}

/* Write this warp's c (16, D), row i times factor[i / 8] (one for lane's upper row, one for its
 * lower), to rows `first` on of a head, of which `there` exist; `row` numbers apart. */
template <int D>
DEVICE_FN void store_rows(half_bits *to, int64_t row, int first, int64_t there, int size,
                          const float (*c)[4], const float *factor, bool pairs)
{
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int r = first + lane / 4 + 8 * half;
        if (r >= there) continue;
#pragma unroll
        for (int i = 0; i < D / 8; i++) {
            const int d = 8 * i + lane % 4 * 2;
            const float x = c[i][2 * half] * factor[half], y = c[i][2 * half + 1] * factor[half];
            if (pairs && d < size) *(uint32_t *)(void *)(to + r * row + d) = pack(x, y);
            if (!pairs && d < size) put(to, r * row + d, x);
            if (!pairs && d + 1 < size) put(to, r * row + d + 1, y);
        }
    }
}
/* Whether two neighbours can be stored at once in all heads of such a tensor. */
static inline bool heads_paired(const void *p, int64_t row, int size)
{
    return alignment_of(p) >= 4 && row % 2 == 0 && size % 2 == 0;
}

static inline bool tiles_cover(struct view qkv, const struct heads *h)
{
    return qkv.dtype == DTYPE_BF16 && h->size <= 128;
}

/* attention_plain.cu: f32, and heads of more than 128 numbers. delta: see attention_grad.cu. */
enum shoal_status attention_plain(struct device *dev, const struct heads *h, struct view out,
                                  struct view stats, struct view qkv);
enum shoal_status attention_plain_grad(struct device *dev, const struct heads *h, struct view dqkv,
                                       struct view dout, const float *stats, const float *delta,
                                       struct view qkv);
