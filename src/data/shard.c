/* Bytes are put together one by one, so the format is little-endian on any machine; compilers turn
 * it into plain loads where it is. */
#include "data/shard.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "data/data.h"

static int32_t get_i32(const uint8_t *p)
{
    const uint32_t u =
        (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    int32_t value;
    memcpy(&value, &u, sizeof value);
    return value;
}

static int32_t get_token(const uint8_t *tokens, int64_t i)
{
    return (int32_t)(tokens[2 * i] | tokens[2 * i + 1] << 8);
}

static const uint8_t *tokens_of(const struct shard *s)
{
    return (const uint8_t *)s->map + DATA_HEADER_BYTES;
}

static enum shoal_status map_file(const char *path, int fd, struct shard *out)
{
    struct stat info;
    SHOAL_CHECK(fstat(fd, &info) == 0, SHOAL_EIO, "%s: cannot be examined: %s", path,
                strerror(errno));
    SHOAL_CHECK(S_ISREG(info.st_mode), SHOAL_EIO,
                "%s: not a regular file; give the path of a token shard", path);
    SHOAL_CHECK(info.st_size >= DATA_HEADER_BYTES, SHOAL_EFORMAT,
                "%s: %" PRId64 " bytes are fewer than the %d of a header: not a token shard", path,
                (int64_t)info.st_size, (int)DATA_HEADER_BYTES);
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    SHOAL_CHECK(map != MAP_FAILED, SHOAL_EIO, "%s: cannot be mapped into memory: %s", path,
                strerror(errno));
    out->map = map;
    out->map_bytes = (size_t)info.st_size;
    return SHOAL_OK;
}

static enum shoal_status check_header(struct shard *s)
{
    const uint8_t *header = s->map;
    const int32_t magic = get_i32(header), version = get_i32(header + 4);
    const int64_t n = get_i32(header + 8);
    SHOAL_CHECK(magic == DATA_MAGIC, SHOAL_EFORMAT,
                "%s: magic %" PRId32
                " is not %d: not a token shard; make one with 'shoal tokenize'",
                s->path, magic, (int)DATA_MAGIC);
    SHOAL_CHECK(version == DATA_VERSION, SHOAL_EFORMAT,
                "%s: version %" PRId32 " of the token shard format is not %d, the one known here",
                s->path, version, (int)DATA_VERSION);
    SHOAL_CHECK(n >= 0, SHOAL_EFORMAT, "%s: header says %" PRId64 " tokens: damaged?", s->path, n);
    const int64_t expected = DATA_HEADER_BYTES + 2 * n;
    SHOAL_CHECK((int64_t)s->map_bytes == expected, SHOAL_EFORMAT,
                "%s: header says %" PRId64 " tokens (%" PRId64
                " bytes), the file has %zu bytes: %s",
                s->path, n, expected, s->map_bytes,
                (int64_t)s->map_bytes < expected ? "truncated?" : "not a token shard of uint16?");
    s->n_tokens = n;
    return SHOAL_OK;
}

enum shoal_status shard_open(const char *path, struct shard *out)
{
    memset(out, 0, sizeof *out);
    SHOAL_TRY(path_format(out->path, "%s", path));
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would make it wait */
    SHOAL_CHECK(fd >= 0, SHOAL_EIO, "%s: cannot be opened: %s", path, strerror(errno));
    enum shoal_status st = map_file(path, fd, out);
    close(fd); /* the mapping stays; nothing was written */
    if (st == SHOAL_OK) st = check_header(out);
    if (st != SHOAL_OK) shard_close(out);
    return st;
}

void shard_close(struct shard *s)
{
    if (s->map != NULL) munmap(s->map, s->map_bytes);
    s->map = NULL;
}

static enum shoal_status bad_token(const struct shard *s, int32_t token, int64_t at, int vocab)
{
    return SHOAL_FAIL(SHOAL_EFORMAT,
                      "%s: token %" PRId32 " at position %" PRId64
                      " is not below model.vocab = %d: raise model.vocab to that of the tokenizer, "
                      "or tokenize again",
                      s->path, token, at, vocab);
}

enum shoal_status shard_tokens(const struct shard *s, int64_t begin, int64_t n, int vocab,
                               int32_t *out)
{
    SHOAL_ASSERT(begin >= 0 && n >= 0 && begin + n <= s->n_tokens);
    const uint8_t *tokens = tokens_of(s) + 2 * begin;
    int32_t highest = 0;
    for (int64_t i = 0; i < n; i++) {
        out[i] = get_token(tokens, i);
        if (out[i] > highest) highest = out[i];
    }
    if (highest < vocab) return SHOAL_OK;
    int64_t at = 0;
    while (out[at] < vocab)
        at++;
    return bad_token(s, out[at], begin + at, vocab);
}

enum shoal_status shard_check_tokens(const struct shard *s, int vocab)
{
    const uint8_t *tokens = tokens_of(s);
    int32_t highest = 0;
    for (int64_t i = 0; i < s->n_tokens; i++) {
        const int32_t token = get_token(tokens, i);
        if (token > highest) highest = token;
    }
    if (highest < vocab) return SHOAL_OK;
    int64_t at = 0;
    while (get_token(tokens, at) < vocab)
        at++;
    return bad_token(s, get_token(tokens, at), at, vocab);
}
