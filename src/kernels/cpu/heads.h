/* heads.h - one head of a (B, T, W) or (B, T, C) tensor. */
#pragma once
#include "kernels/cpu/vec.h"
#include "kernels/kernels.h"

struct heads {
    int64_t batch, context, count, size;
    int64_t kv_count, group; /* heads of keys and values; heads of queries that share one */
    int64_t row, width;      /* numbers of a row of qkv, of a row of out */
    bool is16;               /* the tensors are bf16; size is even then */
};

/* Part of a row of qkv a head's numbers are in. */
enum head_part { HEAD_QUERY, HEAD_KEY, HEAD_VALUE };

struct heads heads_of(struct view qkv, struct attention_shape shape);

/* One head's numbers inside a tensor: row t is at `at` + t * `row` elements. */
struct head {
    void *data;
    int64_t at, row;
    bool is16;
};
/* Head number `index` = batch * heads + head of a qkv (heads: those of the part), or of an out
 * tensor. */
struct head head_in_qkv(const struct heads *h, struct view qkv, int64_t index, enum head_part part);
struct head head_in_out(const struct heads *h, struct view out, int64_t index);
/* Row t. */
static inline void *head_row(struct head head, int64_t t)
{
    return element_at(head.data, head.at + t * head.row, head.is16);
}
/* Row t = from (size) times scale; from has room for whole vectors. */
void head_store(const struct heads *h, struct head to, int64_t t, const float *from, float scale);
