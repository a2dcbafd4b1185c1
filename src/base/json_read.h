/* json_read.h - JSON in files that nobody vouches for, by json-c. */
#pragma once
#include <json-c/json.h>
#include <stddef.h>
#include "base/status.h"

/* Parse `bytes` of text, which a 0 follows, into an object. what: what the file should be ("a
 * vocabulary"), which: what the object should hold ("that gives every token its number"); both for
 * messages. SHOAL_EFORMAT: not JSON, cut short, followed by something, or no object. *root:
 * json_object_put, on failure too; NULL is fine there. */
enum shoal_status json_parse(const char *path, const char *text, size_t bytes, const char *what,
                             const char *which, struct json_object **root);
/* The same of a whole file. SHOAL_EIO. */
enum shoal_status json_read(const char *path, const char *what, const char *which,
                            struct json_object **root);

/* Items of an array; 0 of anything else. */
size_t json_count(struct json_object *array);
/* Item i of an array; NULL where it is no array or not as long. */
struct json_object *json_item(struct json_object *array, size_t i);
/* The text of a string, borrowed; NULL of anything else. */
const char *json_text_of(struct json_object *value);
/* Whether value is a whole number. */
bool json_is_number(struct json_object *value);
