/* gemm_epilogue.cu - what is done to a product that cuBLASLt could not do itself, and a product for
 * shapes that it does not know at all. */
#include "kernels/cuda/gelu.cuh"
extern "C" {
#include "kernels/cuda/gemm.h"
}

struct epilogue {
    const float *p, *bias; /* (m, n), (n) or NULL */
    int64_t count, cols;
    bool wide;
};

template <typename T>
static __global__ void finish_k(T *c, T *aux, struct epilogue t, enum gemm_epilogue e)
{
    for (int64_t q = flat_begin(); 4 * q < t.count; q += flat_stride()) {
        struct four f = load4(t.p, 4 * q, t.count, t.wide), side = four_of(0.0f);
        if (t.bias)
            for (int k = 0; k < 4; k++)
                f.v[k] += t.bias[(4 * q + k) % t.cols];
        if (e == GEMM_GELU) store4(aux, 4 * q, t.count, t.wide, f);
        if (e == GEMM_GELU_GRAD || e == GEMM_RESIDUAL) side = load4(aux, 4 * q, t.count, t.wide);
        if (e == GEMM_ADD) side = load4(c, 4 * q, t.count, t.wide);
        for (int k = 0; k < 4; k++) {
            if (e == GEMM_GELU) f.v[k] = gelu(f.v[k]);
            if (e == GEMM_GELU_GRAD) f.v[k] *= gelu_slope(side.v[k]);
            if (e == GEMM_RESIDUAL || e == GEMM_ADD) f.v[k] += side.v[k];
        }
        store4(c, 4 * q, t.count, t.wide, f);
    }
}

enum shoal_status gemm_finish(struct device *dev, const struct gemm *g, const struct gemm_data *d,
                              const float *p)
{
    const struct epilogue t = {p, d->bias, g->m * g->n, g->n,
                               aligned16(p) && aligned16(d->c) && aligned16(d->aux)};
    if (g->out == DTYPE_BF16)
        return launch(dev, flat_grid(t.count), finish_k<half_bits>, (half_bits *)d->c,
                      (half_bits *)d->aux, t, g->epilogue);
    return launch(dev, flat_grid(t.count), finish_k<float>, (float *)d->c, (float *)d->aux, t,
                  g->epilogue);
}

/* ---- a product of any shape --------------------------------------------------------------------
 */

enum { PLAIN = 16 }; /* a block makes 16 x 16 numbers, a thread one */

/* Element (i, l) of a is at i * row + l * col, and so for b with (l, j). */
struct plain {
    int64_t m, n, k, a_row, a_col, b_row, b_col;
};

template <typename T>
static __global__ void plain_k(float *p, const T *a, const T *b, struct plain t)
{
    static __shared__ float left[PLAIN][PLAIN], right[PLAIN][PLAIN];
    const int x = threadIdx.x, y = threadIdx.y;
    const int64_t i = (int64_t)blockIdx.y * PLAIN + y, j = (int64_t)blockIdx.x * PLAIN + x;
    float sum = 0.0f;
    for (int64_t l = 0; l < t.k; l += PLAIN) {
        left[y][x] = i < t.m && l + x < t.k ? get(a, i * t.a_row + (l + x) * t.a_col) : 0.0f;
        right[y][x] = l + y < t.k && j < t.n ? get(b, (l + y) * t.b_row + j * t.b_col) : 0.0f;
        __syncthreads();
        for (int s = 0; s < PLAIN; s++)
            sum += left[y][s] * right[s][x];
        __syncthreads();
    }
    if (i < t.m && j < t.n) p[i * t.n + j] = sum;
}

enum shoal_status gemm_plain(struct device *dev, float *p, const struct gemm *g,
                             const struct gemm_data *d)
{
    const bool a_turned = g->kind == GEMM_TN, b_turned = g->kind == GEMM_NT;
    const struct plain t = {g->m,
                            g->n,
                            g->k,
                            a_turned ? 1 : g->k,
                            a_turned ? g->m : 1,
                            b_turned ? 1 : g->n,
                            b_turned ? g->k : 1};
    const struct grid blocks = grid_of(
        dim3((unsigned)parts_of(g->n, PLAIN), (unsigned)parts_of(g->m, PLAIN)), dim3(PLAIN, PLAIN));
    if (g->in == DTYPE_BF16)
        return launch(dev, blocks, plain_k<half_bits>, p, (const half_bits *)d->a,
                      (const half_bits *)d->b, t);
    return launch(dev, blocks, plain_k<float>, p, (const float *)d->a, (const float *)d->b, t);
}
