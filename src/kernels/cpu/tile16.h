/* tile16.h - bf16 products of small tiles, summed in f32, in the registers of AVX-512 BF16.
 *
 * The processor's instruction multiplies pairs of neighbours along k (vdpbf16ps), so both operands
 * are read pair by pair. The right operand comes as a panel: TILE16_COLS columns, k rows, laid out
 * (k/2, TILE16_COLS, 2), so that one pair of rows is whole vectors. The left operand needs no
 * packing if its rows run along k; packed as a panel it may also be read transposed.
 * TILE16 is 1 where the compiler may use these instructions; nothing else of this file exists
 * where it is 0. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#if defined(__AVX512BF16__) && defined(__AVX512F__) && defined(__AVX512BW__)
#define TILE16 1
#else
#define TILE16 0
#endif

enum { TILE16_ROWS = 6, TILE16_COLS = 64 };

/* Elements of a panel of k rows; k is even. */
static inline int64_t tile16_panel_size(int64_t k)
{
    return k * TILE16_COLS;
}

/* panel = b (k, n): row p at b + p * b_row; n <= TILE16_COLS, missing columns become zero. */
void tile16_pack(uint16_t *panel, const uint16_t *b, int64_t b_row, int64_t k, int64_t n);
/* panel = b^T of b (n, k): row j at b + j * b_row; n <= TILE16_COLS, missing columns become zero.
 */
void tile16_pack_transposed(uint16_t *panel, const uint16_t *b, int64_t b_row, int64_t k,
                            int64_t n);

/* c (rows, TILE16_COLS) f32, row i at c + i * c_row, is set to a . panel, or has it added.
 * a (rows, k): pair p of row i at a + i * a_row + p * a_pair, in elements: a matrix whose rows run
 * along k has a_pair 2; a panel (k, rows) read as its transpose has a_row 2 and a_pair
 * 2 * TILE16_COLS. rows <= TILE16_ROWS; k is even. */
void tile16_multiply(float *c, int64_t c_row, const uint16_t *a, int64_t a_row, int64_t a_pair,
                     const uint16_t *panel, int64_t k, int rows, bool add);
