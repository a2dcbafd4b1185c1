/* xent.cu - softmax and cross entropy in place of the logits. Bound by memory: a row is read twice
 * and written once.
 *
 * A block owns a row. The first pass keeps a running maximum and, relative to it, the sum of
 * exponentials; the second writes (e^(x - max) / sum - [target]) * scale. */
#include "kernels/cuda/device.cuh"

enum { XENT_THREADS = 512 };

/* Maximum of some logits and the sum of e^(x - max); sum 0: no logits yet, or all -infinity. */
struct softmax {
    float max, sum;
};

/* e^x of something that is not there is nothing, even where x is infinity - infinity. */
DEVICE_FN float scaled(float sum, float power)
{
    return sum == 0.0f ? 0.0f : sum * expf(power);
}
DEVICE_FN struct softmax softmax_join(struct softmax a, struct softmax b)
{
    struct softmax s;
    s.max = fmaxf(a.max, b.max);
    s.sum = scaled(a.sum, a.max - s.max) + scaled(b.sum, b.max - s.max);
    return s;
}
/* A NaN leaves the maximum alone and makes the sum NaN. */
DEVICE_FN void softmax_add(struct softmax *s, const float *v, int n)
{
    float top = s->max;
    for (int k = 0; k < n; k++)
        top = fmaxf(top, v[k]);
    if (top > s->max) s->sum = scaled(s->sum, s->max - top);
    s->max = top;
    for (int k = 0; k < n; k++)
        if (v[k] != -INFINITY) s->sum += expf(v[k] - top);
}

DEVICE_FN struct softmax warp_softmax(struct softmax s)
{
    for (int mask = WARP / 2; mask > 0; mask /= 2) {
        struct softmax other;
        other.max = __shfl_xor_sync(WHOLE_WARP, s.max, mask);
        other.sum = __shfl_xor_sync(WHOLE_WARP, s.sum, mask);
        /* both lanes of a pair join in the same order, so all lanes end with the same bits */
        s = (threadIdx.x & mask) ? softmax_join(other, s) : softmax_join(s, other);
    }
    return s;
}

DEVICE_FN struct softmax block_softmax(struct softmax s, struct softmax *room)
{
    const int lane = threadIdx.x % WARP;
    struct softmax none = {-INFINITY, 0.0f};
    s = warp_softmax(s);
    if (lane == 0) room[threadIdx.x / WARP] = s;
    __syncthreads();
    return warp_softmax(lane < XENT_THREADS / WARP ? room[lane] : none);
}

struct xent {
    float *losses;
    const int32_t *targets;
    int64_t padded;
    int vocab;
    float scale;
    bool with_grad, wide;
};

/* The row's gradient in place; what is past the vocabulary becomes 0. */
template <typename T>
DEVICE_FN void write_gradient(T *row, const struct xent *t, int32_t target, struct softmax s)
{
    const float factor = t->scale / s.sum;
    for (int64_t i = 4 * threadIdx.x; i < t->padded; i += 4 * XENT_THREADS) {
        struct four f = load4(row, i, t->padded, t->wide);
        for (int k = 0; k < 4; k++) {
            const float p = i + k < t->vocab ? expf(f.v[k] - s.max) * factor : 0.0f;
            f.v[k] = i + k == target ? p - t->scale : p;
        }
        store4(row, i, t->padded, t->wide, f);
    }
}

template <typename T> static __global__ void xent_k(T *logits, struct xent t)
{
    static __shared__ struct softmax room[WARP];
    T *const row = logits + blockIdx.x * t.padded;
    const int32_t target = t.targets[blockIdx.x];
    if (target < 0) { /* the whole block */
        for (int64_t i = 4 * threadIdx.x; t.with_grad && i < t.padded; i += 4 * XENT_THREADS)
            store4(row, i, t.padded, t.wide, four_of(0.0f));
        if (threadIdx.x == 0) t.losses[blockIdx.x] = 0.0f;
        return;
    }
    struct softmax s = {-INFINITY, 0.0f};
    for (int64_t i = 4 * threadIdx.x; i < t.vocab; i += 4 * XENT_THREADS) {
        const struct four f = load4(row, i, t.padded, t.wide);
        softmax_add(&s, f.v, t.vocab - i < 4 ? (int)(t.vocab - i) : 4);
    }
    const float hit = get(row, target); /* before the barrier, after which it is overwritten */
    s = block_softmax(s, room);
    if (threadIdx.x == 0) t.losses[blockIdx.x] = logf(s.sum) - (hit - s.max);
    if (t.with_grad) write_gradient(row, &t, target, s);
}

enum shoal_status cuda_xent(struct device *dev, struct view losses, struct view logits,
                            struct view targets, int vocab, float scale, bool with_grad)
{
    const int64_t rows = logits.dim[0], padded = logits.dim[1];
    const struct grid g = grid_of(dim3((unsigned)rows), dim3(XENT_THREADS));
    const struct xent t = {(float *)losses.data,
                           (const int32_t *)targets.data,
                           padded,
                           vocab,
                           scale,
                           with_grad,
                           aligned16(logits.data) && padded % 8 == 0};
    if (logits.dtype == DTYPE_BF16)
        return launch(dev, g, xent_k<half_bits>, (half_bits *)logits.data, t);
    return launch(dev, g, xent_k<float>, (float *)logits.data, t);
}
