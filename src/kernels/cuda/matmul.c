/* matmul.c - the products of a linear layer, as calls of gemm.c. The gradient of a bias is a sum of
 * columns of its own: cuBLASLt's would not be added to what is there. */
#include "kernels/cuda/gemm.h"

/* x (R, I) . w (O, I)^T + bias */
static enum shoal_status forward(struct device *dev, enum gemm_epilogue epilogue, struct view out,
                                 void *aux, struct view x, struct view w, struct view bias)
{
    const struct gemm g = {.m = x.dim[0],
                           .n = w.dim[0],
                           .k = x.dim[1],
                           .kind = GEMM_NT,
                           .in = x.dtype,
                           .out = out.dtype,
                           .epilogue = epilogue};
    const struct gemm_data d = {
        .c = out.data, .a = x.data, .b = w.data, .bias = bias.data, .aux = aux};
    return cuda_gemm(dev, &g, &d);
}

enum shoal_status cuda_matmul(struct device *dev, struct view out, struct view x, struct view w,
                              struct view bias)
{
    return forward(dev, GEMM_STORE, out, NULL, x, w, bias);
}

enum shoal_status cuda_matmul_residual(struct device *dev, struct view sum, struct view residual,
                                       struct view x, struct view w, struct view bias)
{
    return forward(dev, GEMM_RESIDUAL, sum, residual.data, x, w, bias);
}

enum shoal_status cuda_matmul_gelu(struct device *dev, struct view out, struct view pre,
                                   struct view x, struct view w, struct view bias)
{
    return forward(dev, GEMM_GELU, out, pre.data, x, w, bias);
}

/* dout (R, O) . w (O, I) */
static enum shoal_status backward(struct device *dev, enum gemm_epilogue epilogue, struct view dx,
                                  void *aux, struct view dout, struct view w)
{
    const struct gemm g = {.m = dout.dim[0],
                           .n = w.dim[1],
                           .k = w.dim[0],
                           .kind = GEMM_NN,
                           .in = w.dtype,
                           .out = dx.dtype,
                           .epilogue = epilogue};
    const struct gemm_data d = {.c = dx.data, .a = dout.data, .b = w.data, .aux = aux};
    return cuda_gemm(dev, &g, &d);
}

enum shoal_status cuda_matmul_grad_x(struct device *dev, struct view dx, struct view dout,
                                     struct view w)
{
    return backward(dev, GEMM_STORE, dx, NULL, dout, w);
}

enum shoal_status cuda_matmul_gelu_grad_x(struct device *dev, struct view dpre, struct view dout,
                                          struct view w, struct view pre)
{
    return backward(dev, GEMM_GELU_GRAD, dpre, pre.data, dout, w);
}

enum shoal_status cuda_matmul_grad_w(struct device *dev, struct view dw, struct view dbias,
                                     struct view dout, struct view x, bool accumulate)
{
    const struct gemm g = {.m = dout.dim[1],
                           .n = x.dim[1],
                           .k = dout.dim[0],
                           .kind = GEMM_TN,
                           .in = x.dtype,
                           .out = DTYPE_F32,
                           .epilogue = accumulate ? GEMM_ADD : GEMM_STORE};
    const struct gemm_data d = {.c = dw.data, .a = dout.data, .b = x.data};
    SHOAL_TRY(cuda_gemm(dev, &g, &d));
    if (!dbias.data) return SHOAL_OK;
    return cuda_add_column_sums(dev, dbias.data, dout.data, dout.dtype == DTYPE_BF16, dout.dim[0],
                                dout.dim[1]);
}
