/* bf16.h - bfloat16 <-> float32 in plain integer arithmetic, written so that loops vectorise. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline float bf16_to_f32(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Round to nearest even; a NaN stays a NaN (quiet, sign and upper payload kept). */
static inline uint16_t bf16_from_f32(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u), quiet = bits | 0x400000u;
    return (uint16_t)((f != f ? quiet : rounded) >> 16);
}

static inline void bf16_widen(float *out, const uint16_t *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = bf16_to_f32(x[i]);
}
static inline void bf16_narrow(uint16_t *out, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        out[i] = bf16_from_f32(x[i]);
}

/* A function with a parameter that is a constant at every call (an element type, a width, a mask or
 * none): it must be compiled for each constant, or its loops keep a branch and stay scalar. Left to
 * themselves compilers share one copy of the longer ones. */
#define SPECIALISED static inline __attribute__((always_inline))

/* Element i of an array whose type is a compile-time constant at the call. */
SPECIALISED float element_get(const void *p, int64_t i, bool is16)
{
    return is16 ? bf16_to_f32(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}
SPECIALISED void element_put(void *p, int64_t i, bool is16, float value)
{
    if (is16)
        ((uint16_t *)p)[i] = bf16_from_f32(value);
    else
        ((float *)p)[i] = value;
}
/* Address of element i. */
static inline void *element_at(const void *p, int64_t i, bool is16)
{
    return (char *)(uintptr_t)p + i * (is16 ? 2 : 4);
}
