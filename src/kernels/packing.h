/* packing.h - numbers packed for the wire: how many bytes they take, and what backends share about
 * them. Blocks of PACK_BLOCK numbers, the last one filled up with zeros:
 *
 * bf16: the numbers, rounded to nearest even.
 * int8, int4: a scale in bf16, the block's largest magnitude divided by 127 or 7, and each number
 *   divided by it and rounded to nearest even, in two's complement. Of int4, byte j holds number j
 *   in its low half and number j + 32 in its high one.
 * int1: a scale in bf16, the mean magnitude of the block's numbers, and their signs, number j in
 *   bit j % 8 of byte j / 8; set: negative.
 *
 * A scale below 2^-126 is 0, and one of a block with a number that is not finite is NaN, so that
 * all of it is NaN when unpacked. Codes are at most seven bits and a sign, scales eight bits, so
 * their products are exact and a packed number means the same on every processor. */
#pragma once
#include <stdint.h>

#ifdef __CUDACC__
#define PACK_FN static inline __host__ __device__
#else
#define PACK_FN static inline
#endif

enum packing { PACK_BF16, PACK_INT8, PACK_INT4, PACK_INT1, PACKINGS };
enum { PACK_BLOCK = 64, PACK_HALF = PACK_BLOCK / 2 };
enum { PACK_SCALE = 2 /* bytes of a scale, which stand before the codes */ };

PACK_FN int pack_block_bytes(enum packing p)
{
    switch (p) {
    case PACK_BF16:
        return 2 * PACK_BLOCK;
    case PACK_INT8:
        return PACK_SCALE + PACK_BLOCK;
    case PACK_INT4:
        return PACK_SCALE + PACK_BLOCK / 2;
    default:
        return PACK_SCALE + PACK_BLOCK / 8;
    }
}

PACK_FN int64_t pack_blocks(int64_t n)
{
    return (n + PACK_BLOCK - 1) / PACK_BLOCK;
}

/* Bytes of n numbers. */
PACK_FN int64_t pack_bytes(enum packing p, int64_t n)
{
    return pack_blocks(n) * pack_block_bytes(p);
}

/* Largest code. */
PACK_FN int pack_levels(enum packing p)
{
    return p == PACK_INT8 ? 127 : 7;
}

/* Smallest scale that is not taken for 0, and a scale that is not a number. */
#define PACK_LEAST_SCALE 0x1p-126f
enum { PACK_NAN = 0x7fc0 };
