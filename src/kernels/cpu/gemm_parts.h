/* gemm_parts.h - what the files of the matrix products share. */
#pragma once
#include "kernels/cpu/cpu.h"

/* What is done to a product before it is stored, for the `rows` x `cols` values p (row i at
 * p + i * p_row) whose first belongs at (i, j) of g's result. p may lie where c does, if c is f32.
 */
void gemm_epilogue(const struct gemm *g, const struct gemm_data *d, const float *p, int64_t p_row,
                   int64_t i, int64_t j, int64_t rows, int64_t cols);
/* GEMM_GELU_GRAD or GEMM_RESIDUAL (bias included already) where c holds the product. */
void gemm_epilogue_in_place(struct device *dev, const struct gemm *g, const struct gemm_data *d);

/* gemm_tiles.c: our own product. */
enum shoal_status gemm_tiles_run(struct device *dev, const struct gemm *g,
                                 const struct gemm_data *d);

/* gemm_dnnl.c: c = a . b (+ bias) (+ c) of bf16 matrices, as one primitive of oneDNN. */
struct product {
    int64_t m, n, k;
    enum gemm_kind kind;
    enum dtype out;
    bool bias, accumulate; /* bias is f32; accumulate: c is added to */
};
enum shoal_status gemm_dnnl_run(struct device *dev, const struct product *p, void *c, const void *a,
                                const void *b, const float *bias);
