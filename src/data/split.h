/* split.h - which text trains and which judges. Private to src/data. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/status.h"

struct document {
    const char *path; /* borrowed */
    int64_t bytes;
    int64_t train_bytes; /* of the front; the rest is held out */
};

/* Look at every file and fill in its size. SHOAL_EIO: cannot be read. SHOAL_EFORMAT: empty. */
enum shoal_status split_measure(struct document *docs, int64_t n);
/* Fill in train_bytes, as tokenize_files promises. SHOAL_EFORMAT: too little text. */
enum shoal_status split_documents(struct document *docs, int64_t n, double val_fraction);
/* Move the cut through a document forward to the beginning of a UTF-8 character, by at most three
 * bytes. What is not UTF-8 stays as it is, and so does a document that is not cut. SHOAL_EIO. */
enum shoal_status split_at_character(struct document *doc);
