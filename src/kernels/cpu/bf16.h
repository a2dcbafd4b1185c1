/* bf16.h - bfloat16 <-> float32 in whole vectors of AVX-512, beside base/bf16.h. */
#pragma once
#include <stdbool.h>
#include "base/bf16.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/* A function with a parameter that is a constant at every call (an element type, a width, a mask or
 * none): it must be compiled for each constant, or its loops keep a branch and stay scalar. Left to
 * themselves compilers share one copy of the longer ones. */
#define SPECIALISED static inline __attribute__((always_inline))

#if defined(__AVX512F__)
SPECIALISED __m512 bf16_to_f32_x16(__m256i half)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* As bf16_from_f32, but for numbers below 2^-126, which the processor's own instruction takes for
 * zero. */
SPECIALISED __m256i bf16_from_f32_x16(__m512 x)
{
#if defined(__AVX512BF16__)
    return (__m256i)_mm512_cvtneps_pbh(x);
#else
    const __m512i bits = _mm512_castps_si512(x), upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(
        _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40)));
#endif
}
#endif

static inline void bf16_widen(float *out, const uint16_t *x, int64_t n)
{
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(out + i, bf16_to_f32_x16(_mm256_loadu_si256((const void *)(x + i))));
#endif
#pragma omp simd
    for (int64_t k = i; k < n; k++)
        out[k] = bf16_to_f32(x[k]);
}
static inline void bf16_narrow(uint16_t *out, const float *x, int64_t n)
{
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((void *)(out + i), bf16_from_f32_x16(_mm512_loadu_ps(x + i)));
#endif
#pragma omp simd
    for (int64_t k = i; k < n; k++)
        out[k] = bf16_from_f32(x[k]);
}

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
