/* elementwise.cu - conversion, weighted sums of tensors. Bound by memory: 6 bytes an element for a
 * conversion, 12 for axpby. Compiled without contraction, so axpby gives the CPU backend's bits. */
#include "kernels/cuda/device.cuh"

/* A thread owns four neighbours at a time. */
template <typename O, typename I>
static __global__ void convert_k(O *out, const I *x, int64_t n, bool wide)
{
    for (int64_t q = flat_begin(); 4 * q < n; q += flat_stride())
        store4(out, 4 * q, n, wide, load4(x, 4 * q, n, wide));
}

enum shoal_status cuda_convert(struct device *dev, struct view out, struct view x)
{
    const int64_t n = view_count(x);
    const bool wide = aligned16(out.data) && aligned16(x.data);
    if (out.dtype == x.dtype)
        return dev->ops->copy(dev, out.data, x.data, (size_t)n * dtype_bytes(x.dtype));
    if (out.dtype == DTYPE_BF16)
        return launch(dev, flat_grid(n), convert_k<half_bits, float>, (half_bits *)out.data,
                      (const float *)x.data, n, wide);
    return launch(dev, flat_grid(n), convert_k<float, half_bits>, (float *)out.data,
                  (const half_bits *)x.data, n, wide);
}

/* With beta 0 out may hold anything, NaN included, so it is not read. */
static __global__ void axpby_k(float *out, const float *x, int64_t n, float alpha, float beta,
                               bool wide)
{
    for (int64_t q = flat_begin(); 4 * q < n; q += flat_stride()) {
        struct four f = load4(x, 4 * q, n, wide);
        for (int k = 0; k < 4; k++)
            f.v[k] = alpha * f.v[k];
        if (beta != 0.0f) {
            const struct four old = load4(out, 4 * q, n, wide);
            for (int k = 0; k < 4; k++)
                f.v[k] = f.v[k] + beta * old.v[k];
        }
        store4(out, 4 * q, n, wide, f);
    }
}

enum shoal_status cuda_axpby(struct device *dev, float *out, const float *x, int64_t n, float alpha,
                             float beta)
{
    return launch(dev, flat_grid(n), axpby_k, out, x, n, alpha, beta,
                  aligned16(out) && aligned16(x));
}
