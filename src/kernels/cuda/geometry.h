/* geometry.h - how work is cut into blocks: functions of the shape alone, so that sums have one
 * order on every GPU. Plain arithmetic, tested without a GPU. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ceil(n / step) for n >= 0, step > 0 */
static inline int64_t parts_of(int64_t n, int64_t step)
{
    return (n + step - 1) / step;
}

static inline int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

/* Threads of a block of elementwise kernels, which work on four elements at a time. */
enum { FLAT_THREADS = 256, FLAT_STEP = 4 };
/* Blocks of such a kernel: at most enough to fill any GPU several times; a thread strides on. */
enum { FLAT_MAX_BLOCKS = 8192 };

static inline unsigned flat_blocks(int64_t n)
{
    const int64_t blocks = parts_of(parts_of(n, FLAT_STEP), FLAT_THREADS);
    return (unsigned)at_most(blocks < 1 ? 1 : blocks, FLAT_MAX_BLOCKS);
}

/* Rows that one block adds up before partial sums are written; at most `most` blocks. */
static inline int64_t rows_per_block(int64_t rows, int64_t least, int64_t most)
{
    const int64_t even = parts_of(rows, most);
    return even < least ? least : even;
}

/* Largest power of two up to 16 that divides the address: how wide it may be read. */
static inline int alignment_of(const void *p)
{
    const uintptr_t at = (uintptr_t)p;
    return at % 16 == 0 ? 16 : at % 8 == 0 ? 8 : at % 4 == 0 ? 4 : at % 2 == 0 ? 2 : 1;
}
/* NULL counts as aligned. */
static inline bool aligned16(const void *p)
{
    return alignment_of(p) == 16;
}

/* Shared memory a kernel may ask for without further ado. */
enum { SHARED_BYTES = 48 << 10 };
