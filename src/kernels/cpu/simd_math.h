/* simd_math.h - exp for loops: no branch, no call, no table, so that compilers vectorise it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* e^x, relative error below 2e-7 for x in [-87.3, 88.3]; 0 below (no denormals), about 2.2e38
 * above. NaN stays NaN.
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its minimax polynomial (Cephes, expf), then n goes
 * into the exponent. Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. */
static inline float simd_exp(float x)
{
    const float low = -87.3f, high = 88.3f, magic = 12582912.0f;
    const bool vanishes = x < low;
    x = vanishes ? low : x;
    x = x > high ? high : x;
    const float shifted = x * 1.44269504f + magic;
    const float n = shifted - magic;
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return vanishes ? 0.0f : p * scale;
}
