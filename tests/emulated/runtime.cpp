/* runtime.cpp - CUDA's runtime for tests without a GPU: device memory is host memory, and every
 * thread of a block is a fibre with a stack of its own. When a launch runs: streams.cpp.
 *
 * Fibres run until they meet a barrier or end. In which order they run between two barriers is not
 * the same every time (EMULATED_ORDER seeds it), so a kernel that lacks a barrier gives other
 * results or none; and one whose threads disagree about a barrier is found out. Memory is poisoned
 * before use, and beyond its end an address sanitizer, if there is one, watches. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cuda_runtime.h>
#include "emulated/emulated.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

enum { WARP = 32, MOST_THREADS = 1024, STACK_BYTES = 128 << 10, MOST_SHARED = 227 << 10 };

dim3 gridDim, blockDim, blockIdx, threadIdx;
alignas(256) unsigned char shared_bytes[MOST_SHARED];

/* ---- fibres ---------------------------------------------------------------------------------- */

/* Save the callee's registers and the stack here, go on there. */
extern "C" void fibre_switch(void **from, void *to);
#if defined(__x86_64__)
asm(".text\n.globl fibre_switch\n.type fibre_switch, @function\nfibre_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
#else
#error "fibres are written for x86-64"
#endif

enum state { READY, AT_BLOCK, AT_WARP, DONE };

struct fibre {
    char *stack;
    void *at; /* its stack pointer while it does not run */
    enum state state;
    dim3 thread;
    alignas(16) unsigned char lent[2][64];
    int turn; /* which of them is in use */
};

static struct fibre fibres[MOST_THREADS];
static struct fibre *running;
static void *scheduler;
static void (*thread_body)(const void *call);
static const void *thread_call;
static uint64_t order;

static void fail(const char *what)
{
    fprintf(stderr, "emulated CUDA: %s\n", what);
    abort();
}

static void leave(enum state state)
{
    struct fibre *const f = running;
    f->state = state;
    fibre_switch(&f->at, scheduler);
    threadIdx = f->thread;
}

static void fibre_main(void)
{
    thread_body(thread_call);
    leave(DONE);
    fail("a thread ran on after its end");
}

static void fibre_start(struct fibre *f)
{
    if (!f->stack) f->stack = (char *)aligned_alloc(64, STACK_BYTES);
    if (!f->stack) fail("no memory for a thread's stack");
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(f->stack, STACK_BYTES);
#endif
    /* as if fibre_main were about to return to itself: six registers, its address, no caller */
    void **const top = (void **)(void *)(f->stack + STACK_BYTES - 72);
    memset(top - 7, 0, 8 * sizeof *top);
    top[-1] = (void *)fibre_main;
    f->at = top - 7;
    f->state = READY;
    f->turn = 0;
}

void emulated_block_barrier(void)
{
    leave(AT_BLOCK);
}

void emulated_warp_barrier(void)
{
    leave(AT_WARP);
}

void *emulated_lend(void)
{
    return running->lent[running->turn];
}

const void *emulated_borrow(int lane)
{
    const struct fibre *const first = fibres + (running - fibres) / WARP * WARP;
    return first[lane].lent[running->turn];
}

void emulated_return(void)
{
    running->turn = !running->turn;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static void run(struct fibre *f)
{
    running = f;
    threadIdx = f->thread;
    fibre_switch(&scheduler, f->at);
}

/* All live fibres of [begin, end) that are at `barrier` go on, if all live ones are; how many. */
static int release(int begin, int end, enum state barrier)
{
    int n = 0;
    for (int i = begin; i < end; i++) {
        if (fibres[i].state == DONE) continue;
        if (fibres[i].state != barrier) return 0;
        n++;
    }
    for (int i = begin; i < end; i++)
        if (fibres[i].state == barrier) fibres[i].state = READY;
    return n;
}

/* A number below n, another one each time. */
static int draw(int n)
{
    order = order * 6364136223846793005u + 1442695040888963407u;
    return (int)((order >> 33) % (uint64_t)n);
}

/* The fibres of a warp, as far as they come without the rest of the block; how many still live. */
static int run_warp(int begin, int end)
{
    int live = 0;
    do {
        const int n = end - begin, first = draw(n);
        live = 0;
        for (int k = 0; k < n; k++) {
            const int i = begin + (first + k) % n;
            if (fibres[i].state == READY) run(&fibres[i]);
            live += fibres[i].state != DONE;
        }
    } while (release(begin, end, AT_WARP) > 0);
    return live;
}

/* One warp after the other runs up to a barrier of the block, so that all others see what it did
 * too early, if it did. */
static void run_block(int n)
{
    const int warps = (n + WARP - 1) / WARP;
    int live = n;
    for (int i = 0; i < n; i++)
        fibre_start(&fibres[i]);
    while (live > 0) {
        const int first = draw(warps);
        live = 0;
        for (int k = 0; k < warps; k++) {
            const int begin = (first + k) % warps * WARP;
            live += run_warp(begin, begin + WARP < n ? begin + WARP : n);
        }
        if (live > 0 && release(0, n, AT_BLOCK) == 0) fail("threads wait at different barriers");
    }
}

bool emulated_can_run(const cudaLaunchConfig_t *c)
{
    const dim3 grid = c->gridDim, block = c->blockDim;
    return block.x * block.y * block.z <= MOST_THREADS && grid.y <= 65535 && grid.z <= 65535 &&
           grid.x <= 2147483647u && grid.x > 0 && grid.y > 0 && c->dynamicSmemBytes <= MOST_SHARED;
}

void emulated_run(const cudaLaunchConfig_t *c, void (*body)(const void *call), const void *call)
{
    const int n = (int)(c->blockDim.x * c->blockDim.y * c->blockDim.z);
    gridDim = c->gridDim;
    blockDim = c->blockDim;
    thread_body = body;
    thread_call = call;
    for (int i = 0; i < n; i++)
        fibres[i].thread = dim3((unsigned)i % blockDim.x, (unsigned)i / blockDim.x % blockDim.y,
                                (unsigned)i / blockDim.x / blockDim.y);
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(shared_bytes, MOST_SHARED);
    ASAN_POISON_MEMORY_REGION(shared_bytes + c->dynamicSmemBytes,
                              MOST_SHARED - c->dynamicSmemBytes);
#endif
    for (unsigned z = 0; z < gridDim.z; z++)
        for (unsigned y = 0; y < gridDim.y; y++)
            for (unsigned x = 0; x < gridDim.x; x++) {
                blockIdx = dim3(x, y, z);
                memset(shared_bytes, 0xff, c->dynamicSmemBytes); /* NaN */
                run_block(n);
            }
}

/* ---- the rest of the runtime ------------------------------------------------------------------
 */

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}
const char *cudaGetErrorString(cudaError_t code)
{
    return code == cudaErrorMemoryAllocation ? "out of memory" : "emulated failure";
}
const char *cudaGetErrorName(cudaError_t code)
{
    return code == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}
/* EMULATED_DEVICES: how many there are; a negative number is minus the code of a failure. */
cudaError_t cudaGetDeviceCount(int *count)
{
    const char *const text = getenv("EMULATED_DEVICES");
    const int n = text ? atoi(text) : 1;
    *count = n > 0 ? n : 0;
    return n < 0 ? (cudaError_t)-n : n == 0 ? cudaErrorNoDevice : cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version)
{
    const char *const text = getenv("EMULATED_DRIVER");
    *version = text ? atoi(text) : 13000;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    memset(p, 0, sizeof *p);
    p->uuid.bytes[15] = (char)device;
    snprintf(p->name, sizeof p->name, "emulated");
    p->totalGlobalMem = (size_t)1 << 30;
    p->major = 8;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void *, enum cudaFuncAttribute, int)
{
    return cudaSuccess;
}

/* Threads take turns in another order when EMULATED_ORDER is another number. */
__attribute__((constructor)) static void seed_order(void)
{
    const char *const text = getenv("EMULATED_ORDER");
    order = text ? strtoull(text, NULL, 10) : 1;
}
