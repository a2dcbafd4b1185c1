/* gelu.cuh - GELU in its tanh form, and its derivative.
 *
 * 0.5 x (1 + tanh u) with u = sqrt(2/pi) (x + 0.044715 x^3) is x / (1 + e^(-2u)): one exponential
 * instead of a tanh. With s = 1 / (1 + e^(-2u)) the derivative is s + x s (1 - s) 2u'. */
#pragma once
#include "kernels/cuda/device.cuh"

#define GELU_TWO_U 1.5957691216057308f /* 2 sqrt(2/pi) */
#define GELU_CUBIC 0.044715f

/* 1 / s = 1 + e^(-2u); infinite for far negative x, so that s is 0 and x s too. */
DEVICE_FN float gelu_divisor(float x)
{
    return 1.0f + expf(-x * (GELU_TWO_U + GELU_TWO_U * GELU_CUBIC * (x * x)));
}
DEVICE_FN float gelu(float x)
{
    return x / gelu_divisor(x);
}
/* s (1 - s) is written s - s s and is exactly 0 where s is 1 or 0: a far x cannot overflow there.
 */
DEVICE_FN float gelu_slope(float x)
{
    const float s = 1.0f / gelu_divisor(x);
    const float twice_u = GELU_TWO_U + 3.0f * GELU_CUBIC * GELU_TWO_U * (x * x);
    return x * twice_u * (s - s * s) + s;
}
