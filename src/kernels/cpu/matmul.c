/* matmul.c - the three products of a linear layer, as calls of gemm.c. */
#include "kernels/cpu/cpu.h"

enum shoal_status cpu_matmul(struct device *dev, struct view out, struct view x, struct view w,
                             struct view bias)
{
    const struct gemm g = {.m = x.dim[0],
                           .n = w.dim[0],
                           .k = x.dim[1],
                           .kind = GEMM_NT,
                           .in = x.dtype,
                           .out = out.dtype,
                           .bias = bias.data != NULL};
    return gemm_run(dev, &g, out.data, x.data, w.data, bias.data);
}

enum shoal_status cpu_matmul_grad_x(struct device *dev, struct view dx, struct view dout,
                                    struct view w, bool accumulate)
{
    const struct gemm g = {.m = dout.dim[0],
                           .n = w.dim[1],
                           .k = w.dim[0],
                           .kind = GEMM_NN,
                           .in = w.dtype,
                           .out = dx.dtype,
                           .accumulate = accumulate};
    return gemm_run(dev, &g, dx.data, dout.data, w.data, NULL);
}

enum shoal_status cpu_matmul_grad_w(struct device *dev, struct view dw, struct view dbias,
                                    struct view dout, struct view x)
{
    const struct gemm g = {.m = dout.dim[1],
                           .n = x.dim[1],
                           .k = dout.dim[0],
                           .kind = GEMM_TN,
                           .in = x.dtype,
                           .out = DTYPE_F32,
                           .accumulate = true};
    SHOAL_TRY(gemm_run(dev, &g, dw.data, dout.data, x.data, NULL));
    if (dbias.data)
        cpu_add_column_sums(dev, dbias.data, dout.data, dout.dtype == DTYPE_BF16, dout.dim[0],
                            dout.dim[1]);
    return SHOAL_OK;
}
