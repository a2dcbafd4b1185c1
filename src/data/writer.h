/* writer.h - writing a stream of tokens as shards of nearly equal size. Private to src/data. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include "base/files.h"
#include "base/status.h"

struct shard_writer {
    const char *dir, *prefix; /* borrowed */
    int64_t n_tokens;         /* of all shards together */
    int n_shards;
    int next;     /* the next shard to open */
    int64_t left; /* tokens still to come in the open shard */
    FILE *file;   /* NULL between shards */
    char path[SHOAL_MAX_PATH], temp[SHOAL_MAX_PATH];
};

/* Prepare DIR/<prefix>_000000.bin, ... for exactly n_tokens tokens, at most shard_tokens in each.
 * Nothing is written yet. */
void writer_begin(struct shard_writer *w, const char *dir, const char *prefix, int64_t n_tokens,
                  int64_t shard_tokens);
/* Add tokens; each shard is put in place when it is full. SHOAL_EIO. */
enum shoal_status writer_put(struct shard_writer *w, const uint16_t *tokens, int64_t n);
/* After the last token: remove the shards that an earlier, larger run left behind. SHOAL_EIO. */
enum shoal_status writer_finish(struct shard_writer *w);
/* Drop an unfinished shard; nothing to do after writer_finish. Accepts a zeroed writer. */
void writer_abandon(struct shard_writer *w);
