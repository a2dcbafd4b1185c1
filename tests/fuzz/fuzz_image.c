/* Bytes of a shard changed, where and to what the input says, with the library's own checksums of
 * object headers and of the superblock made right again: what HDF5 itself does with structure that
 * nobody vouches for. It is not ours to mend, so this target is not part of ./check;
 * docs/SNAPSHOT.md says what was found. */
#include <string.h>
#include "base/memory.h"
#include "fuzz/made.h"
#include "snapshot/seal.h"

enum { CHANGES = 12, SUPERBLOCK_BYTES = 44 };

static uint32_t rotate(uint32_t x, int k)
{
    return x << k | x >> (32 - k);
}

static uint32_t load(const uint8_t *at, size_t n)
{
    uint32_t value = 0;
    for (size_t i = 0; i < n && i < 4; i++)
        value |= (uint32_t)at[i] << 8 * i;
    return value;
}

/* The n bytes left of twelve, as three words. */
static void add_words(uint32_t w[3], const uint8_t *at, size_t n)
{
    for (size_t i = 0; i < 3 && n > 4 * i; i++)
        w[i] += load(at + 4 * i, n - 4 * i);
}

/* Jenkins's lookup3 (public domain), which HDF5's file format names. */
static uint32_t lookup3(const uint8_t *at, size_t n)
{
    static const int mixing[6] = {4, 6, 8, 16, 19, 4}, last[7] = {14, 11, 25, 16, 4, 14, 24};
    uint32_t w[3];
    w[0] = w[1] = w[2] = 0xdeadbeefu + (uint32_t)n;
    for (; n > 12; n -= 12, at += 12) {
        add_words(w, at, 12);
        for (int i = 0; i < 6; i++) {
            uint32_t *const x = &w[i % 3], *const y = &w[(i + 1) % 3], *const z = &w[(i + 2) % 3];
            *x = (*x - *z) ^ rotate(*z, mixing[i]);
            *z += *y;
        }
    }
    add_words(w, at, n);
    for (int i = 0; i < 7 && n > 0; i++) {
        uint32_t *const x = &w[(i + 2) % 3], *const y = &w[(i + 1) % 3];
        *x = (*x ^ *y) - rotate(*y, last[i]);
    }
    return w[2];
}

static void put_checksum(uint8_t *at, size_t n)
{
    const uint32_t sum = lookup3(at, n);
    for (int i = 0; i < 4; i++)
        at[n + (size_t)i] = (uint8_t)(sum >> 8 * i);
}

/* Bytes of a version 2 object header before its checksum; 0: not one. */
static size_t header_bytes(const uint8_t *at, size_t left)
{
    if (left < 32 || memcmp(at, "OHDR\2", 5) != 0) return 0;
    const size_t prefix = 6u + (at[5] & 0x20 ? 16 : 0) + (at[5] & 0x10 ? 4 : 0);
    const size_t width = (size_t)1 << (at[5] & 3);
    const size_t bytes = prefix + width + load(at + prefix, width);
    return bytes <= left - 4 ? bytes : 0;
}

static void mend(uint8_t *image, size_t n)
{
    put_checksum(image + SEAL_BYTES, SUPERBLOCK_BYTES);
    for (size_t at = SEAL_BYTES; at + 32 < n; at++) {
        const size_t bytes = header_bytes(image + at, n - at);
        if (bytes) put_checksum(image + at, bytes);
    }
}

static void read_all(const char *path)
{
    struct shard_past past = {.n_judgings = 0};
    struct expert *e = NULL;
    fuzz_must(expert_create(fuzz_device(), made_table(), 0, false, true, &e) == SHOAL_OK, "memory");
    (void)fuzz_ok(shard_read(path, e, &past));
    mem_free(past.judgings);
    mem_free(past.lineage);
    expert_destroy(&e);
    (void)fuzz_ok(shard_check(path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static char *good;
    static size_t bytes;
    struct fuzz_input in = {data, n};
    char path[SHOAL_MAX_PATH];
    uint8_t *image;
    fuzz_path(path, "image.h5");
    if (!good) {
        made_shard(path, 0.5f);
        fuzz_must(file_read(path, &good, &bytes) == SHOAL_OK, "a shard");
    }
    fuzz_must(mem_alloc(bytes, "an image", &image) == SHOAL_OK, "memory");
    memcpy(image, good, bytes);
    for (int i = 0; i < CHANGES && in.left > 0; i++) {
        const size_t at = SEAL_BYTES + fuzz_take(&in, 2) % (bytes - SEAL_BYTES);
        image[at] = (uint8_t)fuzz_take(&in, 1);
    }
    mend(image, bytes);
    fuzz_file(path, image, bytes);
    mem_free(image);
    fuzz_must(seal_write(path) == SHOAL_OK, "a seal");
    read_all(path);
    return 0;
}
