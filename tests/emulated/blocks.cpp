/* blocks.cpp - memory of the emulated runtime: what is allocated, where it lies and how much it is.
 * Callers hold the runtime's lock. */
#include <stdlib.h>
#include <string.h>
#include <cuda_runtime.h>
#include "emulated/emulated.h"

struct block {
    struct block *next;
    char *at;
    size_t bytes;
    bool pinned;
};

static struct block *blocks;
static struct emulated_memory memory;
static int until_failure;

static struct block **find_block(const void *p)
{
    struct block **b = &blocks;
    while (*b && !((*b)->at <= (const char *)p && (const char *)p < (*b)->at + (*b)->bytes))
        b = &(*b)->next;
    return b;
}

enum emulated_place emulated_place_of(const void *p)
{
    const struct block *const b = *find_block(p);
    return !b ? PAGEABLE : b->pinned ? PINNED : ON_DEVICE;
}

static void count(size_t *now, size_t *peak, size_t bytes, bool more)
{
    *now = more ? *now + bytes : *now - bytes;
    if (*now > *peak) *peak = *now;
}

static void count_block(const struct block *b, bool more)
{
    if (b->pinned)
        count(&memory.pinned, &memory.pinned_peak, b->bytes, more);
    else
        count(&memory.device, &memory.device_peak, b->bytes, more);
}

cudaError_t emulated_block_make(void **p, size_t bytes, bool pinned)
{
    const size_t most = (size_t)8 << 30;
    *p = NULL;
    if (bytes > most || (until_failure > 0 && --until_failure == 0))
        return cudaErrorMemoryAllocation;
    struct block *const b = (struct block *)malloc(sizeof *b);
    /* exactly as many bytes, so that a sanitizer sees the end */
    if (!b || posix_memalign(p, 256, bytes) != 0) {
        free(b);
        return cudaErrorMemoryAllocation;
    }
    memset(*p, 0xff, bytes);
    *b = {blocks, (char *)*p, bytes, pinned};
    blocks = b;
    count_block(b, true);
    return cudaSuccess;
}

cudaError_t emulated_block_free(void *p)
{
    struct block **const b = find_block(p);
    if (!*b || (*b)->at != p) return cudaErrorInvalidValue;
    struct block *const gone = *b;
    count_block(gone, false);
    *b = gone->next;
    free(gone->at);
    free(gone);
    return cudaSuccess;
}

struct emulated_memory emulated_memory_now(void)
{
    return memory;
}

void emulated_memory_begin(void)
{
    memory.device_peak = memory.device;
    memory.pinned_peak = memory.pinned;
}

int emulated_fail_allocation(int n)
{
    const int left = until_failure;
    until_failure = n;
    return left;
}
