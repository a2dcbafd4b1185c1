/* vocabulary_json.h - the JSON part of a vocabulary. Private to the reading of vocabularies. */
#pragma once
#include <json-c/json.h>
#include "data/vocabulary.h"

struct vocabulary_json {
    struct json_object *root;   /* owned */
    struct json_object *names;  /* borrowed: object, token name -> number, added tokens too */
    struct json_object *added;  /* borrowed: array of added tokens; NULL where there is none */
    struct json_object *merges; /* borrowed: array; NULL: in a file of their own */
};

/* Read files->tokens and, of a tokenizer.json, check that it is of GPT-2's kind. SHOAL_EIO,
 * SHOAL_EFORMAT. *out is the caller's to close even on failure. */
enum shoal_status vocabulary_json_open(const struct vocabulary_files *files,
                                       struct vocabulary_json *out);
/* Accepts a zeroed struct. */
void vocabulary_json_close(struct vocabulary_json *j);

/* Items of an array; 0 of anything else. */
size_t json_count(struct json_object *array);
/* Item i of an array; NULL where it is no array or not as long. */
struct json_object *json_item(struct json_object *array, size_t i);
/* The text of a string, borrowed; NULL of anything else. */
const char *json_text_of(struct json_object *value);
/* Whether value is a whole number. */
bool json_is_number(struct json_object *value);
