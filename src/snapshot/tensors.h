/* tensors.h - the tensors of a slab, one at a time through a host buffer, as a file has them.
 * Private to this folder. */
#pragma once
#include "kernels/kernels.h"
#include "model/params.h"

enum tensor_layout {
    LAYOUT_STORED, /* (out, in), as in the slab */
    LAYOUT_HF      /* Hugging Face's: those that say hf_transposed are (in, out) */
};

/* A tensor's shape in a file; vectors have rank 1. Vocabulary padding is left out. */
struct tensor_shape {
    int rank;
    int64_t dim[2];
};
struct tensor_shape tensor_shape(const struct param_tensor *t, enum tensor_layout layout);

/* What a format does with one tensor: put it into a file, or get it from there. values are
 * real_rows
 * * cols f32 on the host. */
typedef enum shoal_status (*tensor_put)(void *file, const struct param_tensor *t,
                                        const float *values);
typedef enum shoal_status (*tensor_get)(void *file, const struct param_tensor *t, float *values);

/* Put every tensor of a slab on dev, in slab order. */
enum shoal_status tensors_put(const struct param_table *table, struct device *dev,
                              const float *slab, enum tensor_layout layout, tensor_put put,
                              void *file);
/* Get them back; padding and gaps become zero. */
enum shoal_status tensors_get(const struct param_table *table, struct device *dev, float *slab,
                              enum tensor_layout layout, tensor_get get, void *file);
/* Bytes of the host buffers that LAYOUT_HF takes meanwhile; slabs on the host need less. */
int64_t tensors_buffer_bytes(const struct param_table *table, bool on_host);
