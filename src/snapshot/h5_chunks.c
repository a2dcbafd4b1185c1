/* h5_chunks.c - whole datasets, written chunk by chunk past the library's cache and filters.
 *
 * Numbers lie in memory as they do in the file, so the library would only copy them, and its
 * Fletcher-32 goes word by word. Sums of words modulo 65535 can be made in many lanes, and swapping
 * the bytes of every word, which the library does, is a multiplication by 256 there, so it can wait
 * until the end. Reading goes through the library, which compares. */
#include <string.h>
#include "base/memory.h"
#include "snapshot/h5.h"

enum { CHUNK_BYTES = 1 << 20, CHECKSUM_BYTES = 4 };

void h5_chunk_shape(hsize_t chunk[2], const struct h5_shape *shape, size_t item_bytes)
{
    hsize_t left = CHUNK_BYTES / item_bytes;
    for (int i = shape->rank - 1; i >= 0; i--) {
        const hsize_t dim = shape->dim[i];
        /* As many chunks as it takes, of the same size: the last one is stored whole too. */
        const hsize_t parts = dim > left ? (dim + left - 1) / left : 1;
        chunk[i] = dim > 0 ? (dim + parts - 1) / parts : 1;
        left /= chunk[i];
        if (left == 0) left = 1;
    }
}

/* ---- Fletcher-32, as HDF5's filter has it ---------------------------------------------------- */

enum { LANES = 4, TURNS = 256 /* sums of TURNS (TURNS + 1) / 2 words fit into 32 bits */ };

/* A sum, or a sum of sums, as the library represents it: 0 only where all words are 0. */
static uint32_t reduce(uint64_t sum)
{
    const uint32_t rest = (uint32_t)(sum % 65535 * 256 % 65535);
    return sum > 0 && rest == 0 ? 65535 : rest;
}

/* TURNS * LANES words; *a: their sum, *b: the sum of all sums of the first so many. A variable
 * holds two lanes of 32 bits: those of the even words, or of the odd ones. */
static void add_block(const unsigned char *at, uint64_t *a, uint64_t *b)
{
    const uint64_t low = 0x0000FFFF0000FFFFu, half = 0xFFFFFFFFu;
    uint64_t even = 0, odd = 0, evens = 0, odds = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t words;
        memcpy(&words, at + turn * (int)sizeof words, sizeof words);
        evens += even += words & low;
        odds += odd += words >> 16 & low;
    }
    const uint64_t one[LANES] = {even & half, odd & half, even >> 32, odd >> 32};
    const uint64_t two[LANES] = {evens & half, odds & half, evens >> 32, odds >> 32};
    uint64_t sum = 0, sums = 0;
    /* A word in lane i counts once for every turn from its own on, in which there are LANES sums,
     * but not for the i sums before it. */
    for (unsigned i = 0; i < LANES; i++) {
        sum += one[i];
        sums += LANES * two[i] - i * one[i];
    }
    *b += *a * (TURNS * LANES) + sums;
    *a += sum;
}

uint32_t h5_fletcher32(const void *data, size_t bytes)
{
    const size_t block = TURNS * LANES * sizeof(uint16_t);
    const unsigned char *at = data, *const end = at + bytes / 2 * 2;
    uint64_t a = 0, b = 0;
    for (; (size_t)(end - at) >= block; at += block)
        add_block(at, &a, &b);
    for (; at < end; at += 2) {
        uint16_t word;
        memcpy(&word, at, sizeof word);
        a += word;
        b += a;
    }
    if (bytes % 2 != 0) {
        a += *at;
        b += a;
    }
    return reduce(b) << 16 | reduce(a);
}

/* ---- chunks ---------------------------------------------------------------------------------- */

/* The part of a dataset that begins at (row, column) into a chunk; what lies outside becomes 0. */
static void fill(unsigned char *out, const hsize_t chunk[2], const unsigned char *data,
                 const hsize_t dim[2], const hsize_t from[2], size_t item_bytes)
{
    const hsize_t rows = dim[0] - from[0] < chunk[0] ? dim[0] - from[0] : chunk[0];
    const hsize_t columns = dim[1] - from[1] < chunk[1] ? dim[1] - from[1] : chunk[1];
    if (rows < chunk[0] || columns < chunk[1])
        memset(out, 0, (size_t)(chunk[0] * chunk[1]) * item_bytes);
    if (columns == dim[1]) {
        memcpy(out, data + (size_t)(from[0] * columns) * item_bytes,
               (size_t)(rows * columns) * item_bytes);
        return;
    }
    for (hsize_t row = 0; row < rows; row++)
        memcpy(out + (size_t)(row * chunk[1]) * item_bytes,
               data + (size_t)((from[0] + row) * dim[1] + from[1]) * item_bytes,
               (size_t)columns * item_bytes);
}

enum shoal_status h5_write_chunks(const struct h5 *h, const char *name, hid_t dataset,
                                  const struct h5_shape *shape, size_t item_bytes, const void *data)
{
    hsize_t chunk[2] = {1, 1}, from[2];
    h5_chunk_shape(chunk, shape, item_bytes);
    /* One dimension is one row, so that its chunks are parts of that. */
    const bool flat = shape->rank == 1;
    const hsize_t dim[2] = {flat ? 1 : shape->dim[0], flat ? shape->dim[0] : shape->dim[1]};
    const hsize_t part[2] = {flat ? 1 : chunk[0], flat ? chunk[0] : chunk[1]};
    const size_t bytes = (size_t)(part[0] * part[1]) * item_bytes;
    enum shoal_status st = SHOAL_OK;
    unsigned char *buffer = NULL;
    SHOAL_TRY(mem_alloc(bytes + CHECKSUM_BYTES, "a part of a file", &buffer));
    for (from[0] = 0; from[0] < dim[0]; from[0] += part[0]) {
        for (from[1] = 0; from[1] < dim[1]; from[1] += part[1]) {
            fill(buffer, part, data, dim, from, item_bytes);
            const uint32_t sum = h5_fletcher32(buffer, bytes);
            memcpy(buffer + bytes, &sum, sizeof sum);
            if (H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, flat ? from + 1 : from,
                               bytes + CHECKSUM_BYTES, buffer) < 0)
                SHOAL_GOTO(h5_fail_write(h, name));
        }
    }
done:
    mem_free(buffer);
    return st;
}
