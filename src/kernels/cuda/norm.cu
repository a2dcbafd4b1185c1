/* norm.cu - layer normalisation and RMSNorm over the last dimension. Bound by memory: forward reads
 * x and writes out; backward reads dout, x and dx and writes dx and its bf16 copy.
 *
 * Forward keeps mean (0 for RMSNorm) and rstd of each row. With h = (x - mean) rstd and
 * g = dout gain:  dx += rstd (g - avg(g) - h avg(g h)),  dgain += sum dout h,  dbias += sum dout;
 * RMSNorm has no avg(g) and no dbias. */
#include "kernels/cuda/device.cuh"

/* ---- forward: a warp owns a row ----------------------------------------------------------------
 */

enum { NORM_WARPS = 4 };

struct norm {
    float *mean, *rstd; /* mean NULL: RMSNorm */
    const float *x, *gain, *bias;
    int64_t rows, cols;
    float eps;
    bool wide, cached; /* cached: a row fits into the warp's part of shared memory */
};

template <typename T> static __global__ void norm_k(T *out, struct norm t)
{
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int64_t row = (int64_t)blockIdx.x * NORM_WARPS + warp, n = t.cols;
    if (row >= t.rows) return; /* the whole warp */
    const float *x = t.x + row * n;
    float *const cache = (float *)(void *)shared_bytes + warp * n;
    float sum = 0.0f;
    for (int64_t i = 4 * lane; i < n; i += 4 * WARP) {
        const struct four f = load4(x, i, n, t.wide); /* zeros past the end */
        sum += (f.v[0] + f.v[1]) + (f.v[2] + f.v[3]);
        if (t.cached) store4(cache, i, n, t.wide, f); /* read by this lane only */
    }
    if (t.cached) x = cache;
    const float mean = t.mean ? warp_sum(sum) / (float)n : 0.0f;
    float squares = 0.0f;
    for (int64_t i = 4 * lane; i < n; i += 4 * WARP) {
        const struct four f = load4(x, i, n, t.wide);
        for (int k = 0; k < 4; k++)
            if (i + k < n) squares += (f.v[k] - mean) * (f.v[k] - mean);
    }
    const float rstd = 1.0f / sqrtf(warp_sum(squares) / (float)n + t.eps);
    for (int64_t i = 4 * lane; i < n; i += 4 * WARP) {
        struct four f = load4(x, i, n, t.wide);
        const struct four gain = load4(t.gain, i, n, t.wide);
        const struct four bias = t.bias ? load4(t.bias, i, n, t.wide) : four_of(0.0f);
        for (int k = 0; k < 4; k++)
            f.v[k] = (f.v[k] - mean) * rstd * gain.v[k] + bias.v[k];
        store4(out + row * n, i, n, t.wide, f);
    }
    if (lane == 0 && t.mean) t.mean[row] = mean;
    if (lane == 0) t.rstd[row] = rstd;
}

enum shoal_status cuda_norm(struct device *dev, struct view out, struct view mean, struct view rstd,
                            struct view x, struct view gain, struct view bias, float eps)
{
    const int64_t rows = x.dim[0], cols = x.dim[1];
    const size_t cache_bytes = (size_t)(NORM_WARPS * cols) * sizeof(float);
    struct norm t = {(float *)mean.data,
                     (float *)rstd.data,
                     (const float *)x.data,
                     (const float *)gain.data,
                     (const float *)bias.data,
                     rows,
                     cols,
                     eps,
                     false,
                     cache_bytes <= SHARED_BYTES};
    t.wide = cols % 4 == 0 && aligned16(out.data) && aligned16(t.x) && aligned16(t.gain) &&
             aligned16(t.bias);
    const struct grid g = grid_of(dim3((unsigned)parts_of(rows, NORM_WARPS)),
                                  dim3(NORM_WARPS * WARP), t.cached ? cache_bytes : 0);
    if (out.dtype == DTYPE_BF16) return launch(dev, g, norm_k<half_bits>, (half_bits *)out.data, t);
    return launch(dev, g, norm_k<float>, (float *)out.data, t);
}

/* ---- backward: a block owns some rows, one after the other; a thread owns columns --------------
 */

enum { GRAD_THREADS = 256 };

struct norm_grad {
    float *dx;
    half_bits *dx16; /* or NULL */
    const float *x, *mean, *rstd, *gain;
    float *partial; /* (blocks, 2, cols): this block's dgain, dbias */
    int64_t rows, cols, block_rows;
    bool wide;
};

/* One row's avg(g) and avg(g h), with its share of dgain and dbias added to `sums` (2, cols). */
template <typename T>
DEVICE_FN float2 grad_row_sums(const struct norm_grad *t, float *sums, const T *dout,
                               const float *x, float mean, float rstd, float2 *room)
{
    const int64_t n = t->cols;
    const int lane = threadIdx.x % WARP;
    float sum_g = 0.0f, sum_gh = 0.0f;
    for (int64_t i = 4 * threadIdx.x; i < n; i += 4 * GRAD_THREADS) {
        const struct four d = load4(dout, i, n, t->wide), f = load4(x, i, n, t->wide),
                          gain = load4(t->gain, i, n, t->wide);
        for (int k = 0; k < 4 && i + k < n; k++) {
            const float h = (f.v[k] - mean) * rstd, g = d.v[k] * gain.v[k];
            sum_g += g;
            sum_gh += g * h;
            sums[i + k] += d.v[k] * h;
            sums[n + i + k] += d.v[k];
        }
    }
    sum_g = warp_sum(sum_g);
    sum_gh = warp_sum(sum_gh);
    if (lane == 0) room[threadIdx.x / WARP] = make_float2(sum_g, sum_gh);
    __syncthreads();
    float2 all = make_float2(0.0f, 0.0f);
    for (int w = 0; w < GRAD_THREADS / WARP; w++) {
        all.x += room[w].x;
        all.y += room[w].y;
    }
    return make_float2(t->mean ? all.x / (float)n : 0.0f, all.y / (float)n);
}

