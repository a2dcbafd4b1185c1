/* json_written.h - the writing half of fuzz_json.c: base/json.h and json-c name one thing
 * differently. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* JSON with n bytes of text, behind which a 0 stands, and a number of these bits. free(). */
char *fuzz_json_written(const char *text, size_t n, uint64_t bits, size_t *bytes);
