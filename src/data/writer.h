/* writer.h - writing a stream of tokens as shards of nearly equal size. Private to src/data. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include "base/files.h"
#include "base/status.h"

struct shard_writer {
    const char *dir, *prefix; /* borrowed */
    int64_t n_tokens;         /* so far */
    FILE *file;               /* all of them, behind room for a header; NULL: not begun or done */
    char temp[SHOAL_MAX_PATH];
};

/* Begin what will be DIR/<prefix>_000000.bin, ... SHOAL_EIO. w still wants writer_abandon. */
enum shoal_status writer_begin(struct shard_writer *w, const char *dir, const char *prefix);
/* Add tokens. SHOAL_EIO. */
enum shoal_status writer_put(struct shard_writer *w, const uint16_t *tokens, int64_t n);
/* After the last of at least one token: put the shards in place, as few as hold at most
 * shard_tokens each, and remove those that an earlier, larger run left behind. SHOAL_EIO. */
enum shoal_status writer_finish(struct shard_writer *w, int64_t shard_tokens, int *n_shards);
/* Drop what was not put in place; nothing to do after writer_finish. Accepts a zeroed writer. */
void writer_abandon(struct shard_writer *w);
