/* decode.c - attention of one new position over a cache of keys and values.
 *
 * A head is one task: its scores, softmax and weighted sum of values. Bound by reading the cache.
 */
#include <math.h>
#include <string.h>
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/simd_math.h"

struct decode {
    const float *query, *keys, *values; /* of the head; rows are `stride` apart */
    int64_t positions, stride, size;
};

static float score_row(const float *query, const float *key, int64_t size, float scale)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < size; d++)
        sum += query[d] * key[d];
    return sum * scale;
}

/* out (size); score: room for every position. */
static void decode_head(float *out, float *score, const struct decode *t)
{
    const float scale = 1.0f / sqrtf((float)t->size);
    float max = -INFINITY, sum = 0.0f;
    for (int64_t s = 0; s < t->positions; s++) {
        score[s] = score_row(t->query, t->keys + s * t->stride, t->size, scale);
        max = score[s] > max ? score[s] : max;
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t s = 0; s < t->positions; s++) {
        score[s] = simd_exp(score[s] - max);
        sum += score[s];
    }
    for (int64_t d = 0; d < t->size; d++)
        out[d] = 0.0f;
    for (int64_t s = 0; s < t->positions; s++) {
        const float weight = score[s] / sum, *const value = t->values + s * t->stride;
#pragma omp simd
        for (int64_t d = 0; d < t->size; d++)
            out[d] += weight * value[d];
    }
}

enum shoal_status cpu_attention_decode(struct device *dev, struct view out, struct view keys,
                                       struct view values, struct view qkv, int64_t position,
                                       struct attention_shape shape)
{
    const int64_t width = keys.dim[1], size = width / shape.kv_heads, positions = position + 1;
    const int64_t group = shape.heads / shape.kv_heads;
    const float *const query = qkv.data, *const key = query + shape.heads * size;
    float *scores;
    /* room for a full cache at once, so that it does not grow with every token */
    SHOAL_TRY(cpu_scratch(dev, (size_t)(shape.heads * keys.dim[0]) * sizeof(float), &scores));
    memcpy((float *)keys.data + position * width, key, (size_t)width * sizeof *key);
    memcpy((float *)values.data + position * width, key + width, (size_t)width * sizeof *key);
    const int team = cpu_team(dev, 2 * positions * shape.heads * size);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int h = 0; h < shape.heads; h++) {
        const struct decode t = {query + h * size,
                                 (const float *)keys.data + h / group * size,
                                 (const float *)values.data + h / group * size,
                                 positions,
                                 width,
                                 size};
        decode_head((float *)out.data + h * size, scores + h * positions, &t);
    }
    return SHOAL_OK;
}
