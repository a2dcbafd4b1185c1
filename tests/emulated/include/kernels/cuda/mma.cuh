/* mma.cuh - in place of src/kernels/cuda/mma.cuh, whose text has the layouts: the same functions in
 * plain C++, from the PTX manual's description. */
#pragma once
#include "kernels/cuda/device.cuh"

DEVICE_FN uint32_t pack(float low, float high)
{
    return (uint32_t)bf16_from_f32(low) | (uint32_t)bf16_from_f32(high) << 16;
}
DEVICE_FN float exp2_fast(float x)
{
    return exp2f(x);
}

DEVICE_FN float half_of(uint32_t both, int which)
{
    return bf16_to_f32((uint16_t)(both >> (16 * which)));
}

/* A lane's registers of a and b. */
struct operands {
    uint32_t a[4], b[2];
};

/* Element (i, k) of a, (k, j) of b: who has it, in which register and half. */
static inline float element_a(int i, int k)
{
    const int lane = i % 8 * 4 + k % 8 / 2, reg = i / 8 + k / 8 * 2;
    return half_of(((const struct operands *)emulated_borrow(lane))->a[reg], k % 2);
}
static inline float element_b(int k, int j)
{
    const int lane = j * 4 + k % 8 / 2, reg = k / 8;
    return half_of(((const struct operands *)emulated_borrow(lane))->b[reg], k % 2);
}

DEVICE_FN void mma(float *c, const uint32_t *a, const uint32_t *b)
{
    const int lane = threadIdx.x % WARP;
    struct operands own;
    memcpy(own.a, a, sizeof own.a);
    memcpy(own.b, b, sizeof own.b);
    memcpy(emulated_lend(), &own, sizeof own);
    emulated_warp_barrier();
    for (int n = 0; n < 4; n++) {
        const int i = lane / 4 + n / 2 * 8, j = lane % 4 * 2 + n % 2;
        float sum = 0.0f;
        for (int k = 0; k < 16; k++)
            sum += element_a(i, k) * element_b(k, j);
        c[n] += sum;
    }
    emulated_return();
}

/* Element (i, j) of matrix m, whose rows' addresses lanes 8 m .. 8 m + 7 gave. */
static inline uint32_t element_of(int m, int i, int j)
{
    const half_bits *row;
    memcpy(&row, emulated_borrow(8 * m + i), sizeof row);
    return row[j];
}
static inline void load_matrices(uint32_t *r, const half_bits *row, bool turned)
{
    const int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4 * 2;
    if ((uintptr_t)row % 16 != 0) __builtin_trap();
    memcpy(emulated_lend(), &row, sizeof row);
    emulated_warp_barrier();
    for (int m = 0; m < 4; m++)
        r[m] = turned ? element_of(m, t, g) | element_of(m, t + 1, g) << 16
                      : element_of(m, g, t) | element_of(m, g, t + 1) << 16;
    emulated_return();
}
DEVICE_FN void ldmatrix(uint32_t *r, const half_bits *row)
{
    load_matrices(r, row, false);
}
DEVICE_FN void ldmatrix_turned(uint32_t *r, const half_bits *row)
{
    load_matrices(r, row, true);
}

DEVICE_FN void copy16(half_bits *to, const half_bits *from, bool there)
{
    if ((uintptr_t)to % 16 != 0 || (there && (uintptr_t)from % 16 != 0)) __builtin_trap();
    if (there)
        memcpy(to, from, 16);
    else
        memset(to, 0, 16);
}
DEVICE_FN void copies_wait(void)
{
}
