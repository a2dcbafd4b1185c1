/* reference.h - the network's arithmetic in double precision, written to be read: naive loops, no
 * blocking, nothing in place. Shares no code with src/kernels. Shapes as in kernels.h. Gradient
 * functions set their outputs. */
#pragma once
#include <stdint.h>

void ref_matmul(double *out, const double *x, const double *w, const double *bias, int64_t R,
                int64_t I, int64_t O);
void ref_matmul_grad_x(double *dx, const double *dout, const double *w, int64_t R, int64_t I,
                       int64_t O);
void ref_matmul_grad_w(double *dw, double *dbias, const double *dout, const double *x, int64_t R,
                       int64_t I, int64_t O);

void ref_layernorm(double *out, double *mean, double *rstd, const double *x, const double *gain,
                   const double *bias, int64_t R, int64_t C, double eps);
void ref_layernorm_grad(double *dx, double *dgain, double *dbias, const double *dout,
                        const double *x, const double *gain, int64_t R, int64_t C, double eps);

void ref_rmsnorm(double *out, double *rstd, const double *x, const double *gain, int64_t R,
                 int64_t C, double eps);
void ref_rmsnorm_grad(double *dx, double *dgain, const double *dout, const double *x,
                      const double *gain, int64_t R, int64_t C, double eps);

/* x: rows of gate | up, F each. */
void ref_swiglu(double *out, const double *x, int64_t R, int64_t F);
void ref_swiglu_grad(double *dx, const double *dout, const double *x, int64_t R, int64_t F);
/* Rows of `turned` heads that are turned, then `still` that are not; out is not x. */
void ref_rope(double *out, const double *x, int64_t B, int64_t T, int64_t turned, int64_t still,
              int64_t HS, int64_t first, double theta);

void ref_gelu(double *out, const double *x, int64_t n);
void ref_gelu_grad(double *dx, const double *dout, const double *x, int64_t n);

void ref_attention(double *out, double *stats, const double *qkv, int64_t B, int64_t T, int64_t C,
                   int64_t NH);
void ref_attention_grad(double *dqkv, const double *dout, const double *qkv, int64_t B, int64_t T,
                        int64_t C, int64_t NH);

/* dlogits: gradient of scale * sum of losses. */
void ref_xent(double *losses, double *dlogits, const double *logits, const int32_t *targets,
              int64_t R, int64_t V, int64_t Vp, double scale);

void ref_embed(double *out, const int32_t *tokens, const double *wte, const double *wpe, int64_t B,
               int64_t T, int64_t C);
void ref_embed_grad(double *dwte, double *dwpe, const double *dout, const int32_t *tokens,
                    int64_t B, int64_t T, int64_t C, int64_t Vp, int64_t context);

void ref_adamw(double *w, double *m, double *v, const double *grad, int64_t n, double lr,
               double beta1, double beta2, double eps, double decay, double grad_scale, int step);
