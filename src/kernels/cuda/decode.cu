/* decode.cu - attention of one new position over a cache of keys and values.
 *
 * A block owns a head: scores (a warp a key), softmax over them, weighted sum of values (a thread
 * an element). Bound by reading the cache. */
#include "kernels/cuda/device.cuh"

enum { DECODE_THREADS = 256 };

struct decode {
    float *out, *scores; /* (heads, HS), (heads, T_max) */
    const float *query, *keys, *values;
    int64_t positions, most, stride, size; /* most: T_max; stride: of a row of the cache */
    int group;
    float scale;
};

/* Largest score of the head; room: 32 floats. */
DEVICE_FN float block_max(float x, float *room)
{
    const int lane = threadIdx.x % WARP;
    x = warp_max(x);
    if (lane == 0) room[threadIdx.x / WARP] = x;
    __syncthreads();
    return warp_max(lane < DECODE_THREADS / WARP ? room[lane] : -INFINITY);
}

static __global__ void decode_k(struct decode t)
{
    static __shared__ float maxima[WARP], sums[WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, head = blockIdx.x;
    const float *const query = t.query + head * t.size;
    const float *const keys = t.keys + head / t.group * t.size;
    const float *const values = t.values + head / t.group * t.size;
    float *const scores = t.scores + head * t.most;
    float max = -INFINITY, sum = 0.0f;
    for (int64_t s = warp; s < t.positions; s += DECODE_THREADS / WARP) {
        float score = 0.0f;
        for (int64_t d = lane; d < t.size; d += WARP)
            score += query[d] * keys[s * t.stride + d];
        score = warp_sum(score) * t.scale;
        if (lane == 0) scores[s] = score;
        max = fmaxf(max, score);
    }
    max = block_max(max, maxima); /* its barrier makes the scores visible to the block */
    for (int64_t s = threadIdx.x; s < t.positions; s += DECODE_THREADS) {
        scores[s] = expf(scores[s] - max);
        sum += scores[s];
    }
    sum = block_sum(sum, sums);
    for (int64_t d = threadIdx.x; d < t.size; d += DECODE_THREADS) {
        float value = 0.0f;
        for (int64_t s = 0; s < t.positions; s++)
            value += scores[s] / sum * values[s * t.stride + d];
        t.out[head * t.size + d] = value;
    }
}

enum shoal_status cuda_attention_decode(struct device *dev, struct view out, struct view keys,
                                        struct view values, struct view qkv, int64_t position,
                                        struct attention_shape shape)
{
    const int64_t width = keys.dim[1], size = width / shape.kv_heads;
    const float *const query = (const float *)qkv.data, *const key = query + shape.heads * size;
    const size_t row_bytes = (size_t)width * sizeof *key;
    struct decode t = {(float *)out.data,
                       NULL,
                       query,
                       (const float *)keys.data,
                       (const float *)values.data,
                       position + 1,
                       keys.dim[0],
                       width,
                       size,
                       shape.heads / shape.kv_heads,
                       1.0f / sqrtf((float)size)};
    /* room for a full cache at once, so that it does not grow with every token */
    SHOAL_TRY(cuda_scratch(dev, (size_t)(shape.heads * t.most) * sizeof(float), &t.scores));
    SHOAL_TRY(dev->ops->copy(dev, (float *)keys.data + position * width, key, row_bytes));
    SHOAL_TRY(dev->ops->copy(dev, (float *)values.data + position * width, key + width, row_bytes));
    return launch(dev, grid_of(dim3((unsigned)shape.heads), dim3(DECODE_THREADS)), decode_k, t);
}
