/* support.h - what tests of several areas need: scratch directories, files made without the code
 * under test, and the text of failures. Add ../support.c to the SOURCES of a test. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct scratch {
    char dir[64]; /* removed with everything in it by scratch_remove */
};

void scratch_make(struct scratch *s);
void scratch_remove(const struct scratch *s);
/* dir/name; valid until the next call. */
const char *scratch_path(const struct scratch *s, const char *name);
void write_bytes(const char *path, const void *bytes, size_t n);
void write_text(const char *path, const char *text);
/* Whole file with a 0 after it; *n its bytes. Freed with free(). */
uint8_t *read_bytes(const char *path, size_t *n);
/* What `print` writes to its stream. Freed with free(). */
char *printed(void (*print)(FILE *to, const void *what), const void *what);
/* Assert that the last failure's text contains fragment. */
void assert_failure_says(const char *fragment);
