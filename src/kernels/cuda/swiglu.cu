/* swiglu.cu - silu(gate) * up, and its gradient. Bound by memory.
 *
 * With s = 1 / (1 + e^(-gate)):  silu = gate s,  silu' = s + silu (1 - s). */
#include "kernels/cuda/device.cuh"

/* e^(-x) overflows to infinity for far negative x, and s to 0, as it should. */
DEVICE_FN float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* A block row strides over the columns of one row of x, four a thread; `wide`: rows start aligned.
 */
template <typename T>
static __global__ void swiglu_k(T *out, const T *x, int64_t rows, int64_t width, bool wide)
{
    const int64_t first = 4 * flat_begin(), step = 4 * flat_stride();
    for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
        const T *const gate = x + 2 * row * width, *const up = gate + width;
        for (int64_t i = first; i < width; i += step) {
            const struct four g = load4(gate, i, width, wide), u = load4(up, i, width, wide);
            struct four f;
            for (int k = 0; k < 4; k++)
                f.v[k] = g.v[k] * sigmoid(g.v[k]) * u.v[k];
            store4(out + row * width, i, width, wide, f);
        }
    }
}

/* dx may be x: a thread reads its gate and up before it writes them. */
template <typename T>
static __global__ void swiglu_grad_k(T *dx, const T *dout, const T *x, int64_t rows, int64_t width,
                                     bool wide)
{
    const int64_t first = 4 * flat_begin(), step = 4 * flat_stride();
    for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
        const T *const gate = x + 2 * row * width, *const up = gate + width;
        T *const dgate = dx + 2 * row * width, *const dup = dgate + width;
        for (int64_t i = first; i < width; i += step) {
            const struct four g = load4(gate, i, width, wide), u = load4(up, i, width, wide),
                              d = load4(dout + row * width, i, width, wide);
            struct four to_gate, to_up;
            for (int k = 0; k < 4; k++) {
                const float s = sigmoid(g.v[k]), silu = g.v[k] * s;
                to_gate.v[k] = d.v[k] * u.v[k] * (silu * (1.0f - s) + s);
                to_up.v[k] = d.v[k] * silu;
            }
            store4(dgate, i, width, wide, to_gate);
            store4(dup, i, width, wide, to_up);
        }
    }
}

enum { SWIGLU_THREADS = 128, SWIGLU_MAX_ROWS = 32768 };

static struct grid swiglu_grid(int64_t rows, int64_t width)
{
    const int64_t across = parts_of(width, 4 * SWIGLU_THREADS);
    return grid_of(dim3((unsigned)across, (unsigned)at_most(rows, SWIGLU_MAX_ROWS)),
                   dim3(SWIGLU_THREADS));
}

/* Rows of `width` elements that start aligned when the tensor does. */
static bool rows_aligned(struct view v, int64_t width)
{
    return aligned16(v.data) && width * (int64_t)dtype_bytes(v.dtype) % 16 == 0;
}

enum shoal_status cuda_swiglu(struct device *dev, struct view out, struct view x)
{
    const int64_t rows = out.dim[0], width = out.dim[1];
    const bool wide = rows_aligned(out, width) && rows_aligned(x, width);
    if (x.dtype == DTYPE_BF16)
        return launch(dev, swiglu_grid(rows, width), swiglu_k<half_bits>, (half_bits *)out.data,
                      (const half_bits *)x.data, rows, width, wide);
    return launch(dev, swiglu_grid(rows, width), swiglu_k<float>, (float *)out.data,
                  (const float *)x.data, rows, width, wide);
}

enum shoal_status cuda_swiglu_grad(struct device *dev, struct view dx, struct view dout,
                                   struct view x)
{
    const int64_t rows = dout.dim[0], width = dout.dim[1];
    const bool wide =
        rows_aligned(dx, width) && rows_aligned(dout, width) && rows_aligned(x, width);
    if (x.dtype == DTYPE_BF16)
        return launch(dev, swiglu_grid(rows, width), swiglu_grad_k<half_bits>, (half_bits *)dx.data,
                      (const half_bits *)dout.data, (const half_bits *)x.data, rows, width, wide);
    return launch(dev, swiglu_grid(rows, width), swiglu_grad_k<float>, (float *)dx.data,
                  (const float *)dout.data, (const float *)x.data, rows, width, wide);
}
