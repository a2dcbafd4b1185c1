/* tokenizer_gpt2.c - words (words.h), each merged by itself (bpe.h), with a memory of common words.
 *
 * The memory is a table in which a word has one place: a newcomer takes the place of what was
 * there. That is bounded, needs no bookkeeping, and answers for 93 % of the words of a megabyte of
 * English text, 96 % of those of a hundred. */
#include <string.h>
#include "base/files.h"
#include "base/memory.h"
#include "data/bpe.h"
#include "data/tokenizer_impl.h"
#include "data/vocabulary.h"
#include "data/words.h"

enum {
    MEMORY_BITS = 15,
    KEY_WORDS = 4, /* a key is the word, zeros, and its length in the last byte */
    REMEMBERED_BYTES = 8 * KEY_WORDS - 1,
    REMEMBERED_TOKENS = 15
};

/* One cache line. */
struct remembered {
    uint64_t key[KEY_WORDS];
    uint16_t count; /* 0: nothing here yet */
    uint16_t token[REMEMBERED_TOKENS];
};

struct gpt2 {
    struct tokenizer base;
    struct vocabulary vocabulary;
    struct words *words;
    struct bpe *bpe;
    struct remembered *memory; /* owned; 1 << MEMORY_BITS */
};

static struct remembered *place_of(const struct gpt2 *g, uint64_t key[KEY_WORDS], const char *word,
                                   size_t n)
{
    char bytes[8 * KEY_WORDS] = {0};
    memcpy(bytes, word, n);
    bytes[REMEMBERED_BYTES] = (char)n;
    memcpy(key, bytes, sizeof bytes);
    uint64_t hash = 0;
    for (int i = 0; i < KEY_WORDS; i++) {
        hash = (hash ^ key[i]) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    return &g->memory[hash * 0x9E3779B97F4A7C15u >> (64 - MEMORY_BITS)];
}

static enum shoal_status encode_word(struct gpt2 *g, struct token_list *out, const char *word,
                                     size_t n)
{
    if (n > REMEMBERED_BYTES) return bpe_encode(g->bpe, out, word, n);
    uint64_t key[KEY_WORDS];
    struct remembered *r = place_of(g, key, word, n);
    if (r->count == 0 || memcmp(r->key, key, sizeof key) != 0) {
        const size_t before = out->count;
        SHOAL_TRY(bpe_encode(g->bpe, out, word, n));
        const size_t count = out->count - before;
        if (count > REMEMBERED_TOKENS) return SHOAL_OK;
        memcpy(r->key, key, sizeof key);
        memcpy(r->token, out->token + before, count * sizeof *r->token);
        r->count = (uint16_t)count;
        return SHOAL_OK;
    }
    SHOAL_TRY(token_list_reserve(out, REMEMBERED_TOKENS));
    memcpy(out->token + out->count, r->token, sizeof r->token); /* of one size: quicker */
    out->count += r->count;
    return SHOAL_OK;
}

static enum shoal_status gpt2_encode(struct tokenizer *t, struct token_list *out, size_t *used,
                                     const char *text, size_t n, bool last)
{
    struct gpt2 *g = (struct gpt2 *)t;
    *used = 0;
    for (size_t length; (length = words_next(g->words, text, n, last)) > 0;) {
        SHOAL_TRY(encode_word(g, out, text, length));
        *used += length;
        text += length;
        n -= length;
    }
    return SHOAL_OK;
}

static const char *gpt2_decode(const struct tokenizer *t, int token, size_t *n)
{
    const struct vocabulary *v = &((const struct gpt2 *)t)->vocabulary;
    *n = v->special[token] ? 0 : v->begin[token + 1] - v->begin[token];
    return v->bytes + v->begin[token];
}

static enum shoal_status gpt2_save(const struct tokenizer *t, const char *dir)
{
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(path_format(path, "%s/tokenizer.json", dir));
    return vocabulary_save(&((const struct gpt2 *)t)->vocabulary, path);
}

static void gpt2_close(struct tokenizer *t)
{
    struct gpt2 *g = (struct gpt2 *)t;
    vocabulary_free(&g->vocabulary);
    words_destroy(&g->words);
    bpe_destroy(&g->bpe);
    mem_free(g->memory);
    mem_free(g);
}

enum shoal_status tokenizer_gpt2_open(const char *vocab, struct tokenizer **out)
{
    static const struct tokenizer_ops ops = {gpt2_close, gpt2_encode, gpt2_decode, gpt2_save, NULL};
    struct gpt2 *g;
    enum shoal_status st;
    SHOAL_TRY(mem_alloc(sizeof *g, "tokenizer", &g));
    SHOAL_GOTO(vocabulary_read(vocab, &g->vocabulary));
    SHOAL_GOTO(words_create(&g->words));
    SHOAL_GOTO(bpe_create(&g->vocabulary, vocab, &g->bpe));
    SHOAL_GOTO(mem_alloc(sizeof *g->memory << MEMORY_BITS, "table of words", &g->memory));
    g->base = (struct tokenizer){&ops, "gpt2", g->vocabulary.n_tokens, g->vocabulary.end_of_text};
    *out = &g->base;
    return SHOAL_OK;
done:
    gpt2_close(&g->base);
    return st;
}
