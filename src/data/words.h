/* words.h - text cut into the words inside which GPT-2 merges bytes. Private to src/data.
 *
 * The words are the matches of the published pattern
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * in Unicode 16 (unicode.h). A byte that is no part of valid UTF-8 counts as a character that is
 * neither letter nor number nor white space, as U+FFFD is: words end where they do for readers that
 * put U+FFFD there. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/status.h"

struct words;

/* SHOAL_ENOMEM. */
enum shoal_status words_create(struct words **out);
/* Sets *w to NULL; accepts NULL. */
void words_destroy(struct words **w);
/* Bytes of the word that begins at text, of which n bytes are known; last: there are no more. 0
 * when n is 0, or when the bytes to come may still change where it ends. */
size_t words_next(const struct words *w, const char *text, size_t n, bool last);
