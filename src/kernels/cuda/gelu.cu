/* gelu.cu - GELU over whole tensors; see gelu.cuh. Bound by memory. */
#include "kernels/cuda/gelu.cuh"

template <typename T> static __global__ void gelu_k(T *out, const T *x, int64_t n, bool wide)
{
    for (int64_t q = flat_begin(); 4 * q < n; q += flat_stride()) {
        struct four f = load4(x, 4 * q, n, wide);
        for (int k = 0; k < 4; k++)
            f.v[k] = gelu(f.v[k]);
        store4(out, 4 * q, n, wide, f);
    }
}

enum shoal_status cuda_gelu(struct device *dev, struct view out, struct view x)
{
    const int64_t n = view_count(x);
    const bool wide = aligned16(out.data) && aligned16(x.data);
    if (x.dtype == DTYPE_BF16)
        return launch(dev, flat_grid(n), gelu_k<half_bits>, (half_bits *)out.data,
                      (const half_bits *)x.data, n, wide);
    return launch(dev, flat_grid(n), gelu_k<float>, (float *)out.data, (const float *)x.data, n,
                  wide);
}
