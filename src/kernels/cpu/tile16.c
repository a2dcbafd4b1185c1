/* tile16.c - see tile16.h.
 *
 * A 6 x 64 tile of the result takes 24 of the 32 vector registers while k is walked: per pair of
 * rows of the panel 4 loads and 6 broadcasts feed 24 multiply-adds, so loads never are the limit.
 */
#include "kernels/cpu/tile16.h"

#if TILE16
#include <immintrin.h>
#include <string.h>
#include "kernels/cpu/bf16.h"

enum {
    WIDTH = 16, /* pairs, or f32, in a vector */
    VECTORS = TILE16_COLS / WIDTH,
    PANEL_PAIR = 2 * TILE16_COLS /* elements of a pair of rows of a panel */
};

/* The first n of 32 elements; of 16 pairs. None for n <= 0. */
static __mmask32 first_elements(int64_t n)
{
    return n >= 32 ? 0xffffffffu : n <= 0 ? 0u : (1u << n) - 1u;
}
static __mmask16 first_pairs(int64_t n)
{
    return (__mmask16)(n >= 16 ? 0xffffu : n <= 0 ? 0u : (1u << n) - 1u);
}

void tile16_pack(uint16_t *panel, const uint16_t *b, int64_t b_row, int64_t k, int64_t n)
{
    const __mmask32 left = first_elements(n), right = first_elements(n - 32);
    const __m512i low = _mm512_add_epi16(
        _mm512_set1_epi32(0x00200000), /* 0 32 1 33 ... : one of this row, one of the next */
        _mm512_mullo_epi32(
            _mm512_set1_epi32(0x00010001),
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(WIDTH));
    for (int64_t p = 0; p < k; p += 2, panel += PANEL_PAIR, b += 2 * b_row) {
        const __m512i x0 = _mm512_maskz_loadu_epi16(left, b);
        const __m512i x1 = _mm512_maskz_loadu_epi16(left, b + b_row);
        const __m512i y0 = _mm512_maskz_loadu_epi16(right, b + 32);
        const __m512i y1 = _mm512_maskz_loadu_epi16(right, b + b_row + 32);
        _mm512_storeu_si512(panel, _mm512_permutex2var_epi16(x0, low, x1));
        _mm512_storeu_si512(panel + 32, _mm512_permutex2var_epi16(x0, high, x1));
        _mm512_storeu_si512(panel + 64, _mm512_permutex2var_epi16(y0, low, y1));
        _mm512_storeu_si512(panel + 96, _mm512_permutex2var_epi16(y0, high, y1));
    }
}

/* Transposes x, 16 x 16 pairs: first inside each quarter of the vectors, then the quarters. */
SPECIALISED void transpose_pairs(__m512i *x)
{
    __m512i y[WIDTH];
    for (int i = 0; i < WIDTH; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    for (int i = 0; i < WIDTH; i += 4) {
        x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
        x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
        x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
        x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
    }
    for (int i = 0; i < WIDTH; i += 8)
        for (int j = i; j < i + 4; j++) {
            y[j] = _mm512_shuffle_i32x4(x[j], x[j + 4], 0x88);
            y[j + 4] = _mm512_shuffle_i32x4(x[j], x[j + 4], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        x[j] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0x88);
        x[j + 8] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0xdd);
    }
}

void tile16_pack_transposed(uint16_t *panel, const uint16_t *b, int64_t b_row, int64_t k, int64_t n)
{
    for (int64_t p = 0; p < k; p += 2 * WIDTH) {
        const __mmask16 pairs = first_pairs((k - p) / 2);
        const int count = (int)(k - p < 2 * WIDTH ? (k - p) / 2 : WIDTH);
        for (int j = 0; j < TILE16_COLS; j += WIDTH) {
            __m512i x[WIDTH];
            for (int i = 0; i < WIDTH; i++)
                x[i] = _mm512_maskz_loadu_epi32(j + i < n ? pairs : 0, b + (j + i) * b_row + p);
            transpose_pairs(x);
            for (int i = 0; i < count; i++)
                _mm512_storeu_si512(panel + (p / 2 + i) * PANEL_PAIR + 2 * j, x[i]);
        }
    }
}

/* A row of a tile or of a panel. */
struct row {
    __m512 v0, v1, v2, v3;
};

SPECIALISED struct row row_load(const void *from)
{
    const float *const p = from;
    const struct row r = {_mm512_loadu_ps(p), _mm512_loadu_ps(p + WIDTH),
                          _mm512_loadu_ps(p + 2 * WIDTH), _mm512_loadu_ps(p + 3 * WIDTH)};
    return r;
}
SPECIALISED void row_store(float *to, struct row r)
{
    _mm512_storeu_ps(to, r.v0);
    _mm512_storeu_ps(to + WIDTH, r.v1);
    _mm512_storeu_ps(to + 2 * WIDTH, r.v2);
    _mm512_storeu_ps(to + 3 * WIDTH, r.v3);
}

/* sum + the pair at `a` times the pairs of b */
SPECIALISED struct row row_multiply(struct row sum, const uint16_t *a, struct row b)
{
    int32_t pair;
    memcpy(&pair, a, sizeof pair);
    const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
    const struct row r = {
        _mm512_dpbf16_ps(sum.v0, x, (__m512bh)b.v0), _mm512_dpbf16_ps(sum.v1, x, (__m512bh)b.v1),
        _mm512_dpbf16_ps(sum.v2, x, (__m512bh)b.v2), _mm512_dpbf16_ps(sum.v3, x, (__m512bh)b.v3)};
    return r;
}

/* tile16_multiply for constant `rows` and `add`. Not a loop over an array of rows: gcc would keep
 * the array in memory before and after the long loop. */
SPECIALISED void multiply_rows(float *c, int64_t c_row, const uint16_t *a, int64_t a_row,
                               int64_t a_pair, const uint16_t *panel, int64_t k, int rows, bool add)
{
    const __m512 zero = _mm512_setzero_ps();
    struct row s0 = {zero, zero, zero, zero}, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0;
    if (add) {
        s0 = row_load(c);
        if (rows > 1) s1 = row_load(c + c_row);
        if (rows > 2) s2 = row_load(c + 2 * c_row);
        if (rows > 3) s3 = row_load(c + 3 * c_row);
        if (rows > 4) s4 = row_load(c + 4 * c_row);
        if (rows > 5) s5 = row_load(c + 5 * c_row);
    }
    for (int64_t p = 0; p < k; p += 2, a += a_pair, panel += PANEL_PAIR) {
        const struct row b = row_load(panel);
        s0 = row_multiply(s0, a, b);
        if (rows > 1) s1 = row_multiply(s1, a + a_row, b);
        if (rows > 2) s2 = row_multiply(s2, a + 2 * a_row, b);
        if (rows > 3) s3 = row_multiply(s3, a + 3 * a_row, b);
        if (rows > 4) s4 = row_multiply(s4, a + 4 * a_row, b);
        if (rows > 5) s5 = row_multiply(s5, a + 5 * a_row, b);
    }
    row_store(c, s0);
    if (rows > 1) row_store(c + c_row, s1);
    if (rows > 2) row_store(c + 2 * c_row, s2);
    if (rows > 3) row_store(c + 3 * c_row, s3);
    if (rows > 4) row_store(c + 4 * c_row, s4);
    if (rows > 5) row_store(c + 5 * c_row, s5);
}

SPECIALISED void multiply(float *c, int64_t c_row, const uint16_t *a, int64_t a_row, int64_t a_pair,
                          const uint16_t *panel, int64_t k, int rows, bool add)
{
    switch (rows) {
    case 1:
        multiply_rows(c, c_row, a, a_row, a_pair, panel, k, 1, add);
        break;
    case 2:
        multiply_rows(c, c_row, a, a_row, a_pair, panel, k, 2, add);
        break;
    case 3:
        multiply_rows(c, c_row, a, a_row, a_pair, panel, k, 3, add);
        break;
    case 4:
        multiply_rows(c, c_row, a, a_row, a_pair, panel, k, 4, add);
        break;
    case 5:
        multiply_rows(c, c_row, a, a_row, a_pair, panel, k, 5, add);
        break;
    default:
        multiply_rows(c, c_row, a, a_row, a_pair, panel, k, TILE16_ROWS, add);
        break;
    }
}

void tile16_multiply(float *c, int64_t c_row, const uint16_t *a, int64_t a_row, int64_t a_pair,
                     const uint16_t *panel, int64_t k, int rows, bool add)
{
    if (add)
        multiply(c, c_row, a, a_row, a_pair, panel, k, rows, true);
    else
        multiply(c, c_row, a, a_row, a_pair, panel, k, rows, false);
}
#endif
