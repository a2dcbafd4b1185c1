/* tile.c - see tile.h.
 *
 * An 8 x 32 block of the result is held in registers (16 of the 32 there are with 512-bit vectors)
 * while k is walked: per step 2 loads of b and 8 broadcasts of a feed 16 multiply-adds. Compilers
 * keep `sum` in registers only if its size and all loops over it are constants. Of the other
 * shapes 6 x 64 and 12 x 32 are within a few per cent at 512 bits, and half as fast at 256. On one
 * Zen 5 core: 220 GFLOP/s, 90 % of what oneDNN's f32 product reaches (bench/kernels). */
#include "kernels/cpu/tile.h"
#include "kernels/cpu/bf16.h"

enum { PANEL = 32 };

/* Columns [0, width) of the product; width is a constant at every call. */
SPECIALISED void panel(float *restrict c, const float *restrict a, const float *restrict b,
                       const struct tile_product *t, int width)
{
    float sum[TILE_ROWS][PANEL];
    const int64_t a_row = t->a_row, a_col = t->a_col, b_row = t->b_row, c_row = t->c_row, k = t->k;
    for (int i = 0; i < TILE_ROWS; i++)
#pragma omp simd
        for (int j = 0; j < width; j++)
            sum[i][j] = a[i * a_row] * b[j];
    for (int64_t p = 1; p < k; p++)
        for (int i = 0; i < TILE_ROWS; i++) {
            const float x = a[i * a_row + p * a_col];
#pragma omp simd
            for (int j = 0; j < width; j++)
                sum[i][j] += x * b[p * b_row + j];
        }
    if (t->add) {
        for (int i = 0; i < TILE_ROWS; i++)
#pragma omp simd
            for (int j = 0; j < width; j++)
                c[i * c_row + j] += sum[i][j];
    } else {
        for (int i = 0; i < TILE_ROWS; i++)
#pragma omp simd
            for (int j = 0; j < width; j++)
                c[i * c_row + j] = sum[i][j];
    }
}

void tile_multiply(const struct tile_product *t)
{
    int64_t j = 0;
    for (; j + PANEL <= t->n; j += PANEL)
        panel(t->c + j, t->a, t->b + j, t, PANEL);
    if (j < t->n) panel(t->c + j, t->a, t->b + j, t, TILE_VECTOR);
}

/* The index of an element is 8 bits, row and column; a perfect shuffle (out[2i] = in[i],
 * out[2i + 1] = in[i + 128]) rotates them by one, so four swap row and column. Unlike a scatter,
 * this is made of whole vectors. */
static void shuffle(float *restrict out, const float *restrict in)
{
    for (int i = 0; i < 128; i++) {
        out[2 * i] = in[i];
        out[2 * i + 1] = in[i + 128];
    }
}

/* The last of the four, into rows that are `row` apart. */
static void shuffle_rows(float *restrict out, int64_t row, const float *restrict in)
{
    for (int r = 0; r < TILE_VECTOR; r++)
        for (int i = 0; i < TILE_VECTOR / 2; i++) {
            out[r * row + 2 * i] = in[r * TILE_VECTOR / 2 + i];
            out[r * row + 2 * i + 1] = in[r * TILE_VECTOR / 2 + i + 128];
        }
}

void tile_transpose16(float *out, int64_t row, float *x)
{
    float y[256];
    shuffle(y, x);
    shuffle(x, y);
    shuffle(y, x);
    shuffle_rows(out, row, y);
}
