/* gemm.h - row-major matrix products, each with what is done to the product before it is stored.
 * Private to src/kernels/cuda; C11 and CUDA C++. */
#pragma once
#include "kernels/cuda/cuda.h"

enum gemm_kind {
    GEMM_NT, /* a (m, k) . b (n, k)^T */
    GEMM_NN, /* a (m, k) . b (k, n) */
    GEMM_TN  /* a (k, m)^T . b (k, n) */
};
/* p is the product plus the bias, if there is one. */
enum gemm_epilogue {
    GEMM_STORE,     /* c = p */
    GEMM_ADD,       /* c (f32) += p */
    GEMM_RESIDUAL,  /* c (f32) = aux (f32) + p; c may be aux */
    GEMM_GELU,      /* aux = p, c = GELU(p); aux has c's type */
    GEMM_GELU_GRAD, /* c = p * GELU'(aux); aux has c's type */
};
struct gemm {
    int64_t m, n, k;
    enum gemm_kind kind;
    enum dtype in, out; /* of a and b; of c */
    enum gemm_epilogue epilogue;
};
struct gemm_data {
    void *c; /* (m, n) */
    const void *a, *b;
    const float *bias; /* (n), or NULL */
    void *aux;         /* (m, n), or NULL where the epilogue has none */
};

/* gemm.c. A plan is made at the first meeting of a product and kept until the device is closed. */
enum shoal_status gemm_plans_create(struct gemm_plans **out);
void gemm_plans_destroy(struct gemm_plans **plans);
enum shoal_status cuda_gemm(struct device *dev, const struct gemm *g, const struct gemm_data *d);
/* How many plans there are; for tests. */
int gemm_plans_count(const struct gemm_plans *plans);

/* gemm_epilogue.cu: c and aux from the product p (m, n) f32. */
enum shoal_status gemm_finish(struct device *dev, const struct gemm *g, const struct gemm_data *d,
                              const float *p);
/* gemm_epilogue.cu: p (m, n) f32 = the product alone; for shapes of which cuBLASLt has none. Slow.
 */
enum shoal_status gemm_plain(struct device *dev, float *p, const struct gemm *g,
                             const struct gemm_data *d);
