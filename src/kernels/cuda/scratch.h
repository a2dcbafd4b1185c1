/* scratch.h - what the CUDA backend holds beside the tensors it is given: bytes, as functions of
 * shapes. Kernels ask for scratch by these, and memory.c foretells it by the same. Plain
 * arithmetic, no CUDA. */
#pragma once
#include "kernels/cuda/geometry.h"
#include "kernels/kernels.h"

/* For cuBLASLt; one for all products, which never overlap. */
enum { CUDA_WORKSPACE_BYTES = 32 << 20 };
/* Pinned: where a sum arrives. */
enum { CUDA_TOTAL_BYTES = sizeof(double) };

/* ---- products ---- */

/* Whether it is worth asking cuBLASLt to do all of a product at once. GELU's matrix on the side
 * wants rows of whole 16 bytes. */
static inline bool product_may_fuse(bool has_gelu, enum dtype out, int64_t n)
{
    return !has_gelu || (out == DTYPE_BF16 && n % 8 == 0);
}
/* A bias of n numbers in the output's type; none where f32 serves. */
static inline int64_t scratch_bias(enum dtype out, int64_t n)
{
    return out == DTYPE_F32 ? 0 : n * (int64_t)dtype_bytes(out);
}
/* An (m, n) product that is not fused. */
static inline int64_t scratch_product(int64_t m, int64_t n)
{
    return m * n * (int64_t)sizeof(float);
}

/* ---- sums ---- */

enum { SUM_MAX_BLOCKS = 512, COLUMN_LEAST_ROWS = 64, COLUMN_MAX_BLOCKS = 256 };

/* A slab: partial sums and the total. */
static inline int64_t scratch_sum(void)
{
    return (SUM_MAX_BLOCKS + 1) * (int64_t)sizeof(double);
}
static inline int64_t column_block_rows(int64_t rows)
{
    return rows_per_block(rows, COLUMN_LEAST_ROWS, COLUMN_MAX_BLOCKS);
}
/* Columns of a (rows, cols) matrix: a partial sum of each, from every block of rows. */
static inline int64_t scratch_columns(int64_t rows, int64_t cols)
{
    return parts_of(rows, column_block_rows(rows)) * cols * (int64_t)sizeof(float);
}

/* ---- the network ---- */

enum { NORM_LEAST_ROWS = 16, NORM_MAX_BLOCKS = 512 };

static inline int64_t norm_block_rows(int64_t rows)
{
    return rows_per_block(rows, NORM_LEAST_ROWS, NORM_MAX_BLOCKS);
}
/* A norm's gradient: partial sums of gain and bias from every block of rows. */
static inline int64_t scratch_norm_grad(int64_t rows, int64_t cols)
{
    return parts_of(rows, norm_block_rows(rows)) * 2 * cols * (int64_t)sizeof(float);
}
/* Cosines and sines of all positions. */
static inline int64_t scratch_rope(int64_t context, int64_t head)
{
    return context * head * (int64_t)sizeof(float);
}
/* Attention's gradient: the product of gradient and output of every row and head. */
static inline int64_t scratch_attention_grad(int64_t batch, int64_t heads, int64_t context)
{
    return batch * heads * context * (int64_t)sizeof(float);
}

/* The embedding's gradient, in words: rows and tokens in two orders, how often each digit comes,
 * and what segments of sorted rows have of tokens that reach beyond them. */
enum { SORT_DIGITS = 256, SORT_CHUNK = 1024, ADD_SEGMENT = 64 };

static inline int64_t embed_list(int64_t rows)
{
    return parts_of(rows, 64) * 64;
}
static inline int64_t embed_places(int64_t rows)
{
    return SORT_DIGITS * parts_of(rows, SORT_CHUNK);
}
static inline int64_t embed_partial(int64_t rows, int64_t cols)
{
    return parts_of(rows, ADD_SEGMENT) * cols;
}
static inline int64_t scratch_embed_grad(int64_t rows, int64_t cols)
{
    const int64_t words = 4 * embed_list(rows) + embed_places(rows) + 2 * embed_partial(rows, cols);
    return words * (int64_t)sizeof(float);
}
