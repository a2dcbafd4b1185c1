/* dnnl_api.h - the few oneDNN calls that differ between its versions 2 and 3.
 *
 * A memory descriptor is a struct in version 2 and a handle that must be destroyed in version 3. */
#pragma once
#include <oneapi/dnnl/dnnl.h>

/* A (rows, cols) matrix with these strides, in elements. */
static inline dnnl_status_t api_matrix(dnnl_memory_desc_t *md, dnnl_data_type_t type,
                                       dnnl_dim_t rows, dnnl_dim_t cols, dnnl_dim_t row_stride,
                                       dnnl_dim_t col_stride)
{
    const dnnl_dims_t dims = {rows, cols}, strides = {row_stride, col_stride};
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_strides(md, 2, dims, type, strides);
#else
    return dnnl_memory_desc_init_by_strides(md, 2, dims, type, strides);
#endif
}

static inline void api_matrix_free(dnnl_memory_desc_t *md)
{
#if DNNL_VERSION_MAJOR >= 3
    if (*md) (void)dnnl_memory_desc_destroy(*md);
    *md = NULL;
#else
    (void)md;
#endif
}

/* A memory object without memory; its address is set before each use. */
static inline dnnl_status_t api_memory(dnnl_memory_t *memory, const dnnl_memory_desc_t *md,
                                       dnnl_engine_t engine)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_create(memory, *md, engine, DNNL_MEMORY_NONE);
#else
    return dnnl_memory_create(memory, md, engine, DNNL_MEMORY_NONE);
#endif
}

/* Memory object and size of the scratchpad a primitive wants. */
static inline dnnl_status_t api_scratchpad(dnnl_memory_t *memory, size_t *bytes,
                                           const_dnnl_primitive_desc_t pd, dnnl_engine_t engine)
{
#if DNNL_VERSION_MAJOR >= 3
    const_dnnl_memory_desc_t md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
#else
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
#endif
    if (!md) return dnnl_runtime_error;
    *bytes = dnnl_memory_desc_get_size(md);
    return dnnl_memory_create(memory, md, engine, DNNL_MEMORY_NONE);
}

static inline dnnl_status_t api_append_sum(dnnl_post_ops_t post_ops)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_sum(post_ops, 1.0f, 0, dnnl_data_type_undef);
#else
    return dnnl_post_ops_append_sum(post_ops, 1.0f);
#endif
}

/* c = a . b (+ bias, unless NULL). */
static inline dnnl_status_t api_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine,
                                       const dnnl_memory_desc_t *a, const dnnl_memory_desc_t *b,
                                       const dnnl_memory_desc_t *bias, const dnnl_memory_desc_t *c,
                                       const_dnnl_primitive_attr_t attr)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_matmul_primitive_desc_create(pd, engine, *a, *b, bias ? *bias : NULL, *c, attr);
#else
    dnnl_matmul_desc_t desc;
    const dnnl_status_t status = dnnl_matmul_desc_init(&desc, a, b, bias, c);
    if (status != dnnl_success) return status;
    return dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL);
#endif
}
