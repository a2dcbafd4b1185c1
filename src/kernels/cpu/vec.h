/* vec.h - as many f32 as the processor takes at once, for loops that compilers do not vectorise
 * well by themselves: bf16 next to f32, exponentials, several sums at a time.
 *
 * The arithmetic operators work element by element, also between a vec and a float. A loop over n
 * numbers is
 *
 *     int64_t i = 0;
 *     for (; i + VEC <= n; i += VEC) step(i, VEC);
 *     if (i < n) step(i, n - i);
 *
 * where step takes the `count` elements from i on with vec_get and vec_put: so the compiler sees
 * that count is VEC in all but the last. Whether an array is bf16 is a constant at every call. */
#pragma once
#include <math.h>
#include "kernels/cpu/bf16.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define VEC_AVX512 1
enum { VEC = 16 };
#elif defined(__AVX__)
#define VEC_AVX512 0
enum { VEC = 8 };
#else
#define VEC_AVX512 0
enum { VEC = 4 };
#endif

typedef float vec __attribute__((vector_size(VEC * sizeof(float))));
typedef int32_t vec_ints __attribute__((vector_size(VEC * sizeof(int32_t))));
typedef uint32_t vec_bits __attribute__((vector_size(VEC * sizeof(uint32_t))));
typedef uint16_t vec_halves __attribute__((vector_size(VEC * sizeof(uint16_t))));

/* x in every element. */
SPECIALISED vec vec_all(float x)
{
    const vec zero = {0.0f};
    return x - zero;
}

/* yes where the condition, a comparison of two vec, holds; no elsewhere. */
SPECIALISED vec vec_select(vec_ints condition, vec yes, vec no)
{
    return (vec)((condition & (vec_ints)yes) | (~condition & (vec_ints)no));
}

/* ---- memory --------------------------------------------------------------------------------- */

/* VEC numbers at `at`. */
SPECIALISED vec vec_load(const void *at, bool is16)
{
#if VEC_AVX512
    if (is16) return bf16_to_f32_x16(_mm256_loadu_si256(at));
#endif
    vec v;
    if (is16) {
        vec_halves half;
        memcpy(&half, at, sizeof half);
        return (vec)(__builtin_convertvector(half, vec_bits) << 16);
    }
    memcpy(&v, at, sizeof v);
    return v;
}

SPECIALISED void vec_store(void *at, bool is16, vec v)
{
#if VEC_AVX512
    if (is16) {
        _mm256_storeu_si256(at, bf16_from_f32_x16(v));
        return;
    }
#endif
    if (is16) { /* as bf16_from_f32 does it */
        const vec_bits bits = (vec_bits)v, rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
        const vec kept = vec_select(v == v, (vec)rounded, (vec)(bits | 0x400000u));
        const vec_halves half = __builtin_convertvector((vec_bits)kept >> 16, vec_halves);
        memcpy(at, &half, sizeof half);
        return;
    }
    memcpy(at, &v, sizeof v);
}

#if VEC_AVX512
SPECIALISED __mmask16 vec_mask(int64_t count)
{
    return (__mmask16)((1u << count) - 1u);
}
#endif

/* v with zeros from element `count` on. */
SPECIALISED vec vec_first(vec v, int64_t count)
{
#if VEC_AVX512
    return _mm512_maskz_mov_ps(vec_mask(count), v);
#else
    for (int64_t k = count; k < VEC; k++)
        v[k] = 0.0f;
    return v;
#endif
}

/* `count` elements from p[i] on, 0 < count <= VEC; the rest is zero. */
SPECIALISED vec vec_get(const void *p, int64_t i, int64_t count, bool is16)
{
    const void *const at = element_at(p, i, is16);
    if (count == VEC) return vec_load(at, is16);
#if VEC_AVX512
    if (is16) return bf16_to_f32_x16(_mm256_maskz_loadu_epi16(vec_mask(count), at));
    return _mm512_maskz_loadu_ps(vec_mask(count), at);
#else
    float some[VEC] = {0.0f};
    for (int k = 0; k < count; k++)
        some[k] = element_get(at, k, is16);
    return vec_load(some, false);
#endif
}

