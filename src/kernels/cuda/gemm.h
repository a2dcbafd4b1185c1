/* gemm.h - what the files of the matrix products share.
 * Private to src/kernels/cuda; C11 and CUDA C++. */
#pragma once
#include "kernels/cuda/cuda.h"

/* gemm.c. A plan is made at the first meeting of a product and kept until the device is closed. */
enum shoal_status gemm_plans_create(struct gemm_plans **out);
void gemm_plans_destroy(struct gemm_plans **plans);

/* gemm_epilogue.cu: c and aux from the product p (m, n) f32. */
enum shoal_status gemm_finish(struct device *dev, const struct gemm *g, const struct gemm_data *d,
                              const float *p);
/* gemm_epilogue.cu: p (m, n) f32 = the product alone; for shapes of which cuBLASLt has none. Slow.
 */
enum shoal_status gemm_plain(struct device *dev, float *p, const struct gemm *g,
                             const struct gemm_data *d);
