/* pack.c - numbers packed for the wire, and back (packing.h). Every block by itself, so that the
 * bits depend on no count of threads. Bound by memory. */
#include <math.h>
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"

/* Blocks that a thread takes at a time. */
enum { BLOCKS = CPU_PIECE / PACK_BLOCK };

/* d = x - base + lost, as far as there are any; zeros behind the last number. */
SPECIALISED void change(float *d, const float *x, const float *base, const float *lost, int count)
{
#pragma omp simd
    for (int i = 0; i < count; i++)
        d[i] = base ? x[i] - base[i] : x[i];
    for (int i = count; i < PACK_BLOCK; i++)
        d[i] = 0.0f;
    if (!lost) return;
#pragma omp simd
    for (int i = 0; i < count; i++)
        d[i] += lost[i];
}

/* Largest magnitude. As integers a NaN is above all numbers. */
static inline float largest(const float *d)
{
    uint32_t bits[PACK_BLOCK], top = 0;
    float f;
    memcpy(bits, d, sizeof bits);
#pragma omp simd reduction(max : top)
    for (int i = 0; i < PACK_BLOCK; i++)
        top = (bits[i] & 0x7fffffffu) > top ? bits[i] & 0x7fffffffu : top;
    memcpy(&f, &top, sizeof f);
    return f;
}

/* Mean magnitude of the first `count`, added as a tree. */
static inline float mean_magnitude(const float *d, int count)
{
    float sum[PACK_BLOCK];
#pragma omp simd
    for (int i = 0; i < PACK_BLOCK; i++)
        sum[i] = fabsf(d[i]);
    for (int half = PACK_HALF; half > 0; half /= 2) {
#pragma omp simd
        for (int i = 0; i < half; i++)
            sum[i] += sum[i + half];
    }
    return sum[0] / (float)count;
}

/* The scale's bits. */
SPECIALISED uint16_t scale_of(const float *d, int count, enum packing p)
{
    const float s = p == PACK_INT1 ? mean_magnitude(d, count) : largest(d) / (float)pack_levels(p);
    const uint16_t bits = bf16_from_f32(s);
    if (!isfinite(bf16_to_f32(bits))) return PACK_NAN;
    return bf16_to_f32(bits) < PACK_LEAST_SCALE ? 0 : bits;
}

/* q = d / scale, to integers. */
SPECIALISED void round_all(int32_t *q, const float *d, float scale, enum packing p)
{
    const float levels = (float)pack_levels(p), inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
#pragma omp simd
    for (int i = 0; i < PACK_BLOCK; i++) {
        const float r = rintf(d[i] * inverse), low = r < -levels ? -levels : r;
        q[i] = (int32_t)(low > levels ? levels : low);
    }
}

SPECIALISED void put_codes(uint8_t *to, const int32_t *q, enum packing p)
{
    if (p == PACK_INT8) {
#pragma omp simd
        for (int i = 0; i < PACK_BLOCK; i++)
            to[i] = (uint8_t)q[i];
    } else {
#pragma omp simd
        for (int i = 0; i < PACK_HALF; i++)
            to[i] = (uint8_t)(((uint32_t)q[i] & 15) | (uint32_t)q[i + PACK_HALF] << 4);
    }
}

/* Word h holds the signs of half h. */
SPECIALISED void put_signs(uint8_t *to, const float *d)
{
    for (int h = 0; h < 2; h++) {
        uint32_t word = 0;
#pragma omp simd reduction(| : word)
        for (int i = 0; i < PACK_HALF; i++)
            word |= (uint32_t)(d[h * PACK_HALF + i] < 0.0f) << i;
        memcpy(to + 4 * h, &word, sizeof word);
    }
}

SPECIALISED void read_signs(float *values, const uint8_t *from, float scale)
{
    uint32_t bits[PACK_BLOCK], plus;
    memcpy(&plus, &scale, sizeof plus);
    for (int h = 0; h < 2; h++) {
        uint32_t word;
        memcpy(&word, from + 4 * h, sizeof word);
#pragma omp simd
        for (int i = 0; i < PACK_HALF; i++)
            bits[h * PACK_HALF + i] = plus ^ (word >> i & 1u) << 31;
    }
    memcpy(values, bits, sizeof bits);
}

/* values = what a packed block means. */
SPECIALISED void read_block(float *values, const uint8_t *from, enum packing p)
{
    uint16_t half[PACK_BLOCK];
    memcpy(half, from, p == PACK_BF16 ? sizeof half : sizeof half[0]);
    if (p == PACK_BF16) {
        bf16_widen(values, half, PACK_BLOCK);
        return;
    }
    const float scale = bf16_to_f32(half[0]);
    const uint8_t *const code = from + PACK_SCALE;
    if (p == PACK_INT8) {
#pragma omp simd
        for (int i = 0; i < PACK_BLOCK; i++)
            values[i] = scale * (float)(int8_t)code[i];
    } else if (p == PACK_INT4) {
#pragma omp simd
        for (int i = 0; i < PACK_HALF; i++) {
            values[i] = scale * (float)((code[i] & 15) - 2 * (code[i] & 8));
            values[i + PACK_HALF] = scale * (float)((code[i] >> 4) - 2 * (code[i] >> 4 & 8));
        }
    } else {
        read_signs(values, code, scale);
    }
}

