/* heads.c - see heads.h. */
#include "kernels/cpu/heads.h"

struct heads heads_of(struct view qkv, struct attention_shape shape)
{
    const int64_t row = qkv.dim[2], size = row / (shape.heads + 2 * shape.kv_heads);
    const struct heads h = {.batch = qkv.dim[0],
                            .context = qkv.dim[1],
                            .count = shape.heads,
                            .size = size,
                            .kv_count = shape.kv_heads,
                            .group = shape.heads / shape.kv_heads,
                            .row = row,
                            .width = shape.heads * size,
                            .is16 = qkv.dtype == DTYPE_BF16};
    return h;
}

struct head head_in_qkv(const struct heads *h, struct view qkv, int64_t index, enum head_part part)
{
    const int64_t before[] = {
        [HEAD_QUERY] = 0, [HEAD_KEY] = h->count, [HEAD_VALUE] = h->count + h->kv_count};
    const int64_t count = part == HEAD_QUERY ? h->count : h->kv_count;
    const int64_t sequence = index / count, number = index % count;
    const struct head head = {qkv.data,
                              sequence * h->context * h->row + (before[part] + number) * h->size,
                              h->row, h->is16};
    return head;
}

struct head head_in_out(const struct heads *h, struct view out, int64_t index)
{
    const int64_t sequence = index / h->count, number = index % h->count;
    const struct head head = {out.data, sequence * h->context * h->width + number * h->size,
                              h->width, h->is16};
    return head;
}

SPECIALISED void store_row(void *to, const float *from, int64_t n, float scale, bool is16)
{
    for (int64_t d = 0; d < n; d += VEC)
        vec_put(to, d, n - d < VEC ? n - d : VEC, is16, vec_load(from + d, false) * scale);
}

void head_store(const struct heads *h, struct head to, int64_t t, const float *from, float scale)
{
    if (h->is16)
        store_row(head_row(to, t), from, h->size, scale, true);
    else
        store_row(head_row(to, t), from, h->size, scale, false);
}
