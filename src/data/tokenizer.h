/* tokenizer.h - text to tokens and back.
 *
 * "bytes": a token is a byte, and 0 stands for the end of a text. "gpt2": byte-level BPE by the
 * published vocabulary files of GPT-2, or others made in the same way. Text is any bytes, valid
 * UTF-8 or not: what was encoded decodes to the same bytes. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

/* One thread at a time may use a tokenizer. */
struct tokenizer;

/* The longest stretch of text that has to be seen at once to encode it: a word of GPT-2's, that is
 * a run of letters, of digits, of other signs or of white space. */
enum { TOKENIZER_MAX_WORD = 1 << 24 };

/* A growing list of tokens; zero-initialised. */
struct token_list {
    uint16_t *token; /* owned */
    size_t count, capacity;
};
/* Room for n more. SHOAL_ENOMEM. */
enum shoal_status token_list_reserve(struct token_list *list, size_t n);
/* Accepts a zeroed list. */
void token_list_free(struct token_list *list);

/* name: "bytes" or "gpt2"; SHOAL_EARG for others. vocab: where gpt2's vocabulary is, a directory or
 * one of its files (tokenizer.json, vocab.json and merges.txt, encoder.json and vocab.bpe); NULL or
 * "" for bytes. SHOAL_EIO: a file is missing; SHOAL_EFORMAT: it is damaged or of another kind. */
enum shoal_status tokenizer_open(const char *name, const char *vocab, struct tokenizer **out);
/* Sets *t to NULL; accepts NULL. */
void tokenizer_close(struct tokenizer **t);
/* As given to tokenizer_open. */
const char *tokenizer_name(const struct tokenizer *t);
/* How many tokens there are. */
int tokenizer_vocab(const struct tokenizer *t);
/* The token that precedes every document. No text becomes it but the byte 0 of "bytes". */
int tokenizer_end_of_text(const struct tokenizer *t);

/* Append the tokens of the first *used bytes of a text of which n bytes are known; last: there are
 * no more, and all are used. Otherwise the rest, whose tokens may depend on what follows, is to be
 * given again with more behind it. Names of special tokens inside the text are ordinary text.
 * SHOAL_ENOMEM; SHOAL_EFORMAT: a word is longer than TOKENIZER_MAX_WORD. */
enum shoal_status tokenizer_encode(struct tokenizer *t, struct token_list *out, size_t *used,
                                   const char *text, size_t n, bool last);
/* The *n bytes that a token stands for; borrowed, not 0-terminated. 0 <= token < vocab. None where
 * it is no part of text, like <|endoftext|>; the end of text of "bytes" is the byte 0. */
const char *tokenizer_decode(const struct tokenizer *t, int token, size_t *n);

/* Leave in the directory dir what tokenizer_open needs as vocab (gpt2: tokenizer.json). Nothing for
 * bytes. SHOAL_EIO. */
enum shoal_status tokenizer_save(const struct tokenizer *t, const char *dir);
/* Leave there a tokenizer.json for other programs, which have to be told what bytes are too.
 * SHOAL_EIO.
 */
enum shoal_status tokenizer_export(const struct tokenizer *t, const char *dir);
/* Whether there are files at path, a directory or a file, that tokenizer_open could take as vocab.
 */
bool tokenizer_has_files(const char *path);
