/* digest.h - XXH64 with seed 0 (Collet, github.com/Cyan4973/xxHash): 64 bits that tell whether
 * bytes are still what they were. Against accidents, not against forgery. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

struct digest {
    uint64_t lane[4];
    uint64_t bytes;         /* added so far */
    unsigned char kept[32]; /* the last bytes % 32 of them */
};

void digest_begin(struct digest *d);
/* Bytes in any portions give the same digest. */
void digest_add(struct digest *d, const void *data, size_t bytes);
/* Of what was added so far; more may follow. */
uint64_t digest_value(const struct digest *d);

/* Of a file's bytes from `from` to its end. *bytes (may be NULL): how many those are. SHOAL_EIO;
 * SHOAL_EFORMAT: the file is shorter. */
enum shoal_status digest_file(const char *path, int64_t from, uint64_t *out, int64_t *bytes);
