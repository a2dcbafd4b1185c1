/* mma.cuh - the tensor cores' bf16 product, the loads that feed it, and asynchronous copies: the
 * only place with PTX in it. Layouts as in the PTX manual, mma.m16n8k16 and ldmatrix, with g = lane
 * / 4 and t = lane % 4:
 *
 *   a (16 x 16): a[0] (g, 2t..), a[1] (g + 8, 2t..), a[2] (g, 2t + 8..), a[3] (g + 8, 2t + 8..)
 *   b (16 x 8):  b[0] (2t.., g), b[1] (2t + 8.., g)
 *   c (16 x 8):  c[0], c[1] (g, 2t..), c[2], c[3] (g + 8, 2t..)
 *
 * where a register holds two neighbours in the direction of "..", the first in its low half. So the
 * numbers of two c side by side, packed, are an a.
 *
 * A matrix in shared memory has rows of `stride` bf16; rows start at multiples of 16 bytes. */
#pragma once
#include "kernels/cuda/device.cuh"

/* c += a . b */
DEVICE_FN void mma(float *c, const uint32_t *a, const uint32_t *b)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8 x 8 matrices; lane l gives the address of row l % 8 of matrix l / 8. r[i] gets elements
 * (g, 2t..) of matrix i. */
DEVICE_FN void ldmatrix(uint32_t *r, const half_bits *row)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}
/* The same, but r[i] gets elements (2t.., g). */
DEVICE_FN void ldmatrix_turned(uint32_t *r, const half_bits *row)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

/* Copy 16 aligned bytes to shared memory, or clear them when !there (from is then not read, but
 * must be an address of global memory). Done after copies_wait and a barrier. */
DEVICE_FN void copy16(half_bits *to, const half_bits *from, bool there)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    const int bytes = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(at), "l"(from), "r"(bytes)
                 : "memory");
}
/* Wait for this thread's copies. */
DEVICE_FN void copies_wait(void)
{
    asm volatile("cp.async.wait_all;" ::: "memory");
}

/* Two numbers rounded to bf16. */
DEVICE_FN uint32_t pack(float low, float high)
{
    uint32_t both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
/* 2^x, relative error about 2^-22; 0 for -infinity. */
DEVICE_FN float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
