#include "base/json_read.h"

#include <stdint.h>
#include "base/files.h"
#include "base/memory.h"

size_t json_count(struct json_object *array)
{
    return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

struct json_object *json_item(struct json_object *array, size_t i)
{
    return i < json_count(array) ? json_object_array_get_idx(array, i) : NULL;
}

const char *json_text_of(struct json_object *value)
{
    return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

bool json_is_number(struct json_object *value)
{
    return json_object_is_type(value, json_type_int);
}

/* What the tokener left behind. */
static enum shoal_status check(const char *path, struct json_tokener *tokener, size_t bytes,
                               const char *which, struct json_object *root)
{
    const size_t end = json_tokener_get_parse_end(tokener);
    const enum json_tokener_error error = json_tokener_get_error(tokener);
    SHOAL_CHECK(error == json_tokener_success || end < bytes, SHOAL_EFORMAT,
                "%s: ends in the middle of its JSON; fetch the file again", path);
    SHOAL_CHECK(error == json_tokener_success && end >= bytes, SHOAL_EFORMAT,
                "%s: is not JSON (%s, at byte %zu); fetch the file again", path,
                json_tokener_error_desc(error), end);
    SHOAL_CHECK(json_object_is_type(root, json_type_object), SHOAL_EFORMAT,
                "%s: is JSON, but not an object %s", path, which);
    return SHOAL_OK;
}

enum shoal_status json_parse(const char *path, const char *text, size_t bytes, const char *what,
                             const char *which, struct json_object **root)
{
    *root = NULL;
    SHOAL_CHECK(bytes < INT32_MAX, SHOAL_EFORMAT, "%s: is too large for %s", path, what);
    struct json_tokener *tokener = json_tokener_new();
    SHOAL_CHECK(tokener, SHOAL_ENOMEM, "%s: out of memory", path);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    *root = json_tokener_parse_ex(tokener, text, (int)bytes + 1);
    const enum shoal_status st = check(path, tokener, bytes, which, *root);
    json_tokener_free(tokener);
    return st;
}

enum shoal_status json_read(const char *path, const char *what, const char *which,
                            struct json_object **root)
{
    char *text;
    size_t bytes;
    *root = NULL;
    SHOAL_TRY(file_read(path, &text, &bytes));
    const enum shoal_status st = json_parse(path, text, bytes, what, which, root);
    mem_free(text);
    return st;
}
