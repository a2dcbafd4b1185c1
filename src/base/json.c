/* json.c - one JSON object, built in memory so that it reaches its file in one write. */
#include "base/json.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/files.h"
#include "base/text.h"

static void append(struct json *j, const char *text, size_t bytes)
{
    if (j->status != SHOAL_OK) return;
    if (j->length + bytes + 1 > j->capacity) {
        const size_t capacity = 2 * (j->length + bytes) + 256;
        char *grown = realloc(j->text, capacity);
        if (!grown) {
            j->status =
                SHOAL_FAIL(SHOAL_ENOMEM, "no memory for a JSON line of %zu bytes", capacity);
            return;
        }
        j->text = grown;
        j->capacity = capacity;
    }
    memcpy(j->text + j->length, text, bytes);
    j->length += bytes;
    j->text[j->length] = 0;
}

static void append_text(struct json *j, const char *text)
{
    append(j, text, strlen(text));
}

/* A 0 follows the n bytes. */
static void append_quoted(struct json *j, const char *value, size_t n)
{
    append_text(j, "\"");
    for (const char *end = value + n; value < end;) {
        const unsigned char byte = (unsigned char)*value;
        const size_t length = utf8_length(value);
        char escape[8] = {'\\', (char)byte, 0};
        if (length == 0) {
            append_text(j, "\xEF\xBF\xBD"); /* U+FFFD */
        } else if (byte == '"' || byte == '\\') {
            append_text(j, escape);
        } else if (byte < 0x20 || byte == 0x7F) {
            snprintf(escape, sizeof escape, "\\u%04x", byte);
            append_text(j, escape);
        } else {
            append(j, value, length);
        }
        value += length > 0 ? length : 1;
    }
    append_text(j, "\"");
}

/* Comma and key before an item. */
static void start_item(struct json *j, const char *key)
{
    if (j->comma) append_text(j, ",");
    j->comma = true;
    if (!key) return;
    append_quoted(j, key, strlen(key));
    append_text(j, ":");
}

void json_begin(struct json *j)
{
    *j = (struct json){.status = SHOAL_OK};
    append_text(j, "{");
}

void json_string(struct json *j, const char *key, const char *value)
{
    json_text(j, key, value, strlen(value));
}

void json_text(struct json *j, const char *key, const char *value, size_t n)
{
    start_item(j, key);
    append_quoted(j, value, n);
}

void json_int(struct json *j, const char *key, int64_t value)
{
    char text[NUMBER_TEXT];
    snprintf(text, sizeof text, "%lld", (long long)value);
    start_item(j, key);
    append_text(j, text);
}

void json_bool(struct json *j, const char *key, bool value)
{
    start_item(j, key);
    append_text(j, value ? "true" : "false");
}

void json_number(struct json *j, const char *key, double value)
{
    char text[NUMBER_TEXT] = "null";
    if (isfinite(value)) number_text(text, value);
    start_item(j, key);
    append_text(j, text);
}

void json_numbers(struct json *j, const char *key, const double *values, size_t n)
{
    json_open(j, key, '[');
    for (size_t i = 0; i < n; i++)
        json_number(j, NULL, values[i]);
    json_close(j, ']');
}

void json_open(struct json *j, const char *key, char bracket)
{
    start_item(j, key);
    append(j, &bracket, 1);
    j->comma = false;
}

void json_close(struct json *j, char bracket)
{
    append(j, &bracket, 1);
    j->comma = true;
}

enum shoal_status json_end(struct json *j, FILE *to)
{
    append_text(j, "}\n");
    enum shoal_status st = j->status;
    if (st == SHOAL_OK && (fwrite(j->text, 1, j->length, to) != j->length || fflush(to) != 0)) {
        st = SHOAL_FAIL(SHOAL_EIO, "cannot write %zu bytes of JSON; is the disk full?", j->length);
    }
    free(j->text);
    *j = (struct json){.status = st};
    return st;
}

enum shoal_status json_take(struct json *j, char **text, size_t *n)
{
    append_text(j, "}");
    const enum shoal_status st = j->status;
    *text = st == SHOAL_OK ? j->text : NULL;
    *n = j->length;
    if (st != SHOAL_OK) free(j->text);
    *j = (struct json){.status = st};
    return st;
}

enum shoal_status json_save(struct json *j, const char *path)
{
    char *text;
    size_t n;
    SHOAL_TRY(json_take(j, &text, &n));
    text[n] = '\n'; /* in place of the 0 */
    const enum shoal_status st = file_write(path, text, n + 1);
    free(text);
    return st;
}
