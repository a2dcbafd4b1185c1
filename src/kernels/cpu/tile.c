/* tile.c - see tile.h.
 *
 * With 512-bit vectors a tile is 6 x 64: per row of the panel (pair of rows, in bf16) 4 loads and 6
 * broadcasts feed 24 multiply-adds, so loads never are the limit. With 16 registers it is 3 vectors
 * high and the ratio is 7 to 12. Where no instruction multiplies bf16, the two halves of a pair are
 * widened in registers: f32 arithmetic on half the memory traffic. */
#include "kernels/cpu/tile.h"

enum { PAIR_ROW = 2 * TILE_COLS /* elements of a pair of rows of a bf16 panel */ };

#if defined(__AVX512BF16__) && VEC_AVX512
#define MULTIPLIES_BF16 1
#else
#define MULTIPLIES_BF16 0
#endif

/* ---- packing --------------------------------------------------------------------------------- */

SPECIALISED void pack_row_f32(float *to, const float *from, int64_t n)
{
    for (int64_t j = 0; j < TILE_COLS; j += VEC)
        vec_put(to, j, VEC, false,
                j < n ? vec_get(from, j, n - j < VEC ? n - j : VEC, false) : vec_all(0.0f));
}

/* Interleave two rows, the second one of zeros if `second` is NULL. */
#if VEC_AVX512
static __m512i row_part(const uint16_t *row, int64_t begin, int64_t n)
{
    const int64_t left = n - begin;
    const __mmask32 mask = left >= 32 ? 0xffffffffu : left <= 0 ? 0u : (1u << left) - 1u;
    return row ? _mm512_maskz_loadu_epi16(mask, row + begin) : _mm512_setzero_si512();
}

