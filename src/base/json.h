/* json.h - writing one JSON object into a growing buffer. No reading.
 *
 * The first failure (out of memory) sticks in the object and is reported by json_end. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "base/status.h"

struct json {
    char *text; /* owned; 0-terminated */
    size_t length, capacity;
    bool comma; /* the next item needs one */
    enum shoal_status status;
};

/* Start `{`. */
void json_begin(struct json *j);
/* key NULL inside an array. Strings are escaped; bytes that are not UTF-8 become U+FFFD. */
void json_string(struct json *j, const char *key, const char *value);
/* The same for n bytes that may be 0; one more 0 follows them. */
void json_text(struct json *j, const char *key, const char *value, size_t n);
void json_int(struct json *j, const char *key, int64_t value);
void json_bool(struct json *j, const char *key, bool value);
/* Shortest form that reads back the same; not finite becomes null. */
void json_number(struct json *j, const char *key, double value);
void json_numbers(struct json *j, const char *key, const double *values, size_t n);
void json_open(struct json *j, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *j, char bracket);                 /* '}' or ']' */
/* Finish `}` and write it with a newline to `to`, flushed; frees the buffer. SHOAL_EIO,
 * SHOAL_ENOMEM. */
enum shoal_status json_end(struct json *j, FILE *to);
/* Finish `}` and hand out the text, without a newline: n bytes and a 0, the caller's to free().
 * NULL on failure, which is SHOAL_ENOMEM. */
enum shoal_status json_take(struct json *j, char **text, size_t *n);
/* Finish `}` and make a file of it, with a newline. SHOAL_EIO, SHOAL_ENOMEM. */
enum shoal_status json_save(struct json *j, const char *path);
