/* number.c - bit by bit, so that float32 survives unchanged, NaN with its payload. */
#include "snapshot/number.h"

#include <string.h>

static const struct {
    const char *name;
    int64_t bytes;
} types[] = {[NUMBER_F32] = {"F32", 4}, [NUMBER_BF16] = {"BF16", 2}, [NUMBER_F16] = {"F16", 2}};
enum { TYPES = sizeof types / sizeof types[0] };

int64_t number_bytes(enum number type)
{
    return types[type].bytes;
}

const char *number_name(enum number type)
{
    return types[type].name;
}

bool number_named(const char *name, enum number *type)
{
    for (int i = 0; i < TYPES; i++) {
        if (strcmp(name, types[i].name) != 0) continue;
        *type = (enum number)i;
        return true;
    }
    return false;
}

/* ---- reading --------------------------------------------------------------------------------- */

static uint32_t load16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t load32(const unsigned char *p)
{
    return load16(p) | load16(p + 2) << 16;
}

/* IEEE half precision: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static uint32_t half_to_f32(uint32_t half)
{
    const uint32_t sign = (half & 0x8000u) << 16;
    uint32_t exponent = half >> 10 & 0x1f, fraction = half & 0x3ffu;
    if (exponent == 0x1f) return sign | 0x7f800000u | fraction << 13;
    if (exponent == 0 && fraction == 0) return sign;
    if (exponent == 0) {
        /* What is below the smallest normal half is a normal float. */
        exponent = 1;
        for (; !(fraction & 0x400u); exponent--)
            fraction <<= 1;
        fraction &= 0x3ffu;
    }
    return sign | (exponent + 127 - 15) << 23 | fraction << 13;
}

void number_decode(float *out, const void *in, int64_t n, enum number type)
{
    const unsigned char *from = in;
    for (int64_t i = 0; i < n; i++, from += types[type].bytes) {
        const uint32_t bits = type == NUMBER_F32    ? load32(from)
                              : type == NUMBER_BF16 ? load16(from) << 16
                                                    : half_to_f32(load16(from));
        memcpy(out + i, &bits, sizeof bits);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static void store16(unsigned char *p, uint32_t bits)
{
    p[0] = (unsigned char)bits;
    p[1] = (unsigned char)(bits >> 8);
}

static uint32_t f32_to_bf16(uint32_t bits)
{
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    if (nan) return bits >> 16 | 0x40u; /* quiet: the payload may be all in what is cut off */
    return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

void number_encode(void *out, const float *in, int64_t n, enum number type)
{
    unsigned char *to = out;
    for (int64_t i = 0; i < n; i++, to += types[type].bytes) {
        uint32_t bits;
        memcpy(&bits, in + i, sizeof bits);
        if (type == NUMBER_F32) {
            store16(to, bits);
            store16(to + 2, bits >> 16);
        } else {
            SHOAL_ASSERT(type == NUMBER_BF16); /* nothing of ours writes F16 */
            store16(to, f32_to_bf16(bits));
        }
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

/* As many as are converted at a time, in the processor's cache. */
enum { CHUNK = 1 << 13 };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

enum shoal_status numbers_read(const struct input *in, float *out, int64_t offset, int64_t n,
                               enum number type)
{
    unsigned char raw[CHUNK * sizeof(float)];
    const int64_t bytes = types[type].bytes;
    for (int64_t at = 0; at < n; at += CHUNK) {
        const int64_t part = least(CHUNK, n - at);
        SHOAL_TRY(input_read(in, raw, offset + at * bytes, part * bytes));
        number_decode(out + at, raw, part, type);
    }
    return SHOAL_OK;
}

enum shoal_status numbers_write(const struct output *out, const float *in, int64_t offset,
                                int64_t n, enum number type)
{
    unsigned char raw[CHUNK * sizeof(float)];
    const int64_t bytes = types[type].bytes;
    for (int64_t at = 0; at < n; at += CHUNK) {
        const int64_t part = least(CHUNK, n - at);
        number_encode(raw, in + at, part, type);
        SHOAL_TRY(output_write(out, raw, offset + at * bytes, part * bytes));
    }
    return SHOAL_OK;
}
