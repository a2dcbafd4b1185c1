/* gelu.h - GELU in its tanh form, and its derivative, a vector at a time.
 *
 * 0.5 x (1 + tanh u) with u = sqrt(2/pi) (x + 0.044715 x^3) is x / (1 + e^(-2u)): one exponential
 * instead of a tanh. With s = 1 / (1 + e^(-2u)) the derivative is s + x s (1 - s) 2u'.
 * rough: errors of about 1e-4 instead of 1e-6, for results that are rounded to bf16. */
#pragma once
#include "kernels/cpu/vec.h"

#define GELU_TWO_U 1.5957691216057308f /* 2 sqrt(2/pi) */
#define GELU_CUBIC 0.044715f
#define GELU_LOG2E 1.4426950408889634f

/* 1 / s = 1 + e^(-2u) */
SPECIALISED vec gelu_divisor(vec x, bool rough)
{
    const float linear = -GELU_TWO_U * GELU_LOG2E, cubic = linear * GELU_CUBIC;
    return 1.0f + vec_exp2(x * vec_fma(x * x, vec_all(cubic), vec_all(linear)), rough);
}

SPECIALISED vec gelu(vec x, bool rough)
{
    return x / gelu_divisor(x, rough);
}

/* The derivative at x. */
SPECIALISED vec gelu_slope(vec x, bool rough)
{
    const vec s = 1.0f / gelu_divisor(x, rough);
    const vec u = vec_fma(x * x, vec_all(3.0f * GELU_CUBIC * GELU_TWO_U), vec_all(GELU_TWO_U));
    return vec_fma(x * u, s - s * s, s);
}