template <typename T>
DEVICE_FN void grad_row(const struct norm_grad *t, const T *dout, const float *x, int64_t at,
                        float mean, float rstd, float2 average)
{
    const int64_t n = t->cols;
    for (int64_t i = 4 * threadIdx.x; i < n; i += 4 * GRAD_THREADS) {
        const struct four d = load4(dout, i, n, t->wide), f = load4(x, i, n, t->wide),
                          gain = load4(t->gain, i, n, t->wide);
        struct four sum = load4(t->dx + at, i, n, t->wide);
        for (int k = 0; k < 4; k++) {
            const float h = (f.v[k] - mean) * rstd, g = d.v[k] * gain.v[k];
            sum.v[k] += (g - average.x - h * average.y) * rstd;
        }
        store4(t->dx + at, i, n, t->wide, sum);
        if (t->dx16) store4(t->dx16 + at, i, n, t->wide, sum);
    }
}

/* `sums` is in shared memory or, for very wide rows, this block's part of t.partial. A column of it
 * belongs to one thread; `room` has two halves used in turn, so one barrier a row is enough. */
template <typename T>
static __global__ void norm_grad_k(const T *dout, struct norm_grad t, bool shared)
{
    extern __shared__ __align__(16) unsigned char shared_bytes[];
    static __shared__ float2 room[2][GRAD_THREADS / WARP];
    const int64_t n = t.cols, begin = (int64_t)blockIdx.x * t.block_rows;
    const int64_t end = begin + t.block_rows < t.rows ? begin + t.block_rows : t.rows;
    float *const partial = t.partial + 2 * n * blockIdx.x;
    float *const sums = shared ? (float *)(void *)shared_bytes : partial;
    for (int64_t i = 4 * threadIdx.x; i < n; i += 4 * GRAD_THREADS)
        for (int k = 0; k < 4 && i + k < n; k++)
            sums[i + k] = sums[n + i + k] = 0.0f;
    for (int64_t row = begin; row < end; row++) {
        const T *const d = dout + row * n;
        const float *const x = t.x + row * n;
        const float mean = t.mean ? t.mean[row] : 0.0f, rstd = t.rstd[row];
        const float2 average = grad_row_sums(&t, sums, d, x, mean, rstd, room[row % 2]);
        grad_row(&t, d, x, row * n, mean, rstd, average);
    }
    if (!shared) return;
    for (int64_t i = 4 * threadIdx.x; i < n; i += 4 * GRAD_THREADS)
        for (int k = 0; k < 4 && i + k < n; k++) {
            partial[i + k] = sums[i + k];
            partial[n + i + k] = sums[n + i + k];
        }
}

enum shoal_status cuda_norm_grad(struct device *dev, struct view dx, struct view dx16,
                                 struct view dgain, struct view dbias, struct view dout,
                                 struct view x, struct view mean, struct view rstd,
                                 struct view gain)
{
    const int64_t rows = x.dim[0], cols = x.dim[1];
    const int64_t step = norm_block_rows(rows);
    const int64_t blocks = parts_of(rows, step);
    const size_t sums_bytes = (size_t)(2 * cols) * sizeof(float);
    const bool shared = sums_bytes + 1024 <= SHARED_BYTES;
    struct norm_grad t = {(float *)dx.data,
                          (half_bits *)dx16.data,
                          (const float *)x.data,
                          (const float *)mean.data,
                          (const float *)rstd.data,
                          (const float *)gain.data,
                          NULL,
                          rows,
                          cols,
                          step,
                          false};
    t.wide = cols % 4 == 0 && aligned16(t.dx) && aligned16(t.dx16) && aligned16(t.x) &&
             aligned16(t.gain) && aligned16(dout.data);
    SHOAL_TRY(cuda_scratch(dev, (size_t)scratch_norm_grad(rows, cols), &t.partial));
    const struct grid g =
        grid_of(dim3((unsigned)blocks), dim3(GRAD_THREADS), shared ? sums_bytes : 0);
    if (dout.dtype == DTYPE_BF16)
        SHOAL_TRY(launch(dev, g, norm_grad_k<half_bits>, (const half_bits *)dout.data, t, shared));
    else
        SHOAL_TRY(launch(dev, g, norm_grad_k<float>, (const float *)dout.data, t, shared));
    SHOAL_TRY(cuda_add_partials(dev, (float *)dgain.data, t.partial, blocks, cols, 2 * cols));
    if (!dbias.data) return SHOAL_OK;
    return cuda_add_partials(dev, (float *)dbias.data, t.partial + cols, blocks, cols, 2 * cols);
}
