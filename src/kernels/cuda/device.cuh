/* device.cuh - what kernels share: launching, loads and stores of four elements, bf16, reductions
 * of a warp and of a block. Include first in every .cu. */
#pragma once
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cuda_runtime.h>
extern "C" {
#include "config/config.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/geometry.h"
}

#define DEVICE_FN static __device__ __forceinline__

enum { WARP = 32 };
#define WHOLE_WARP 0xffffffffu

/* ---- launching ------------------------------------------------------------------------------- */

struct grid {
    dim3 blocks, threads;
    size_t shared_bytes;
};

static inline struct grid grid_of(dim3 blocks, dim3 threads, size_t shared_bytes = 0)
{
    struct grid g;
    g.blocks = blocks;
    g.threads = threads;
    g.shared_bytes = shared_bytes;
    return g;
}
/* For n elements, four a thread. */
static inline struct grid flat_grid(int64_t n)
{
    return grid_of(dim3(flat_blocks(n)), dim3(FLAT_THREADS));
}

/* Queue a kernel on the calling thread's stream. A grid without blocks is no work. */
template <typename... P, typename... A>
static enum shoal_status launch(struct device *dev, struct grid g, void (*kernel)(P...), A... args)
{
    cudaLaunchConfig_t c = {};
    if (g.blocks.x == 0 || g.blocks.y == 0 || g.blocks.z == 0) return SHOAL_OK;
    c.gridDim = g.blocks;
    c.blockDim = g.threads;
    c.dynamicSmemBytes = g.shared_bytes;
    c.stream = cuda_stream(dev);
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    if (g.shared_bytes > SHARED_BYTES)
        TRY_CUDA(cudaFuncSetAttribute((const void *)kernel,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      (int)g.shared_bytes));
    TRY_CUDA(cudaLaunchKernelEx(&c, kernel, static_cast<P>(args)...));
    return SHOAL_OK;
}

/* First element group of this thread in a flat grid, and how far to the next. */
DEVICE_FN int64_t flat_begin(void)
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}
DEVICE_FN int64_t flat_stride(void)
{
    return (int64_t)gridDim.x * blockDim.x;
}

/* ---- bf16, always by integers: the same bits as the CPU backend, NaN included ------------------
 */

DEVICE_FN float bits_to_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
DEVICE_FN uint32_t float_to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}
DEVICE_FN float bf16_to_f32(uint16_t half)
{
    return bits_to_float((uint32_t)half << 16);
}
/* Round to nearest even; a NaN stays a NaN. */
DEVICE_FN uint16_t bf16_from_f32(float f)
{
    const uint32_t bits = float_to_bits(f);
    const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u), quiet = bits | 0x400000u;
    return (uint16_t)((f != f ? quiet : rounded) >> 16);
}

/* ---- elements, one or four at a time -----------------------------------------------------------
 */

/* Types a tensor's elements have in memory. */
typedef uint16_t half_bits;

DEVICE_FN float get(const float *p, int64_t i)
{
    return p[i];
}
DEVICE_FN float get(const half_bits *p, int64_t i)
{
    return bf16_to_f32(p[i]);
}
DEVICE_FN void put(float *p, int64_t i, float v)
{
    p[i] = v;
}
DEVICE_FN void put(half_bits *p, int64_t i, float v)
{
    p[i] = bf16_from_f32(v);
}

struct four {
    float v[4];
};

DEVICE_FN struct four four_of(float x)
{
    const struct four f = {{x, x, x, x}};
    return f;
}
DEVICE_FN struct four load_whole(const float *p)
{
    const float4 x = *(const float4 *)(const void *)p;
    const struct four f = {{x.x, x.y, x.z, x.w}};
    return f;
}
DEVICE_FN struct four load_whole(const half_bits *p)
{
    const uint2 x = *(const uint2 *)(const void *)p;
    const struct four f = {{bits_to_float(x.x << 16), bits_to_float(x.x & 0xffff0000u),
                            bits_to_float(x.y << 16), bits_to_float(x.y & 0xffff0000u)}};
    return f;
}
DEVICE_FN void store_whole(float *p, struct four f)
{
    *(float4 *)(void *)p = make_float4(f.v[0], f.v[1], f.v[2], f.v[3]);
}
DEVICE_FN void store_whole(half_bits *p, struct four f)
{
    const uint32_t a = bf16_from_f32(f.v[0]), b = bf16_from_f32(f.v[1]);
    const uint32_t c = bf16_from_f32(f.v[2]), d = bf16_from_f32(f.v[3]);
    *(uint2 *)(void *)p = make_uint2(a | b << 16, c | d << 16);
}
/* Elements i .. i + 3 of n; zeros past the end. `wide`: p + i is aligned for four at once. */
template <typename T> DEVICE_FN struct four load4(const T *p, int64_t i, int64_t n, bool wide)
{
    if (wide && i + 4 <= n) return load_whole(p + i);
    struct four f = four_of(0.0f);
    for (int k = 0; k < 4; k++)
        if (i + k < n) f.v[k] = get(p, i + k);
    return f;
}
template <typename T> DEVICE_FN void store4(T *p, int64_t i, int64_t n, bool wide, struct four f)
{
    if (wide && i + 4 <= n) {
        store_whole(p + i, f);
        return;
    }
    for (int k = 0; k < 4; k++)
        if (i + k < n) put(p, i + k, f.v[k]);
}

/* ---- sums and maxima ----------------------------------------------------------------------------
 */

/* Over the lanes of a warp, the same bits in every lane. */
template <typename T> DEVICE_FN T warp_sum(T x)
{
    for (int mask = WARP / 2; mask > 0; mask /= 2)
        x += __shfl_xor_sync(WHOLE_WARP, x, mask);
    return x;
}
DEVICE_FN float warp_max(float x)
{
    for (int mask = WARP / 2; mask > 0; mask /= 2)
        x = fmaxf(x, __shfl_xor_sync(WHOLE_WARP, x, mask));
    return x;
}
/* Over a block of whole warps (at most 1024 threads), in one order. room: 32 T of shared memory
 * that no thread still reads from an earlier use. All threads call it, and all get the sum. */
template <typename T> DEVICE_FN T block_sum(T x, T *room)
{
    const int warps = (int)blockDim.x / WARP, lane = (int)threadIdx.x % WARP;
    x = warp_sum(x);
    if (lane == 0) room[threadIdx.x / WARP] = x;
    __syncthreads();
    return warp_sum(lane < warps ? room[lane] : (T)0);
}
