/* seal.h - the first 512 bytes of every file of ours: a line of text with a digest of the rest.
 *
 *   shoal 1 xxh64 0123456789abcdef of 1234567 bytes\n, then zeros
 *
 * HDF5 leaves that block to the user (H5Pset_userblock) and begins behind it. The library has
 * checksums of its own for most of a file; the seal covers every byte, can be checked without
 * decoding anything, and names the file's contents in an index. */
#pragma once
#include <stdint.h>
#include "base/status.h"

enum { SEAL_BYTES = 512 };

enum seal_state {
    SEAL_GOOD,
    SEAL_NONE,  /* written by a version that had no seals, or by another program */
    SEAL_BROKEN /* some byte is not what it was */
};

/* Seal a closed file whose first SEAL_BYTES are free. SHOAL_EIO. */
enum shoal_status seal_write(const char *path);
/* What the seal says, without looking at the rest. SHOAL_EFORMAT: there is none, or a damaged one.
 */
enum shoal_status seal_read(const char *path, uint64_t *digest);
/* Read the whole file. *digest: of what is there now, whatever its state. SHOAL_EIO. */
enum shoal_status seal_check(const char *path, enum seal_state *state, uint64_t *digest);
