/* vocabulary.h - the tokens of a byte-level BPE and the merges that make them, as read from the
 * published files. Private to src/data. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/files.h"
#include "base/status.h"

enum { VOCABULARY_NAME = 1 << 12 }; /* bytes of a token's name in the files, with a final 0 */

struct merge {
    uint16_t left, right, result; /* tokens */
};

struct vocabulary {
    int n_tokens, n_merges;
    int end_of_text;       /* the token <|endoftext|> */
    uint16_t of_byte[256]; /* tokens of single bytes */
    struct merge *merge; /* owned; [n_merges], the first applies first. What a merge joins are bytes
                            or results of merges before it */
    char *bytes;         /* owned; what the tokens stand for, one after the other */
    uint32_t *begin;     /* owned; [n_tokens + 1], where each begins in bytes */
    uint8_t *special;    /* owned; [n_tokens], 1: stands for its own name, and no text becomes it */
};

/* Where the files are. */
struct vocabulary_files {
    char tokens[SHOAL_MAX_PATH];
    char merges[SHOAL_MAX_PATH]; /* "": the same file, tokenizer.json */
};

/* path: a directory with tokenizer.json, or vocab.json and merges.txt, or encoder.json and
 * vocab.bpe (looked for in this order), or one of these files. SHOAL_EIO says what is missing. */
enum shoal_status vocabulary_find(const char *path, struct vocabulary_files *out);
/* Whether dir has all the files of some vocabulary. */
bool vocabulary_is_in(const char *dir);
/* SHOAL_EIO; SHOAL_EFORMAT: not JSON, truncated, files that disagree, or a tokenizer.json that is
 * not of GPT-2's kind. *v then needs no vocabulary_free. */
enum shoal_status vocabulary_read(const char *path, struct vocabulary *v);
/* Accepts a zeroed struct. */
void vocabulary_free(struct vocabulary *v);
/* Write all of it as one file in the format of tokenizer.json. SHOAL_EIO. */
enum shoal_status vocabulary_save(const struct vocabulary *v, const char *path);