/* lost = what of d the packed block does not say; 0 where the block is NaN. */
SPECIALISED void keep_lost(float *lost, const float *d, const uint8_t *packed, int count,
                           enum packing p)
{
    float said[PACK_BLOCK];
    read_block(said, packed, p);
#pragma omp simd
    for (int i = 0; i < count; i++) {
        const float rest = d[i] - said[i];
        lost[i] = rest - rest == 0.0f ? rest : 0.0f;
    }
}

SPECIALISED void pack_block(uint8_t *to, float *lost, const float *x, const float *base, int count,
                            enum packing p)
{
    float d[PACK_BLOCK];
    int32_t q[PACK_BLOCK] = {0};
    change(d, x, base, lost, count);
    if (p == PACK_BF16) {
        uint16_t half[PACK_BLOCK];
        bf16_narrow(half, d, PACK_BLOCK);
        memcpy(to, half, sizeof half);
    } else {
        const uint16_t bits = scale_of(d, count, p);
        memcpy(to, &bits, sizeof bits);
        if (p == PACK_INT1) {
            put_signs(to + PACK_SCALE, d);
        } else {
            if (bits != PACK_NAN) round_all(q, d, bf16_to_f32(bits), p);
            put_codes(to + PACK_SCALE, q, p);
        }
    }
    if (lost) keep_lost(lost, d, to, count, p);
}

SPECIALISED void pack_some(uint8_t *to, float *lost, const float *x, const float *base, int64_t n,
                           enum packing p)
{
    for (int64_t at = 0; at < n; at += PACK_BLOCK, to += pack_block_bytes(p)) {
        const float *const b = base ? base + at : NULL;
        float *const l = lost ? lost + at : NULL;
        if (n - at >= PACK_BLOCK)
            pack_block(to, l, x + at, b, PACK_BLOCK, p);
        else
            pack_block(to, l, x + at, b, (int)(n - at), p);
    }
}

SPECIALISED void unpack_some(float *out, const uint8_t *from, int64_t n, enum packing p,
                             float alpha, float beta)
{
    float values[PACK_BLOCK];
    for (int64_t at = 0; at < n; at += PACK_BLOCK, from += pack_block_bytes(p)) {
        const int64_t count = n - at < PACK_BLOCK ? n - at : PACK_BLOCK;
        read_block(values, from, p);
        if (beta == 0.0f) { /* out may hold anything, NaN included */
#pragma omp simd
            for (int64_t i = 0; i < count; i++)
                out[at + i] = alpha * values[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < count; i++)
                out[at + i] = alpha * values[i] + beta * out[at + i];
        }
    }
}

/* With the packing as a constant. */
static void pack_piece(uint8_t *to, float *lost, const float *x, const float *base, int64_t n,
                       enum packing p)
{
    switch (p) {
    case PACK_BF16:
        pack_some(to, lost, x, base, n, PACK_BF16);
        break;
    case PACK_INT8:
        pack_some(to, lost, x, base, n, PACK_INT8);
        break;
    case PACK_INT4:
        pack_some(to, lost, x, base, n, PACK_INT4);
        break;
    default:
        pack_some(to, lost, x, base, n, PACK_INT1);
    }
}

static void unpack_piece(float *out, const uint8_t *from, int64_t n, enum packing p, float alpha,
                         float beta)
{
    switch (p) {
    case PACK_BF16:
        unpack_some(out, from, n, PACK_BF16, alpha, beta);
        break;
    case PACK_INT8:
        unpack_some(out, from, n, PACK_INT8, alpha, beta);
        break;
    case PACK_INT4:
        unpack_some(out, from, n, PACK_INT4, alpha, beta);
        break;
    default:
        unpack_some(out, from, n, PACK_INT1, alpha, beta);
    }
}

enum shoal_status cpu_pack(struct device *dev, void *packed, float *lost, const float *x,
                           const float *base, int64_t n, enum packing p)
{
    const int team = cpu_team(dev, n);
    const int64_t piece = BLOCKS * pack_block_bytes(p);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t k = 0; k < cpu_pieces(n); k++) {
        const int64_t at = k * CPU_PIECE;
        pack_piece((uint8_t *)packed + k * piece, lost ? lost + at : NULL, x + at,
                   base ? base + at : NULL, cpu_piece(n, k), p);
    }
    return SHOAL_OK;
}

enum shoal_status cpu_unpack(struct device *dev, float *out, const void *packed, int64_t n,
                             enum packing p, float alpha, float beta)
{
    const int team = cpu_team(dev, n);
    const int64_t piece = BLOCKS * pack_block_bytes(p);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t k = 0; k < cpu_pieces(n); k++)
        unpack_piece(out + k * CPU_PIECE, (const uint8_t *)packed + k * piece, cpu_piece(n, k), p,
                     alpha, beta);
    return SHOAL_OK;
}
