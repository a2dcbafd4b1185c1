/* reduce.cu - sums. The number of blocks, and what each adds up in which order, depend on the
 * length alone, so a sum has the same bits on every GPU. Bound by memory, on GPUs with few
 * double-precision units by those. */
#include "kernels/cuda/device.cuh"

/* ---- a whole slab, in double precision ---------------------------------------------------------
 */

/* partial[block] = sum of the block's share; a thread adds every (blocks * threads)-th four. */
static __global__ void sum_k(double *partial, const float *x, int64_t n, bool squares, bool wide)
{
    static __shared__ double room[WARP];
    double sum = 0.0;
    for (int64_t q = flat_begin(); 4 * q < n; q += flat_stride()) {
        const struct four f = load4(x, 4 * q, n, wide); /* zeros past the end add nothing */
        for (int k = 0; k < 4; k++) {
            const double v = (double)f.v[k];
            sum += squares ? v * v : v;
        }
    }
    sum = block_sum(sum, room);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/* The sum of `blocks` values, one a thread of the one block; every thread has it. */
DEVICE_FN double partial_total(const double *partial, unsigned blocks, double *room)
{
    return block_sum(threadIdx.x < blocks ? partial[threadIdx.x] : 0.0, room);
}

static __global__ void total_k(double *total, const double *partial, unsigned blocks)
{
    static __shared__ double room[WARP];
    const double sum = partial_total(partial, blocks, room);
    if (threadIdx.x == 0) *total = sum;
}

static __global__ void figures_loss_k(struct figures *f, const double *partial, unsigned blocks,
                                      double over, bool add)
{
    static __shared__ double room[WARP];
    const double sum = partial_total(partial, blocks, room);
    if (threadIdx.x == 0) f->loss = add ? f->loss + sum / over : sum / over;
}

static __global__ void figures_norm_k(struct figures *f, const double *partial, unsigned blocks,
                                      double clip)
{
    static __shared__ double room[WARP];
    const double sum = partial_total(partial, blocks, room), norm = sqrt(sum);
    if (threadIdx.x != 0) return;
    const bool finite = isfinite(norm) && isfinite(f->loss), clips = clip > 0.0 && norm > clip;
    f->sumsq = sum;
    f->scale = finite ? (float)(clips ? clip / norm : 1.0) : NAN;
}

/* Partial sums in scratch, and room for one number more behind them. */
struct partials {
    double *at;
    unsigned blocks;
};

static enum shoal_status sum_blocks(struct device *dev, struct partials *p, const float *x,
                                    int64_t n, bool squares)
{
    p->blocks = (unsigned)at_most(flat_blocks(n), SUM_MAX_BLOCKS);
    SHOAL_TRY(cuda_scratch(dev, (size_t)scratch_sum(), &p->at));
    return launch(dev, grid_of(dim3(p->blocks), dim3(FLAT_THREADS)), sum_k, p->at, x, n, squares,
                  aligned16(x));
}

static struct grid one_block(void)
{
    return grid_of(dim3(1), dim3(SUM_MAX_BLOCKS));
}

static enum shoal_status reduce(struct device *dev, double *out, const float *x, int64_t n,
                                bool squares)
{
    struct cuda_device *const cuda = cuda_of(dev);
    struct partials p;
    SHOAL_TRY(sum_blocks(dev, &p, x, n, squares));
    double *const total = p.at + SUM_MAX_BLOCKS;
    SHOAL_TRY(launch(dev, one_block(), total_k, total, p.at, p.blocks));
    TRY_CUDA(
        cudaMemcpyAsync(cuda->total, total, sizeof *total, cudaMemcpyDeviceToHost, cuda->stream));
    TRY_CUDA(cudaStreamSynchronize(cuda->stream));
    *out = *cuda->total;
    return SHOAL_OK;
}

enum shoal_status cuda_sum(struct device *dev, double *out, const float *x, int64_t n)
{
    return reduce(dev, out, x, n, false);
}

enum shoal_status cuda_sumsq(struct device *dev, double *out, const float *x, int64_t n)
{
    return reduce(dev, out, x, n, true);
}

enum shoal_status cuda_figures_loss(struct device *dev, struct figures *f, const float *losses,
                                    int64_t n, double over, bool add)
{
    struct partials p;
    SHOAL_TRY(sum_blocks(dev, &p, losses, n, false));
    return launch(dev, one_block(), figures_loss_k, f, p.at, p.blocks, over, add);
}

enum shoal_status cuda_figures_norm(struct device *dev, struct figures *f, const float *grad,
                                    int64_t n, double clip)
{
    struct partials p;
    SHOAL_TRY(sum_blocks(dev, &p, grad, n, true));
    return launch(dev, one_block(), figures_norm_k, f, p.at, p.blocks, clip);
}

/* ---- columns -----------------------------------------------------------------------------------
 */

enum { COLUMN_LANES = 32, COLUMN_ROWS = 8 };

/* A block owns 32 columns; thread (c, r) adds rows r, r + 8, ... of column c, then thread (c, 0)
 * adds the eight sums in order. All threads call it; the result is thread (c, 0)'s. */
DEVICE_FN float column_total(float sum, float (*room)[COLUMN_LANES])
{
    room[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    float total = 0.0f;
    if (threadIdx.y == 0)
        for (int r = 0; r < COLUMN_ROWS; r++)
            total += room[r][threadIdx.x];
    return total;
}

/* partial (blocks.y, cols) = sums over each block's rows. */
template <typename T>
static __global__ void column_sums_k(float *partial, const T *x, int64_t rows, int64_t cols,
                                     int64_t block_rows)
{
    static __shared__ float room[COLUMN_ROWS][COLUMN_LANES];
    const int64_t col = (int64_t)blockIdx.x * COLUMN_LANES + threadIdx.x;
    const int64_t begin = (int64_t)blockIdx.y * block_rows;
    const int64_t end = begin + block_rows < rows ? begin + block_rows : rows;
    float sum = 0.0f;
    if (col < cols)
        for (int64_t i = begin + threadIdx.y; i < end; i += COLUMN_ROWS)
            sum += get(x, i * cols + col);
    const float total = column_total(sum, room);
    if (threadIdx.y == 0 && col < cols) partial[blockIdx.y * cols + col] = total;
}

static __global__ void add_partials_k(float *to, const float *partial, int64_t blocks, int64_t cols,
                                      int64_t stride)
{
    static __shared__ float room[COLUMN_ROWS][COLUMN_LANES];
    const int64_t col = (int64_t)blockIdx.x * COLUMN_LANES + threadIdx.x;
    float sum = 0.0f;
    if (col < cols)
        for (int64_t b = threadIdx.y; b < blocks; b += COLUMN_ROWS)
            sum += partial[b * stride + col];
    const float total = column_total(sum, room);
    if (threadIdx.y == 0 && col < cols) to[col] += total;
}

enum shoal_status cuda_add_partials(struct device *dev, float *to, const float *partial,
                                    int64_t blocks, int64_t cols, int64_t stride)
{
    const struct grid g =
        grid_of(dim3((unsigned)parts_of(cols, COLUMN_LANES)), dim3(COLUMN_LANES, COLUMN_ROWS));
    return launch(dev, g, add_partials_k, to, partial, blocks, cols, stride);
}

enum shoal_status cuda_add_column_sums(struct device *dev, float *to, const void *x, bool x16,
                                       int64_t rows, int64_t cols)
{
    const int64_t step = column_block_rows(rows);
    const int64_t blocks = parts_of(rows, step);
    const struct grid g = grid_of(dim3((unsigned)parts_of(cols, COLUMN_LANES), (unsigned)blocks),
                                  dim3(COLUMN_LANES, COLUMN_ROWS));
    float *partial;
    SHOAL_TRY(cuda_scratch(dev, (size_t)scratch_columns(rows, cols), &partial));
    if (x16)
        SHOAL_TRY(launch(dev, g, column_sums_k<half_bits>, partial, (const half_bits *)x, rows,
                         cols, step));
    else
        SHOAL_TRY(
            launch(dev, g, column_sums_k<float>, partial, (const float *)x, rows, cols, step));
    return cuda_add_partials(dev, to, partial, blocks, cols, cols);
}
