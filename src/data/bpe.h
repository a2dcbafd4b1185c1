/* bpe.h - byte pair encoding of one word. Private to src/data. */
#pragma once
#include <stddef.h>
#include "base/status.h"
#include "data/tokenizer.h"
#include "data/vocabulary.h"

struct bpe;

/* v is borrowed. SHOAL_EFORMAT: a pair is merged twice; the message begins with name. */
enum shoal_status bpe_create(const struct vocabulary *v, const char *name, struct bpe **out);
/* Sets *b to NULL; accepts NULL. */
void bpe_destroy(struct bpe **b);
/* Append the tokens of the word: from its bytes, the merge that comes first in the list is applied
 * where it can be, leftmost first, until none can. SHOAL_ENOMEM; SHOAL_EFORMAT: longer than
 * TOKENIZER_MAX_WORD. */
enum shoal_status bpe_encode(struct bpe *b, struct token_list *out, const char *word, size_t n);
