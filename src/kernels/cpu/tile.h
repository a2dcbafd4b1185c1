/* tile.h - small dense products and transposes for attention: operands a few KB each, in f32. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* TILE queries meet TILE keys at a time; products are made TILE_ROWS rows at a time, columns in
 * whole vectors of TILE_VECTOR. */
enum { TILE = 64, TILE_ROWS = 8, TILE_VECTOR = 16 };

/* c (TILE_ROWS, n) = or += a (TILE_ROWS, k) . b (k, n); n a multiple of TILE_VECTOR,
 * k at least 1. */
struct tile_product {
    float *c;
    const float *a, *b;
    int64_t c_row;        /* elements from one row to the next */
    int64_t a_row, a_col; /* a may be transposed: a_row 1, a_col its leading dimension */
    int64_t b_row;
    int64_t n, k;
    bool add;
};
void tile_multiply(const struct tile_product *t);

/* out (16, 16), rows `row` elements apart, = transpose of x (16, 16), whose place is scratch. */
void tile_transpose16(float *out, int64_t row, float *x);

static inline int64_t round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}
