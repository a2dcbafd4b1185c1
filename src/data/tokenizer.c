#include "data/tokenizer.h"
#include <string.h>
#include "base/files.h"
#include "base/memory.h"
#include "data/tokenizer_impl.h"
#include "data/vocabulary.h"

enum { FIRST_TOKENS = 1024 };

enum shoal_status token_list_reserve(struct token_list *list, size_t n)
{
    if (n <= list->capacity - list->count) return SHOAL_OK;
    size_t capacity = list->capacity > 0 ? list->capacity : FIRST_TOKENS;
    while (capacity < list->count + n)
        capacity *= 2;
    uint16_t *token;
    SHOAL_TRY(mem_alloc(capacity * sizeof *token, "tokens of a text", &token));
    if (list->count > 0) memcpy(token, list->token, list->count * sizeof *token);
    mem_free(list->token);
    list->token = token;
    list->capacity = capacity;
    return SHOAL_OK;
}

void token_list_free(struct token_list *list)
{
    mem_free(list->token);
    *list = (struct token_list){0};
}

enum shoal_status tokenizer_open(const char *name, const char *vocab, struct tokenizer **out)
{
    const bool given = vocab && vocab[0];
    if (strcmp(name, "bytes") == 0) {
        SHOAL_CHECK(!given, SHOAL_EARG,
                    "the tokenizer 'bytes' has no vocabulary files; leave '%s' "
                    "out, or use the tokenizer 'gpt2'",
                    vocab);
        return tokenizer_bytes_open(out);
    }
    SHOAL_CHECK(strcmp(name, "gpt2") == 0, SHOAL_EARG,
                "unknown tokenizer '%s': there are 'bytes' and 'gpt2'", name);
    SHOAL_CHECK(given, SHOAL_EARG,
                "the tokenizer 'gpt2' needs its vocabulary: give --vocab DIR, a directory with "
                "vocab.json and merges.txt, as published with the model openai-community/gpt2 on "
                "the Hugging Face hub");
    return tokenizer_gpt2_open(vocab, out);
}

void tokenizer_close(struct tokenizer **t)
{
    if (*t) (*t)->ops->close(*t);
    *t = NULL;
}

const char *tokenizer_name(const struct tokenizer *t)
{
    return t->name;
}

int tokenizer_vocab(const struct tokenizer *t)
{
    return t->vocab;
}

int tokenizer_end_of_text(const struct tokenizer *t)
{
    return t->end_of_text;
}

enum shoal_status tokenizer_encode(struct tokenizer *t, struct token_list *out, size_t *used,
                                   const char *text, size_t n, bool last)
{
    return t->ops->encode(t, out, used, text, n, last);
}

const char *tokenizer_decode(const struct tokenizer *t, int token, size_t *n)
{
    SHOAL_ASSERT(token >= 0 && token < t->vocab);
    return t->ops->decode(t, token, n);
}

enum shoal_status tokenizer_save(const struct tokenizer *t, const char *dir)
{
    return t->ops->save ? t->ops->save(t, dir) : SHOAL_OK;
}

enum shoal_status tokenizer_export(const struct tokenizer *t, const char *dir)
{
    return t->ops->export ? t->ops->export(t, dir) : t->ops->save(t, dir);
}

bool tokenizer_has_files(const char *path)
{
    return path_is_dir(path) ? vocabulary_is_in(path) : path_exists(path);
}