static void pack_pair(uint16_t *to, const uint16_t *first, const uint16_t *second, int64_t n)
{
    const __m512i low = _mm512_add_epi16(
        _mm512_set1_epi32(0x00200000), /* 0 32 1 33 ... : one of the first row, one of the second */
        _mm512_mullo_epi32(
            _mm512_set1_epi32(0x00010001),
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(VEC));
    for (int64_t j = 0; j < TILE_COLS; j += 2 * VEC) {
        const __m512i x = row_part(first, j, n), y = row_part(second, j, n);
        _mm512_storeu_si512(to + 2 * j, _mm512_permutex2var_epi16(x, low, y));
        _mm512_storeu_si512(to + 2 * j + 2 * VEC, _mm512_permutex2var_epi16(x, high, y));
    }
}
#else
static void pack_pair(uint16_t *to, const uint16_t *first, const uint16_t *second, int64_t n)
{
    for (int64_t j = 0; j < TILE_COLS; j++) {
        to[2 * j] = j < n ? first[j] : 0;
        to[2 * j + 1] = j < n && second ? second[j] : 0;
    }
}
#endif

void tile_pack(void *panel, const void *b, int64_t b_row, int64_t k, int64_t n, bool is16)
{
    if (is16) {
        const uint16_t *from = b;
        uint16_t *to = panel;
        for (int64_t p = 0; p < k; p += 2, to += PAIR_ROW, from += 2 * b_row)
            pack_pair(to, from, p + 1 < k ? from + b_row : NULL, n);
        return;
    }
    const float *from = b;
    float *to = panel;
    for (int64_t p = 0; p < k; p++, to += TILE_COLS, from += b_row) {
        if (n == TILE_COLS)
            pack_row_f32(to, from, TILE_COLS);
        else
            pack_row_f32(to, from, n);
    }
}

/* Transposing moves units of 32 bits: f32, or pairs of bf16. `bytes` of row j are at
 * b + j * row_bytes; a last unit may be half one. */
struct units {
    const char *b;
    int64_t row_bytes, bytes, n;
};

#if VEC_AVX512
/* Transposes x, 16 x 16 units: first inside each quarter of the vectors, then the quarters. */
SPECIALISED void transpose(__m512i *x)
{
    __m512i y[VEC];
    for (int i = 0; i < VEC; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    for (int i = 0; i < VEC; i += 4) {
        x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
        x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
        x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
        x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
    }
    for (int i = 0; i < VEC; i += 8)
        for (int j = i; j < i + 4; j++) {
            y[j] = _mm512_shuffle_i32x4(x[j], x[j + 4], 0x88);
            y[j + 4] = _mm512_shuffle_i32x4(x[j], x[j + 4], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        x[j] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0x88);
        x[j + 8] = _mm512_shuffle_i32x4(y[j], y[j + 8], 0xdd);
    }
}

static void pack_units(uint32_t *panel, struct units u)
{
    for (int64_t p = 0; p < u.bytes; p += 4 * VEC) {
        const int64_t halves = (u.bytes - p) / 2;
        const __mmask32 mask = halves >= 2 * VEC ? 0xffffffffu : (1u << halves) - 1u;
        const int count = (int)(halves >= 2 * VEC ? VEC : (halves + 1) / 2);
        for (int64_t j = 0; j < TILE_COLS; j += VEC) {
            __m512i x[VEC];
            for (int64_t i = 0; i < VEC; i++)
                x[i] = _mm512_maskz_loadu_epi16(j + i < u.n ? mask : 0,
                                                u.b + (j + i) * u.row_bytes + p);
            transpose(x);
            for (int i = 0; i < count; i++)
                _mm512_storeu_si512(panel + (p / 4 + i) * TILE_COLS + j, x[i]);
        }
    }
}
#else
static void pack_units(uint32_t *panel, struct units u)
{
    for (int64_t p = 0; p < u.bytes; p += 4, panel += TILE_COLS)
        for (int64_t j = 0; j < TILE_COLS; j++) {
            panel[j] = 0;
            if (j < u.n) memcpy(panel + j, u.b + j * u.row_bytes + p, u.bytes - p < 4 ? 2 : 4);
        }
}
#endif

void tile_pack_transposed(void *panel, const void *b, int64_t b_row, int64_t k, int64_t n,
                          bool is16)
{
    const int64_t size = is16 ? 2 : 4;
    pack_units(panel, (struct units){b, b_row * size, k * size, n});
}

/* ---- products -------------------------------------------------------------------------------- */

/* A row of a tile or of a panel. Not an array: gcc would keep it in memory. */
struct row {
    vec v0, v1, v2, v3;
};

SPECIALISED struct row row_load(const float *p)
{
    return (struct row){vec_load(p, false), vec_load(p + VEC, false), vec_load(p + 2 * VEC, false),
                        vec_load(p + 3 * VEC, false)};
}
SPECIALISED void row_store(float *to, struct row r)
{
    vec_store(to, false, r.v0);
    vec_store(to + VEC, false, r.v1);
    vec_store(to + 2 * VEC, false, r.v2);
    vec_store(to + 3 * VEC, false, r.v3);
}

/* sum + a times the f32 of b */
SPECIALISED struct row row_add_f32(struct row sum, float a, struct row b)
{
    const vec x = vec_all(a);
    return (struct row){vec_fma(x, b.v0, sum.v0), vec_fma(x, b.v1, sum.v1),
                        vec_fma(x, b.v2, sum.v2), vec_fma(x, b.v3, sum.v3)};
}

/* sum + the pair at `a` times the pairs of b */
SPECIALISED struct row row_add_bf16(struct row sum, const void *a, struct row b)
{
#if MULTIPLIES_BF16
    int32_t pair;
    memcpy(&pair, a, sizeof pair);
    const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
    return (struct row){
        _mm512_dpbf16_ps(sum.v0, x, (__m512bh)b.v0), _mm512_dpbf16_ps(sum.v1, x, (__m512bh)b.v1),
        _mm512_dpbf16_ps(sum.v2, x, (__m512bh)b.v2), _mm512_dpbf16_ps(sum.v3, x, (__m512bh)b.v3)};
#else
#define FIRST(v)  ((vec)((vec_bits)(v) << 16))
#define SECOND(v) ((vec)((vec_bits)(v)&0xffff0000u))
    const uint16_t *const pair = a;
    const struct row first = {FIRST(b.v0), FIRST(b.v1), FIRST(b.v2), FIRST(b.v3)};
    const struct row second = {SECOND(b.v0), SECOND(b.v1), SECOND(b.v2), SECOND(b.v3)};
#undef FIRST
#undef SECOND
    return row_add_f32(row_add_f32(sum, bf16_to_f32(pair[0]), first), bf16_to_f32(pair[1]), second);
#endif
}

SPECIALISED struct row row_add(struct row sum, const struct tile_left *left, const char *a,
                               int64_t i, struct row b, bool is16)
{
    const void *const at = element_at(a, i * left->row, is16);
    return is16 ? row_add_bf16(sum, at, b) : row_add_f32(sum, *(const float *)at, b);
}

/* Ask for one line of a row of what is touched soon. */
SPECIALISED void fetch_line(const struct tile_soon *soon, int row, int line)
{
    const char *const at = line < soon->lines ? soon->at[0] : soon->at[1];
    const int in = line < soon->lines ? line : line - soon->lines;
    __builtin_prefetch(at + row * soon->row_bytes + in * TILE_LINE, 1, 3);
}

/* What a product is made of; a pair of rows of a bf16 panel is as long as a row of f32. */
struct product {
    float *c;
    int64_t c_row;
    struct tile_left left;
    const float *panel;
    int64_t steps; /* rows, or pairs of rows, of the panel */
    const struct tile_soon *soon;
};

/* tile_multiply for constant `rows`, `add` and `is16`. */
SPECIALISED void multiply_rows(const struct product *m, int rows, bool add, bool is16)
{
    const struct tile_left *const left = &m->left;
    const struct tile_soon *const soon = m->soon;
    float *const c = m->c;
    const int64_t c_row = m->c_row;
    const struct row zero = {vec_all(0.0f), vec_all(0.0f), vec_all(0.0f), vec_all(0.0f)};
    struct row s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero;
    if (add) {
        s0 = row_load(c);
        if (rows > 1) s1 = row_load(c + c_row);
        if (rows > 2) s2 = row_load(c + 2 * c_row);
        if (rows > 3) s3 = row_load(c + 3 * c_row);
        if (rows > 4) s4 = row_load(c + 4 * c_row);
        if (rows > 5) s5 = row_load(c + 5 * c_row);
    }
    const char *a = left->a;
    const float *panel = m->panel;
    /* Without lines to fetch, one run of all steps. */
    const int lines = soon->lines * (soon->at[1] ? 2 : 1);
    const int64_t run = m->steps / (rows * lines + 1);
    const float *const panel_end = panel + TILE_COLS * m->steps;
    for (int i = 0, line = 0; panel < panel_end;) {
        const float *end = panel_end;
        if (line < lines) {
            fetch_line(soon, i, line);
            end = panel + TILE_COLS * run;
            i = (i + 1) % rows;
            line += i == 0;
        }
        for (; panel < end; panel += TILE_COLS) {
            const struct row b = row_load(panel);
            s0 = row_add(s0, left, a, 0, b, is16);
            if (rows > 1) s1 = row_add(s1, left, a, 1, b, is16);
            if (rows > 2) s2 = row_add(s2, left, a, 2, b, is16);
            if (rows > 3) s3 = row_add(s3, left, a, 3, b, is16);
            if (rows > 4) s4 = row_add(s4, left, a, 4, b, is16);
            if (rows > 5) s5 = row_add(s5, left, a, 5, b, is16);
            a += left->step * (is16 ? 2 : 4);
        }
    }
    row_store(c, s0);
    if (rows > 1) row_store(c + c_row, s1);
    if (rows > 2) row_store(c + 2 * c_row, s2);
    if (rows > 3) row_store(c + 3 * c_row, s3);
    if (rows > 4) row_store(c + 4 * c_row, s4);
    if (rows > 5) row_store(c + 5 * c_row, s5);
}

SPECIALISED void multiply(const struct product *m, int rows, bool add, bool is16)
{
#define CASE(n)                                                                                    \
    if ((n) <= TILE_ROWS && rows == (n)) multiply_rows(m, n, add, is16)
    CASE(1);
    CASE(2);
    CASE(3);
    CASE(4);
    CASE(5);
    CASE(6);
#undef CASE
}

void tile_multiply_toward(float *c, int64_t c_row, struct tile_left left, const void *panel,
                          int64_t k, int rows, bool add, const struct tile_soon *soon)
{
    const int64_t steps = left.is16 ? tile_depth(k, true) / 2 : k;
    const struct product m = {c, c_row, left, panel, steps, soon};
    if (left.is16 && add)
        multiply(&m, rows, true, true);
    else if (left.is16)
        multiply(&m, rows, false, true);
    else if (add)
        multiply(&m, rows, true, false);
    else
        multiply(&m, rows, false, false);
}

void tile_multiply(float *c, int64_t c_row, struct tile_left left, const void *panel, int64_t k,
                   int rows, bool add)
{
    const struct tile_soon soon = {{NULL, NULL}, 0, 0};
    tile_multiply_toward(c, c_row, left, panel, k, rows, add, &soon);
}
