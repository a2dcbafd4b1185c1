/* tile.h - products of small tiles, summed in f32 in registers: what matrix products and attention
 * are made of.
 *
 * Operands are f32 or bf16. The right one comes as a panel of TILE_COLS columns and k rows: f32
 * laid out (k, TILE_COLS); bf16 (k/2, TILE_COLS, 2), because processors multiply pairs of
 * neighbours along k (vdpbf16ps), with a last row of zeros if k is odd. The left one needs no
 * packing if its rows run along k; packed as a panel it may also be read as its transpose. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "kernels/cpu/vec.h"

/* A tile takes most vector registers: 24 of 32, or 12 of 16. */
enum {
    TILE_COLS = 4 * VEC,
    TILE_ROWS = VEC_AVX512 ? 6 : 3,
    TILE_LINE = 64 /* bytes of a cache line */
};

static inline int64_t round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* k in whole pairs, for bf16. */
static inline int64_t tile_depth(int64_t k, bool is16)
{
    return is16 ? round_up(k, 2) : k;
}
/* Bytes of a panel of k rows. */
static inline int64_t tile_panel_bytes(int64_t k, bool is16)
{
    return tile_depth(k, is16) * TILE_COLS * (is16 ? 2 : 4);
}
/* Row k of a panel; for bf16 k is even. */
static inline void *tile_panel_row(const void *panel, int64_t k, bool is16)
{
    return element_at(panel, k * TILE_COLS, is16);
}

/* panel = b (k, n): row p at b + p * b_row; n <= TILE_COLS, missing columns become zero. */
void tile_pack(void *panel, const void *b, int64_t b_row, int64_t k, int64_t n, bool is16);
/* panel = b^T of b (n, k): row j at b + j * b_row; n <= TILE_COLS, missing columns become zero. */
void tile_pack_transposed(void *panel, const void *b, int64_t b_row, int64_t k, int64_t n,
                          bool is16);

/* A left operand: element, or for bf16 pair, p of row i is at a + i * row + p * step, in elements.
 */
struct tile_left {
    const void *a;
    int64_t row, step;
    bool is16;
};
/* A matrix whose rows run along k, `row` apart. For bf16 k must be even. */
static inline struct tile_left tile_left_rows(const void *a, int64_t row, bool is16)
{
    return (struct tile_left){a, row, is16 ? 2 : 1, is16};
}
/* The transpose of a panel. */
static inline struct tile_left tile_left_panel(const void *panel, bool is16)
{
    return (struct tile_left){panel, is16 ? 2 : 1, (is16 ? 2 : 1) * TILE_COLS, is16};
}
/* From row i on. */
static inline struct tile_left tile_left_at(struct tile_left left, int64_t i)
{
    left.a = element_at(left.a, i * left.row, left.is16);
    return left;
}

/* c (rows, TILE_COLS) f32, row i at c + i * c_row, is set to left . panel, or has it added.
 * rows <= TILE_ROWS; the panel has k rows, of left's type. */
void tile_multiply(float *c, int64_t c_row, struct tile_left left, const void *panel, int64_t k,
                   int rows, bool add);

/* What the caller will touch after a product, as many rows as that has: `lines` cache lines of each
 * row of at[0], and of at[1] unless it is NULL. */
struct tile_soon {
    const void *at[2];
    int64_t row_bytes;
    int lines;
};
/* The same, asking for those lines one by one while k is walked: all at once they would keep the
 * product's own loads waiting. */
void tile_multiply_toward(float *c, int64_t c_row, struct tile_left left, const void *panel,
                          int64_t k, int rows, bool add, const struct tile_soon *soon);
