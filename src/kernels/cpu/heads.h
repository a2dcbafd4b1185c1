/* heads.h - one head of a (B, T, 3C) or (B, T, C) tensor as f32 tiles, and back. */
#pragma once
#include "kernels/kernels.h"

struct heads {
    int64_t batch, context, count, size;
    int64_t kv_count, group; /* heads of keys and values; heads of queries that share one */
    int64_t row, width;      /* numbers of a row of qkv, of a row of out */
    int64_t padded_size;     /* size rounded up to whole vectors; the padding is zero */
    int64_t padded_context;  /* context rounded up to whole tiles */
    bool is16;               /* the tensors are bf16 */
};

/* Part of a row of qkv a head's numbers are in. */
enum head_part { HEAD_QUERY, HEAD_KEY, HEAD_VALUE };

struct heads heads_of(struct view qkv, struct attention_shape shape);

/* One head's numbers inside a tensor: row t is at `at` + t * `row` elements. */
struct head {
    void *data;
    int64_t at, row;
};
/* Head number `index` = batch * heads + head of a qkv (heads: those of the part), or of an out
 * tensor. */
struct head head_in_qkv(const struct heads *h, struct view qkv, int64_t index, enum head_part part);
struct head head_in_out(const struct heads *h, struct view out, int64_t index);

/* to (n, padded_size) = rows [t, t + n) times scale; rows past the context are zero. */
void head_load(const struct heads *h, float *to, struct head from, int64_t t, int64_t n,
               float scale);
/* The same transposed: to[TILE keys at a time] is (padded_size, TILE); all of the context. */
void head_load_transposed(const struct heads *h, float *to, struct head from);
/* Rows [t, t + n) of the tensor = from (n, padded_size) times scale. */
void head_store(const struct heads *h, struct head to, const float *from, int64_t t, int64_t n,
                float scale);
