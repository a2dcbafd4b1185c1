/* cuda_runtime.h - in place of NVIDIA's, for kernels compiled as plain C++: the language's
 * extensions as macros, and launches that run every thread of a block as a fibre
 * (emulated/runtime.cpp). A block's shared variables are static; blocks run one after the other. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "cuda_runtime_api.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __align__(n)    __attribute__((aligned(n)))
#define __launch_bounds__(n)
/* Written as "static __shared__" or "extern __shared__". */
#define __shared__

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned nx = 1, unsigned ny = 1, unsigned nz = 1) : x(nx), y(ny), z(nz)
    {
    }
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
static inline float2 make_float2(float x, float y)
{
    return float2{x, y};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return float4{x, y, z, w};
}
static inline uint2 make_uint2(unsigned x, unsigned y)
{
    return uint2{x, y};
}

extern dim3 gridDim, blockDim, blockIdx, threadIdx; /* of the running fibre */
extern unsigned char shared_bytes[];                /* dynamic shared memory */

typedef struct cudaLaunchConfig_st {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
} cudaLaunchConfig_t;

/* Queue body(call) for every thread of every block; the call is copied. */
cudaError_t emulated_launch(const cudaLaunchConfig_t *c, void (*body)(const void *call),
                            const void *call, size_t call_bytes);
/* Meet the other threads of the block, or of the warp. */
void emulated_block_barrier(void);
void emulated_warp_barrier(void);
/* 64 bytes that this lane lends to its warp, and those of another lane. Two sets, used in turn,
 * make one barrier between writing and reading enough. */
void *emulated_lend(void);
const void *emulated_borrow(int lane);
void emulated_return(void);

template <typename F> static void emulated_call(const void *call)
{
    (*static_cast<const F *>(call))();
}

template <typename... P, typename... A>
static cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *c, void (*kernel)(P...),
                                      A &&...args)
{
    const auto call = [=]() { kernel(args...); };
    return emulated_launch(c, emulated_call<decltype(call)>, &call, sizeof call);
}

static inline void __syncthreads(void)
{
    emulated_block_barrier();
}
static inline void __syncwarp(void)
{
    emulated_warp_barrier();
}

template <typename T> static T __shfl_xor_sync(unsigned, T x, int mask)
{
    T other;
    memcpy(emulated_lend(), &x, sizeof x);
    emulated_warp_barrier();
    const int lane = (int)(threadIdx.x + blockDim.x * threadIdx.y) % 32;
    memcpy(&other, emulated_borrow(lane ^ mask), sizeof other);
    emulated_return();
    return other;
}
