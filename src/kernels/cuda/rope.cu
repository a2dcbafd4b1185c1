/* rope.cu - rotary positions.
 *
 * Sines and cosines of a call's positions are computed first, in double precision: at position
 * 60,000 a float angle would be off by a thousandth. Q and K heads lie side by side in a row of
 * qkv, so they are turned alike. Bound by memory: Q and K are read and written once. */
#include "kernels/cuda/device.cuh"

enum { ROPE_THREADS = 256, ROPE_MAX_BLOCKS = 65535 };

/* table (positions, 2, half): cosines, then sines. A thread owns one angle. */
static __global__ void angles_k(float *table, int64_t positions, int64_t half, int64_t first,
                                float theta, bool back)
{
    for (int64_t i = flat_begin(); i < positions * half; i += flat_stride()) {
        const int64_t position = i / half, pair = i % half;
        const double power = -(double)pair / (double)half;
        const double angle = (double)(first + position) * pow((double)theta, power);
        float *const to = table + position * 2 * half + pair;
        to[0] = (float)cos(angle);
        to[half] = (float)(back ? -sin(angle) : sin(angle));
    }
}

/* A thread owns one pair of one head of one row. `pairs` of a row: turned heads times half. */
template <typename T>
static __global__ void rope_k(T *qkv, const float *table, int64_t rows, int64_t context,
                              int64_t width, int64_t pairs, int64_t half)
{
    for (int64_t i = flat_begin(); i < rows * pairs; i += flat_stride()) {
        const int64_t row = i / pairs, head = i % pairs / half, pair = i % half;
        const float *const turn = table + row % context * 2 * half + pair;
        T *const at = qkv + row * width + head * 2 * half + pair;
        const float x = get(at, 0), y = get(at, half), cosine = turn[0], sine = turn[half];
        put(at, 0, x * cosine - y * sine);
        put(at, half, y * cosine + x * sine);
    }
}

static struct grid rope_grid(int64_t n)
{
    const int64_t blocks = at_most(parts_of(n, ROPE_THREADS), ROPE_MAX_BLOCKS);
    return grid_of(dim3((unsigned)blocks), dim3(ROPE_THREADS));
}

enum shoal_status cuda_rope(struct device *dev, struct view qkv, struct attention_shape shape,
                            int64_t first, float theta, bool back)
{
    const int64_t context = qkv.dim[1], width = qkv.dim[2], rows = qkv.dim[0] * context;
    const int64_t turned = shape.heads + shape.kv_heads, size = width / (turned + shape.kv_heads);
    const int64_t half = size / 2, pairs = turned * half;
    float *table;
    SHOAL_TRY(cuda_scratch(dev, (size_t)scratch_rope(context, size), &table));
    SHOAL_TRY(
        launch(dev, rope_grid(context * half), angles_k, table, context, half, first, theta, back));
    if (qkv.dtype == DTYPE_BF16)
        return launch(dev, rope_grid(rows * pairs), rope_k<half_bits>, (half_bits *)qkv.data, table,
                      rows, context, width, pairs, half);
    return launch(dev, rope_grid(rows * pairs), rope_k<float>, (float *)qkv.data, table, rows,
                  context, width, pairs, half);
}
