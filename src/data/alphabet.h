/* alphabet.h - the 256 characters that stand for bytes in GPT-2's vocabulary files: a printable
 * character of Latin-1 for itself, U+0100, U+0101, ... for the other bytes in turn. Private to
 * src/data. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ALPHABET_TEXT = 3 }; /* a character in UTF-8 and a final 0 */

/* The character of a byte. */
void alphabet_text(char out[ALPHABET_TEXT], uint8_t byte);
/* The bytes that text stands for into out, which holds as many bytes as text; their number into *n.
 * false: some character is not of the alphabet. */
bool alphabet_bytes(char *out, size_t *n, const char *text);
