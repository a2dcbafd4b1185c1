/* shard.h - one token shard, memory-mapped (format in data.h). Private to src/data. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/files.h"
#include "base/status.h"

struct shard {
    char path[SHOAL_MAX_PATH];
    void *map; /* whole file, read only; NULL when closed */
    size_t map_bytes;
    int64_t n_tokens;
};

/* Map a file and check magic, version and size. SHOAL_EIO, SHOAL_EFORMAT. On failure `out` is
 * closed. */
enum shoal_status shard_open(const char *path, struct shard *out);
void shard_close(struct shard *s);
/* Tokens [begin, begin + n) into out. The range must lie inside. SHOAL_EFORMAT, naming file and
 * position, when one is not below vocab. */
enum shoal_status shard_tokens(const struct shard *s, int64_t begin, int64_t n, int vocab,
                               int32_t *out);
/* Whether all tokens are below vocab; SHOAL_EFORMAT names the first that is not. */
enum shoal_status shard_check_tokens(const struct shard *s, int vocab);
