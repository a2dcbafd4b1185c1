/* memory.c - aligned, zeroed host memory. Large blocks start on a 2 MiB boundary and ask for huge
 * pages: slabs are walked from end to end, where page-table misses are what is left to save. */
#define _DEFAULT_SOURCE /* madvise */
#include "base/memory.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LINE_BYTES = 64, LARGE_BYTES = 128 << 10, HUGE_BYTES = 2 << 20, HUGE_FROM_BYTES = 4 << 20 };

void mem_begin(void)
{
#ifdef M_MMAP_THRESHOLD
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES); /* a hint */
#endif
}

enum shoal_status mem_alloc(size_t bytes, const char *what, void *out)
{
    const bool huge = bytes >= HUGE_FROM_BYTES;
    void *p = NULL;
    const int error =
        posix_memalign(&p, huge ? HUGE_BYTES : LINE_BYTES, bytes > 0 ? bytes : LINE_BYTES);
    SHOAL_CHECK(error == 0, SHOAL_ENOMEM,
                "no memory for %s: %zu bytes (%.2f GiB) wanted; make the model or the batch "
                "smaller, or use fewer workers on this node",
                what, bytes, (double)bytes / (1 << 30));
#ifdef MADV_HUGEPAGE
    /* A hint: memory works as well, only slower, where the kernel does not take it. */
    if (huge) (void)madvise(p, bytes, MADV_HUGEPAGE);
#endif
    memset(p, 0, bytes);
    memcpy(out, &p, sizeof p); /* out points at a pointer of any type */
    return SHOAL_OK;
}

void mem_free(void *p)
{
    free(p);
}
