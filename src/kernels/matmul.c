/* matmul.c - the products of a linear layer: checked, and handed to the backend's gemm. */
#include "kernels/check.h"
#define SHOAL_KERNELS_PRIVATE
#include "kernels/kernels_impl.h"

/* ---- x (R, I) . w (O, I)^T + bias (O) -------------------------------------------------------- */

static enum shoal_status check_matmul(const char *op, struct view out, int out_types, struct view x,
                                      struct view w, struct view bias)
{
    const int64_t rows = x.dim[0], inputs = x.dim[1], outputs = w.dim[0];
    SHOAL_TRY(check_matrix(op, "x", x, CHECK_ACT, rows, inputs));
    SHOAL_TRY(check_matrix(op, "w", w, check_type(x), outputs, inputs));
    SHOAL_TRY(check_matrix(op, "out", out, out_types, rows, outputs));
    return bias.data ? check_count(op, "bias", bias, CHECK_F32, outputs) : SHOAL_OK;
}

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
    return dev->ops->gemm(dev, &g, &d);
}

enum shoal_status kernel_matmul(struct device *dev, struct view out, struct view x, struct view w,
                                struct view bias)
{
    SHOAL_TRY(check_matmul("matmul", out, CHECK_F32 | check_type(x), x, w, bias));
    return forward(dev, GEMM_STORE, out, NULL, x, w, bias);
}

enum shoal_status kernel_matmul_residual(struct device *dev, struct view sum, struct view residual,
                                         struct view x, struct view w, struct view bias)
{
    const char *const op = "matmul_residual";
    SHOAL_TRY(check_matmul(op, sum, CHECK_F32, x, w, bias));
    SHOAL_TRY(check_matrix(op, "residual", residual, CHECK_F32, sum.dim[0], sum.dim[1]));
    return forward(dev, GEMM_RESIDUAL, sum, residual.data, x, w, bias);
}

enum shoal_status kernel_matmul_gelu(struct device *dev, struct view out, struct view pre,
                                     struct view x, struct view w, struct view bias)
{
    const char *const op = "matmul_gelu";
    SHOAL_TRY(check_matmul(op, out, check_type(x), x, w, bias));
    SHOAL_TRY(check_matrix(op, "pre", pre, check_type(x), out.dim[0], out.dim[1]));
    return forward(dev, GEMM_GELU, out, pre.data, x, w, bias);
}

/* ---- dx (R, I) = dout (R, O) . w (O, I) ------------------------------------------------------ */

static enum shoal_status check_grad_x(const char *op, struct view dx, int dx_types,
                                      struct view dout, struct view w)
{
    const int64_t rows = dout.dim[0], outputs = dout.dim[1], inputs = w.dim[1];
    SHOAL_TRY(check_matrix(op, "dout", dout, CHECK_ACT, rows, outputs));
    SHOAL_TRY(check_matrix(op, "w", w, check_type(dout), outputs, inputs));
    return check_matrix(op, "dx", dx, dx_types, rows, inputs);
}

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
    return dev->ops->gemm(dev, &g, &d);
}

enum shoal_status kernel_matmul_grad_x(struct device *dev, struct view dx, struct view dout,
                                       struct view w)
{
    SHOAL_TRY(check_grad_x("matmul_grad_x", dx, CHECK_F32 | check_type(w), dout, w));
    return backward(dev, GEMM_STORE, dx, NULL, dout, w);
}

enum shoal_status kernel_matmul_gelu_grad_x(struct device *dev, struct view dpre, struct view dout,
                                            struct view w, struct view pre)
{
    const char *const op = "matmul_gelu_grad_x";
    SHOAL_TRY(check_grad_x(op, dpre, check_type(w), dout, w));
    SHOAL_TRY(check_matrix(op, "pre", pre, check_type(w), dpre.dim[0], dpre.dim[1]));
    return backward(dev, GEMM_GELU_GRAD, dpre, pre.data, dout, w);
}

/* ---- dw (O, I) = dout (R, O)^T . x (R, I) ---------------------------------------------------- */

enum shoal_status kernel_matmul_grad_w(struct device *dev, struct view dw, struct view dbias,
                                       struct view dout, struct view x, bool accumulate)
{
    const char *const op = "matmul_grad_w";
    const int64_t rows = x.dim[0], inputs = x.dim[1], outputs = dout.dim[1];
    SHOAL_TRY(check_matrix(op, "x", x, CHECK_ACT, rows, inputs));
    SHOAL_TRY(check_matrix(op, "dout", dout, check_type(x), rows, outputs));
    SHOAL_TRY(check_matrix(op, "dw", dw, CHECK_F32, outputs, inputs));
    if (dbias.data) SHOAL_TRY(check_count(op, "dbias", dbias, CHECK_F32, outputs));
    const struct gemm g = {.m = outputs,
                           .n = inputs,
                           .k = rows,
                           .kind = GEMM_TN,
                           .in = x.dtype,
                           .out = DTYPE_F32,
                           .epilogue = accumulate ? GEMM_ADD : GEMM_STORE};
    const struct gemm_data d = {.c = dw.data, .a = dout.data, .b = x.data, .a_sums = dbias.data};
    return dev->ops->gemm(dev, &g, &d);
}
