/* vocabulary_json.h - the JSON part of a vocabulary. Private to the reading of vocabularies. */
#pragma once
#include "base/json_read.h"
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
