/* tokenize.h - text files to token shards. */
#pragma once
#include <stdint.h>
#include "base/status.h"

struct tokenize_args {
    const char *tokenizer;    /* "bytes": token = byte value, vocabulary 256 */
    const char *out_dir;      /* gets train_000000.bin, ..., val_000000.bin */
    const char *const *files; /* documents, in this order */
    int64_t n_files;
    double val_fraction;  /* of the text that goes to the val shard, (0, 0.5] */
    int64_t shard_tokens; /* most tokens in one shard */
};

struct tokenize_result {
    int64_t documents, train_tokens, val_tokens;
    int train_shards;
};

/* Each document is preceded by the end-of-text token (byte 0 for "bytes"). Several documents: whole
 * documents are drawn for the val shard by a hash of their number until val_fraction of the bytes
 * is reached, passing over those that would exceed it (at least one is drawn, the smallest if
 * need be); one document: its tail is the val shard. Train shards are of nearly equal size; those
 * of an earlier, larger run are removed. Files appear whole or not at all. SHOAL_EIO:
 * a file cannot be read. SHOAL_EFORMAT: no text at all, or too little to split. */
enum shoal_status tokenize_files(const struct tokenize_args *args, struct tokenize_result *result);
