/* swiglu.c - silu(gate) * up, and its gradient.
 *
 * With s = 1 / (1 + e^(-gate)):  silu = gate s,  silu' = s + silu (1 - s). */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec.h"

#define LOG2E 1.4426950408889634f

SPECIALISED vec sigmoid(vec x, bool rough)
{
    return 1.0f / (1.0f + vec_exp2(x * -LOG2E, rough));
}

SPECIALISED void swiglu_row(void *out, const void *gate, const void *up, int64_t n, bool is16)
{
    for (int64_t i = 0; i < n; i += VEC) {
        const int64_t count = n - i < VEC ? n - i : VEC;
        const vec g = vec_get(gate, i, count, is16);
        vec_put(out, i, count, is16, g * sigmoid(g, is16) * vec_get(up, i, count, is16));
    }
}

SPECIALISED void swiglu_grad_row(void *dgate, void *dup, const void *dout, const void *gate,
                                 const void *up, int64_t n, bool is16)
{
    for (int64_t i = 0; i < n; i += VEC) {
        const int64_t count = n - i < VEC ? n - i : VEC;
        const vec g = vec_get(gate, i, count, is16), u = vec_get(up, i, count, is16);
        const vec d = vec_get(dout, i, count, is16);
        const vec s = sigmoid(g, is16), silu = g * s;
        vec_put(dgate, i, count, is16, d * u * vec_fma(silu, 1.0f - s, s));
        vec_put(dup, i, count, is16, d * silu);
    }
}

enum shoal_status cpu_swiglu(struct device *dev, struct view out, struct view x)
{
    const int64_t rows = out.dim[0], width = out.dim[1];
    const bool is16 = x.dtype == DTYPE_BF16;
    const int team = cpu_team(dev, 4 * rows * width);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < rows; i++) {
        void *const to = element_at(out.data, i * width, is16);
        const void *const gate = element_at(x.data, 2 * i * width, is16);
        const void *const up = element_at(gate, width, is16);
        if (is16)
            swiglu_row(to, gate, up, width, true);
        else
            swiglu_row(to, gate, up, width, false);
    }
    return SHOAL_OK;
}

enum shoal_status cpu_swiglu_grad(struct device *dev, struct view dx, struct view dout,
                                  struct view x)
{
    const int64_t rows = dout.dim[0], width = dout.dim[1];
    const bool is16 = x.dtype == DTYPE_BF16;
    const int team = cpu_team(dev, 8 * rows * width);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < rows; i++) {
        void *const dgate = element_at(dx.data, 2 * i * width, is16);
        void *const dup = element_at(dgate, width, is16);
        const void *const d = element_at(dout.data, i * width, is16);
        const void *const gate = element_at(x.data, 2 * i * width, is16);
        const void *const up = element_at(gate, width, is16);
        if (is16)
            swiglu_grad_row(dgate, dup, d, gate, up, width, true);
        else
            swiglu_grad_row(dgate, dup, d, gate, up, width, false);
    }
    return SHOAL_OK;
}
