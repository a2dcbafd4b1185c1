/* heads.c - see heads.h. */
#include "kernels/cpu/heads.h"
#include <string.h>
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/tile.h"

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
                            .padded_size = round_up(size, TILE_VECTOR),
                            .padded_context = round_up(qkv.dim[1], TILE),
                            .is16 = qkv.dtype == DTYPE_BF16};
    return h;
}

struct head head_in_qkv(const struct heads *h, struct view qkv, int64_t index, enum head_part part)
{
    const int64_t before[] = {
        [HEAD_QUERY] = 0, [HEAD_KEY] = h->count, [HEAD_VALUE] = h->count + h->kv_count};
    const int64_t count = part == HEAD_QUERY ? h->count : h->kv_count;
    const int64_t sequence = index / count, number = index % count;
    const struct head head = {
        qkv.data, sequence * h->context * h->row + (before[part] + number) * h->size, h->row};
    return head;
}

struct head head_in_out(const struct heads *h, struct view out, int64_t index)
{
    const int64_t sequence = index / h->count, number = index % h->count;
    const struct head head = {out.data, sequence * h->context * h->width + number * h->size,
                              h->width};
    return head;
}

SPECIALISED void load_row(float *to, const void *from, int64_t n, int64_t padded, float scale,
                          bool is16)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = scale * element_get(from, i, is16);
    if (n < padded) memset(to + n, 0, (size_t)(padded - n) * sizeof *to);
}

/* Row t of a head, or zeros past the context; elements [begin, begin + n), padded with zeros. */
static void load_part(const struct heads *h, float *to, struct head from, int64_t t, int64_t begin,
                      int64_t n, float scale)
{
    const int64_t left = h->size - begin;
    const int64_t count = t >= h->context ? 0 : left < n ? left : n;
    const int64_t at = from.at + t * from.row + begin;
    if (h->is16)
        load_row(to, element_at(from.data, at, true), count, n, scale, true);
    else
        load_row(to, element_at(from.data, at, false), count, n, scale, false);
}

void head_load(const struct heads *h, float *to, struct head from, int64_t t, int64_t n,
               float scale)
{
    for (int64_t i = 0; i < n; i++)
        load_part(h, to + i * h->padded_size, from, t + i, 0, h->padded_size, scale);
}

/* 16 keys from t on, 16 numbers of each from d on, into rows of TILE. */
static void load_block(const struct heads *h, float *to, struct head from, int64_t t, int64_t d)
{
    float block[TILE_VECTOR * TILE_VECTOR];
    for (int64_t i = 0; i < TILE_VECTOR; i++)
        load_part(h, block + i * TILE_VECTOR, from, t + i, d, TILE_VECTOR, 1.0f);
    tile_transpose16(to, TILE, block);
}

void head_load_transposed(const struct heads *h, float *to, struct head from)
{
    for (int64_t t = 0; t < h->padded_context; t += TILE_VECTOR) {
        float *const tile = to + t / TILE * TILE * h->padded_size + t % TILE;
        for (int64_t d = 0; d < h->padded_size; d += TILE_VECTOR)
            load_block(h, tile + d * TILE, from, t, d);
    }
}

SPECIALISED void store_row(void *to, const float *from, int64_t n, float scale, bool is16)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        element_put(to, i, is16, scale * from[i]);
}

void head_store(const struct heads *h, struct head to, const float *from, int64_t t, int64_t n,
                float scale)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = to.at + (t + i) * to.row;
        if (h->is16)
            store_row(element_at(to.data, at, true), from + i * h->padded_size, h->size, scale,
                      true);
        else
            store_row(element_at(to.data, at, false), from + i * h->padded_size, h->size, scale,
                      false);
    }
}
