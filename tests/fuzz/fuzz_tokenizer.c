/* Vocabulary files: tokenizer.json, or vocab.json and merges.txt, then a text; a 0 between each.
 * What is accepted gives every text back, and is the same after it was saved. */
#include <string.h>
#include <unistd.h>
#include "data/tokenizer.h"
#include "fuzz/fuzz.h"

static void check_text(struct tokenizer *t, const char *text, size_t n, struct token_list *tokens)
{
    size_t used = 0, at = 0;
    fuzz_must(tokenizer_encode(t, tokens, &used, text, n, true) == SHOAL_OK && used == n,
              "all of a text to be encoded");
    for (size_t i = 0; i < tokens->count; i++) {
        size_t length = 0;
        fuzz_must(tokens->token[i] < tokenizer_vocab(t), "tokens of the vocabulary");
        const char *bytes = tokenizer_decode(t, tokens->token[i], &length);
        fuzz_must(length <= n - at && memcmp(bytes, text + at, length) == 0, "the same text again");
        at += length;
    }
    fuzz_must(at == n, "the whole text again");
}

static void check_saved(struct tokenizer *t, const char *text, size_t n,
                        const struct token_list *tokens)
{
    char path[SHOAL_MAX_PATH];
    struct tokenizer *again = NULL;
    struct token_list list = {0};
    size_t used = 0;
    fuzz_must(tokenizer_save(t, fuzz_path(path, "saved")) == SHOAL_OK, "a vocabulary that saves");
    fuzz_must(tokenizer_open("gpt2", path, &again) == SHOAL_OK, "one that opens again");
    fuzz_must(tokenizer_encode(again, &list, &used, text, n, true) == SHOAL_OK &&
                  list.count == tokens->count &&
                  (list.count == 0 ||
                   memcmp(list.token, tokens->token, list.count * sizeof *list.token) == 0),
              "the same tokens again");
    token_list_free(&list);
    tokenizer_close(&again);
}

static void put_section(struct fuzz_input *in, const char *name)
{
    char path[SHOAL_MAX_PATH];
    const struct fuzz_input section = fuzz_section(in);
    fuzz_file(fuzz_path(path, name), section.at, section.left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_input in = {data, n};
    char path[SHOAL_MAX_PATH];
    struct tokenizer *t = NULL;
    struct token_list tokens = {0};
    fuzz_must(dir_make(fuzz_path(path, "saved")) == SHOAL_OK, "a directory");
    (void)unlink(fuzz_path(path, "tokenizer.json"));
    if (fuzz_take(&in, 1) & 1) {
        put_section(&in, "tokenizer.json");
    } else {
        put_section(&in, "vocab.json");
        put_section(&in, "merges.txt");
    }
    if (fuzz_ok(tokenizer_open("gpt2", fuzz_path(path, ""), &t))) {
        check_text(t, (const char *)in.at, in.left, &tokens);
        check_saved(t, (const char *)in.at, in.left, &tokens);
    }
    token_list_free(&tokens);
    tokenizer_close(&t);
    return 0;
}
