/* memory.h - host memory. Whoever's struct holds the pointer frees it. */
#pragma once
#include <stddef.h>
#include "base/status.h"

/* Once, when the program begins: large blocks go back to the system when they are freed. glibc
 * would otherwise, after the first of a size, take the next ones from the heap, where small blocks
 * that stay keep what is freed around them. */
void mem_begin(void);
/* bytes of zeroed memory, aligned to 64 bytes (2 MiB with a huge-page hint from 4 MiB on). *out is
 * void **. SHOAL_ENOMEM says how many bytes for what. bytes == 0 gives a valid pointer. */
enum shoal_status mem_alloc(size_t bytes, const char *what, void *out);
/* Free what mem_alloc gave; NULL is fine. */
void mem_free(void *p);
