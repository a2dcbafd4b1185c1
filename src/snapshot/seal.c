/* seal.c - see seal.h. */
#include "snapshot/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/digest.h"
#include "base/input.h"

static const char hdf5_signature[8] = "\x89HDF\r\n\x1a\n";

static void seal_text(char block[SEAL_BYTES], uint64_t digest, int64_t bytes)
{
    memset(block, 0, SEAL_BYTES);
    (void)snprintf(block, SEAL_BYTES, "shoal 1 xxh64 %016" PRIx64 " of %" PRId64 " bytes\n", digest,
                   bytes);
}

static enum shoal_status put_block(int fd, const char *path, const char block[SEAL_BYTES])
{
    for (int at = 0; at < SEAL_BYTES;) {
        const ssize_t wrote = pwrite(fd, block + at, (size_t)(SEAL_BYTES - at), at);
        if (wrote < 0 && errno == EINTR) continue;
        SHOAL_CHECK(wrote > 0, SHOAL_EIO, "cannot write '%s': %s", path, strerror(errno));
        at += (int)wrote;
    }
    return SHOAL_OK;
}

enum shoal_status seal_write(const char *path)
{
    char block[SEAL_BYTES];
    uint64_t digest = 0;
    int64_t bytes = 0;
    SHOAL_TRY(digest_file(path, SEAL_BYTES, &digest, &bytes));
    seal_text(block, digest, bytes);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    SHOAL_CHECK(fd >= 0, SHOAL_EIO, "cannot write '%s': %s", path, strerror(errno));
    enum shoal_status st = put_block(fd, path, block);
    if (close(fd) != 0 && st == SHOAL_OK)
        st = SHOAL_FAIL(SHOAL_EIO, "cannot write '%s': %s", path, strerror(errno));
    return st;
}

static enum shoal_status read_block(const char *path, char block[SEAL_BYTES], int64_t *bytes)
{
    struct input in = INPUT_CLOSED;
    SHOAL_TRY(input_open(&in, path));
    memset(block, 0, SEAL_BYTES);
    *bytes = in.bytes;
    const enum shoal_status st =
        input_read(&in, block, 0, in.bytes < SEAL_BYTES ? in.bytes : SEAL_BYTES);
    input_close(&in);
    return st;
}

/* Whether a block is a seal, to the last byte. */
static bool parse_seal(const char block[SEAL_BYTES], uint64_t *digest, int64_t *bytes)
{
    char again[SEAL_BYTES];
    if (memchr(block, 0, SEAL_BYTES) == NULL) return false;
    if (sscanf(block, "shoal 1 xxh64 %16" SCNx64 " of %18" SCNd64 " bytes", digest, bytes) != 2)
        return false;
    seal_text(again, *digest, *bytes);
    return memcmp(again, block, SEAL_BYTES) == 0;
}

enum shoal_status seal_read(const char *path, uint64_t *digest)
{
    char block[SEAL_BYTES];
    int64_t bytes = 0, said = 0;
    SHOAL_TRY(read_block(path, block, &bytes));
    SHOAL_CHECK(parse_seal(block, digest, &said) && said == bytes - SEAL_BYTES, SHOAL_EFORMAT,
                "%s: does not begin with a seal that fits", path);
    return SHOAL_OK;
}

enum shoal_status seal_check(const char *path, enum seal_state *state, uint64_t *digest)
{
    char block[SEAL_BYTES];
    uint64_t said = 0;
    int64_t bytes = 0, sealed = 0;
    *digest = 0;
    *state = SEAL_BROKEN;
    SHOAL_TRY(read_block(path, block, &bytes));
    if (memcmp(block, hdf5_signature, sizeof hdf5_signature) == 0) {
        *state = SEAL_NONE;
        return digest_file(path, 0, digest, NULL);
    }
    if (bytes < SEAL_BYTES) return SHOAL_OK;
    SHOAL_TRY(digest_file(path, SEAL_BYTES, digest, NULL));
    if (parse_seal(block, &said, &sealed) && said == *digest && sealed == bytes - SEAL_BYTES)
        *state = SEAL_GOOD;
    return SHOAL_OK;
}
