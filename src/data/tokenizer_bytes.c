/* tokenizer_bytes.c - every byte is a token. */
#include "base/memory.h"
#include "data/tokenizer_impl.h"
#include "data/vocabulary.h"

enum { BYTES = 256, END_OF_TEXT = 0 };

struct bytes {
    struct tokenizer base;
    char text[BYTES]; /* of each token */
};

static void bytes_close(struct tokenizer *t)
{
    mem_free(t);
}

static enum shoal_status bytes_encode(struct tokenizer *t, struct token_list *out, size_t *used,
                                      const char *text, size_t n, bool last)
{
    (void)t;
    (void)last; /* what follows changes nothing */
    SHOAL_TRY(token_list_reserve(out, n));
    uint16_t *token = out->token + out->count;
    for (size_t i = 0; i < n; i++)
        token[i] = (unsigned char)text[i];
    out->count += n;
    *used = n;
    return SHOAL_OK;
}

static const char *bytes_decode(const struct tokenizer *t, int token, size_t *n)
{
    *n = 1;
    return &((const struct bytes *)t)->text[token];
}

/* A byte-level BPE that merges nothing. */
static enum shoal_status bytes_export(const struct tokenizer *t, const char *dir)
{
    struct bytes b = *(const struct bytes *)t;
    uint32_t begin[BYTES + 1];
    uint8_t special[BYTES] = {0};
    char path[SHOAL_MAX_PATH];
    for (int i = 0; i <= BYTES; i++)
        begin[i] = (uint32_t)i;
    const struct vocabulary v = {
        .n_tokens = BYTES, .bytes = b.text, .begin = begin, .special = special};
    SHOAL_TRY(path_format(path, "%s/tokenizer.json", dir));
    return vocabulary_save(&v, path);
}

enum shoal_status tokenizer_bytes_open(struct tokenizer **out)
{
    static const struct tokenizer_ops ops = {.close = bytes_close,
                                             .encode = bytes_encode,
                                             .decode = bytes_decode,
                                             .export = bytes_export};
    struct bytes *b;
    SHOAL_TRY(mem_alloc(sizeof *b, "tokenizer", &b));
    b->base = (struct tokenizer){&ops, "bytes", BYTES, END_OF_TEXT};
    for (int i = 0; i < BYTES; i++)
        b->text[i] = (char)i;
    *out = &b->base;
    return SHOAL_OK;
}
