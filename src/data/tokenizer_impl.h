/* tokenizer_impl.h - what a tokenizer provides. Private to src/data. */
#pragma once
#include "data/tokenizer.h"

/* See tokenizer.h for what each does. */
struct tokenizer_ops {
    void (*close)(struct tokenizer *t);
    enum shoal_status (*encode)(struct tokenizer *t, struct token_list *out, size_t *used,
                                const char *text, size_t n, bool last);
    const char *(*decode)(const struct tokenizer *t, int token, size_t *n);
    enum shoal_status (*save)(const struct tokenizer *t, const char *dir); /* NULL: needs nothing */
    enum shoal_status (*export)(const struct tokenizer *t, const char *dir); /* NULL: as save */
};

/* First member of every tokenizer. */
struct tokenizer {
    const struct tokenizer_ops *ops;
    const char *name;
    int vocab, end_of_text;
};

enum shoal_status tokenizer_bytes_open(struct tokenizer **out);
enum shoal_status tokenizer_gpt2_open(const char *vocab, struct tokenizer **out);
