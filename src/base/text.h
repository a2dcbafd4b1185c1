/* text.h - small helpers for text that people read and write. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum { NUMBER_TEXT = 32 };

/* Shortest decimal form of a finite double (float) that reads back to the same bits. out holds
 * NUMBER_TEXT bytes. */
void number_text(char *out, double value);
void number_text_f32(char *out, float value);
/* Bytes of the UTF-8 character at s (1 to 4), or 0 where there is no valid one. s ends in 0. */
size_t utf8_length(const char *s);
/* Edit distance: insertions, deletions, replacements and swaps of neighbours that turn a into b.
 * Only the first 127 bytes of each are looked at. */
int text_distance(const char *a, const char *b);
