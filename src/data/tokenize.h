/* tokenize.h - text files to token shards. */
#pragma once
#include <stdint.h>
#include "base/status.h"

struct tokenize_args {
    const char *tokenizer;    /* "bytes" or "gpt2", see tokenizer.h */
    const char *vocab;        /* where gpt2's vocabulary is; NULL for bytes */
    const char *out_dir;      /* gets train_000000.bin, ..., val_000000.bin and the vocabulary */
    const char *const *files; /* documents, in this order */
    int64_t n_files;
    double val_fraction;  /* of the text that goes to the val shard, (0, 0.5] */
    int64_t shard_tokens; /* most tokens in one shard */
};

struct tokenize_result {
    int64_t documents, train_tokens, val_tokens;
    int train_shards;
    int vocab; /* tokens that the tokenizer knows */
};

/* Each document is preceded by the end-of-text token (byte 0 for "bytes", <|endoftext|> for
 * "gpt2"). Several documents: whole documents are drawn for the val shard by a hash of their number
 * until val_fraction of the bytes is reached, passing over those that would exceed it (at least one
 * is drawn, the smallest if need be); one document: its tail is the val shard, for gpt2 from the
 * beginning of a character on. Train shards are of nearly equal size; those of an earlier, larger
 * run are removed. The vocabulary of gpt2 is left beside the shards (tokenizer_save), unless it was
 * read there. Files appear whole or not at all; memory does not grow with the text. SHOAL_EIO: a
 * file cannot be read. SHOAL_EFORMAT: no text at all, or too little to split, or a damaged
 * vocabulary. */
enum shoal_status tokenize_files(const struct tokenize_args *args, struct tokenize_result *result);