/* Those elements become the first `count` of v. */
SPECIALISED void vec_put(void *p, int64_t i, int64_t count, bool is16, vec v)
{
    void *const at = element_at(p, i, is16);
    if (count == VEC) {
        vec_store(at, is16, v);
        return;
    }
#if VEC_AVX512
    if (is16)
        _mm256_mask_storeu_epi16(at, vec_mask(count), bf16_from_f32_x16(v));
    else
        _mm512_mask_storeu_ps(at, vec_mask(count), v);
#else
    float some[VEC];
    vec_store(some, false, v);
    for (int k = 0; k < count; k++)
        element_put(at, k, is16, some[k]);
#endif
}

/* ---- arithmetic ----------------------------------------------------------------------------- */

/* a b + c, rounded once with AVX-512 (and elsewhere as -ffp-contract says). */
SPECIALISED vec vec_fma(vec a, vec b, vec c)
{
#if VEC_AVX512
    return _mm512_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

/* The larger one of each pair; b where either is NaN. */
SPECIALISED vec vec_max(vec a, vec b)
{
#if VEC_AVX512
    return _mm512_max_ps(a, b);
#else
    return vec_select(a > b, a, b);
#endif
}

/* Sum of the elements, as a tree. */
SPECIALISED float vec_sum(vec v)
{
    float x[VEC];
    memcpy(x, &v, sizeof x);
    for (int half = VEC / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            x[k] += x[k + half];
    return x[0];
}

/* 2^r for |r| <= 1/2 by its minimax polynomial: relative error 2e-9 and what rounding adds, or
 * 8e-5 when `rough`. */
SPECIALISED vec vec_exp2_fraction(vec r, bool rough)
{
    vec p;
    if (rough) {
        p = vec_fma(vec_all(0.0551716675f), r, vec_all(0.242611122f));
        p = vec_fma(p, r, vec_all(0.693260986f));
        return vec_fma(p, r, vec_all(0.999928074f));
    }
    p = vec_fma(vec_all(1.5594677e-4f), r, vec_all(1.34066439e-3f));
    p = vec_fma(p, r, vec_all(9.61769298e-3f));
    p = vec_fma(p, r, vec_all(5.55031055e-2f));
    p = vec_fma(p, r, vec_all(2.40226528e-1f));
    p = vec_fma(p, r, vec_all(6.93147215e-1f));
    return vec_fma(p, r, vec_all(1.0f));
}

/* 2^x, relative error below 2e-7, or 8e-5 when `rough`: enough for what is rounded to bf16. 0 where
 * it is below 2^-126 or so, inf where it is too large; NaN stays NaN.
 *
 * x = n + r, |r| <= 1/2; n goes into the exponent. */
SPECIALISED vec vec_exp2(vec x, bool rough)
{
#if VEC_AVX512
    const vec n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm512_scalef_ps(vec_exp2_fraction(x - n, rough), n);
#else
    const vec_ints low = x<-126.0f, high = x> 127.5f;
    const vec inside = vec_select(low | high, vec_all(0.0f), x);
    const vec shifted = inside + 12582912.0f; /* 1.5 * 2^23: rounds, and n is in the low bits */
    const vec p = vec_exp2_fraction(inside - (shifted - 12582912.0f), rough);
    const vec power = p * (vec)(((vec_bits)shifted << 23) + 0x3f800000u);
    return vec_select(low, vec_all(0.0f), vec_select(high, vec_all(INFINITY), power));
#endif
}

/* e^x, likewise; the error grows by |x| 6e-8. */
SPECIALISED vec vec_exp(vec x, bool rough)
{
    return vec_exp2(x * 1.4426950408889634f, rough);
}
