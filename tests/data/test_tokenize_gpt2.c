/* Text to shards of GPT-2's tokens, with the vocabulary of small_vocab/. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "data/tokenize.h"
#include "data/tokenizer.h"
#include "support.h"

enum { HEADER = 1024, END_OF_TEXT = 285, KINDS = 286 };

static struct scratch scratch;

static int setup(void **state)
{
    (void)state;
    scratch_make(&scratch);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(&scratch);
    return 0;
}

static char *keep(const char *path)
{
    char *copy = malloc(strlen(path) + 1);
    assert_non_null(copy);
    return strcpy(copy, path);
}

static uint16_t token_at(const uint8_t *shard, size_t i)
{
    return (uint16_t)(shard[HEADER + 2 * i] | shard[HEADER + 2 * i + 1] << 8);
}

static void assert_entries(const char *name, int expected)
{
    DIR *dir = opendir(scratch_path(&scratch, name));
    assert_non_null(dir);
    int entries = -2; /* . and .. */
    while (readdir(dir) != NULL)
        entries++;
    closedir(dir);
    assert_int_equal(entries, expected);
}

static enum shoal_status tokenize(const char *const *files, int64_t n, double val,
                                  struct tokenize_result *result)
{
    char out[256];
    snprintf(out, sizeof out, "%s/out/deep", scratch.dir);
    const struct tokenize_args args = {"gpt2", SMALL_VOCAB, out, files, n, val, 1000000};
    return tokenize_files(&args, result);
}

/* The text of a shard from token `begin` on, with <> for the end of text; free it. */
static char *text_of(const char *name, size_t begin, size_t *bytes)
{
    struct tokenizer *t;
    size_t n, part;
    uint8_t *shard = read_bytes(scratch_path(&scratch, name), &n);
    const size_t tokens = (n - HEADER) / 2;
    char *text = calloc(tokens + 1, 4); /* no token is longer */
    assert_non_null(text);
    assert_int_equal(tokenizer_open("gpt2", scratch_path(&scratch, "out/deep"), &t), SHOAL_OK);
    *bytes = 0;
    for (size_t i = begin; i < tokens; i++) {
        const int token = token_at(shard, i);
        const char *decoded = tokenizer_decode(t, token, &part);
        if (token == END_OF_TEXT) decoded = "<>", part = 2;
        memcpy(text + *bytes, decoded, part);
        *bytes += part;
    }
    tokenizer_close(&t);
    free(shard);
    return text;
}

static void documents_begin_with_the_end_of_text(void **state)
{
    (void)state;
    char *large = keep(scratch_path(&scratch, "large")),
         *small = keep(scratch_path(&scratch, "small"));
    const char *files[] = {large, small};
    struct tokenize_result result;
    write_text(small, " low");
    write_text(large, "the lower <|endoftext|> 123");
    assert_int_equal(tokenize(files, 2, 0.2, &result), SHOAL_OK);
    assert_int_equal(result.documents, 2);
    assert_int_equal(result.vocab, KINDS);
    assert_int_equal(result.val_tokens, 2);
    assert_int_equal(result.train_tokens, 1 + 3 + 6 + 2); /* t he ' lower', ' ' <|end of text |> */
    size_t n;
    char *text = text_of("out/deep/train_000000.bin", 0, &n);
    assert_string_equal(text, "<>the lower <|endoftext|> 123");
    free(text);
    uint8_t *shard = read_bytes(scratch_path(&scratch, "out/deep/val_000000.bin"), &n);
    assert_int_equal(token_at(shard, 0), END_OF_TEXT);
    assert_int_equal(token_at(shard, 1), 259); /* ' low' */
    free(shard);
    free(large);
    free(small);
}

/* The tokens of a shard from `begin` on are those of n bytes of text encoded at once. */
static void assert_same_tokens(const char *name, size_t begin, const char *text, size_t n)
{
    struct tokenizer *t;
    struct token_list whole = {0};
    size_t used, shard_bytes;
    uint8_t *shard = read_bytes(scratch_path(&scratch, name), &shard_bytes);
    assert_int_equal(tokenizer_open("gpt2", SMALL_VOCAB, &t), SHOAL_OK);
    assert_int_equal(tokenizer_encode(t, &whole, &used, text, n, true), SHOAL_OK);
    assert_int_equal(whole.count, (shard_bytes - HEADER) / 2 - begin);
    for (size_t i = 0; i < whole.count; i++)
        assert_int_equal(token_at(shard, begin + i), whole.token[i]);
    token_list_free(&whole);
    tokenizer_close(&t);
    free(shard);
}

/* A text longer than what is read at a time, of all kinds of bytes and with words that lie across
 * the ends of reads. */
static void text_survives(void **state)
{
    (void)state;
    enum { N = 900000, WORD = 400000 };
    char *path = keep(scratch_path(&scratch, "long")), *text = malloc(N);
    const char *files[] = {path};
    struct tokenize_result result;
    assert_non_null(text);
    for (int i = 0; i < N; i++) {
        const uint32_t x = (uint32_t)i * 2654435761u >> 13;
        text[i] = (char)(x % 16 == 0 ? x >> 4 : (uint32_t) "low er\xC3\xA9"[x % 8]);
    }
    memset(text + 100000, 'a', WORD);
    write_bytes(path, text, N);
    assert_int_equal(tokenize(files, 1, 0.1, &result), SHOAL_OK);
    size_t n_train, n_val;
    char *train = text_of("out/deep/train_000000.bin", 1, &n_train);
    char *val = text_of("out/deep/val_000000.bin", 0, &n_val);
    assert_int_equal(n_train + n_val, N);
    assert_memory_equal(train, text, n_train);
    assert_memory_equal(val, text + n_train, n_val);
    assert_same_tokens("out/deep/train_000000.bin", 1, text, n_train);
    assert_same_tokens("out/deep/val_000000.bin", 0, text + n_train, n_val);
    assert_true(result.train_tokens < N - WORD / 2); /* merged */
    free(train);
    free(val);
    free(text);
    free(path);
}

/* The cut through a single document moves behind the character it would split. */
static void cuts_between_characters(void **state)
{
    (void)state;
    char *path = keep(scratch_path(&scratch, "signs"));
    const char *files[] = {path};
    struct tokenize_result result;
    size_t n;
    write_text(path, "\xE3\x80\x80\xE3\x80\x80\xE3\x80\x80\xE3\x80\x80\xE3\x80\x80\xE3\x80\x80");
    assert_int_equal(tokenize(files, 1, 0.45, &result), SHOAL_OK); /* 18 bytes, 8 held out */
    char *val = text_of("out/deep/val_000000.bin", 0, &n);
    assert_string_equal(val, "\xE3\x80\x80\xE3\x80\x80");
    free(val);
    /* bytes that continue nothing are no reason to move */
    write_text(path,
               "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80");
    assert_int_equal(tokenize(files, 1, 0.5, &result), SHOAL_OK);
    assert_int_equal(result.val_tokens, 10);
    free(path);
}

/* A vocabulary that lies where the shards go is left as it is. */
static void a_vocabulary_in_place_is_kept(void **state)
{
    (void)state;
    char *path = keep(scratch_path(&scratch, "text"));
    const char *files[] = {path}, *names[] = {"vocab.json", "merges.txt"};
    struct tokenize_result result;
    for (int i = 0; i < 2; i++) {
        char from[512];
        size_t n;
        snprintf(from, sizeof from, "%s/%s", SMALL_VOCAB, names[i]);
        uint8_t *bytes = read_bytes(from, &n);
        write_bytes(scratch_path(&scratch, names[i]), bytes, n);
        free(bytes);
    }
    write_text(path, "the lower low lower low lower low");
    const struct tokenize_args args = {"gpt2", scratch.dir, scratch.dir, files, 1, 0.4, 1000};
    assert_int_equal(tokenize_files(&args, &result), SHOAL_OK);
    assert_entries("", 5); /* the text, two shards, the two files */
    free(path);
}

static void refuses_what_is_no_text(void **state)
{
    (void)state;
    enum { N = 17000000 };
    char *path = keep(scratch_path(&scratch, "one")), *text = malloc(N);
    const char *files[] = {path};
    struct tokenize_result result;
    assert_non_null(text);
    memset(text, 'a', N);
    write_bytes(path, text, N);
    assert_int_equal(tokenize(files, 1, 0.01, &result), SHOAL_EFORMAT);
    assert_failure_says("one: has a word of 16777216 bytes or more");
    assert_entries("out/deep", 0);
    write_text(path, "aaaaaaaa"); /* four bytes of one token are too little to judge by */
    assert_int_equal(tokenize(files, 1, 0.5, &result), SHOAL_EFORMAT);
    assert_failure_says("too little text to split: it leaves 1 tokens for the val shard");
    assert_entries("out/deep", 0);
    free(text);
    free(path);
}

static void needs_its_vocabulary(void **state)
{
    (void)state;
    char *path = keep(scratch_path(&scratch, "text"));
    const char *files[] = {path};
    struct tokenize_result result;
    struct tokenize_args args = {"gpt2", NULL, scratch.dir, files, 1, 0.1, 1000};
    write_text(path, "a text that would do");
    assert_int_equal(tokenize_files(&args, &result), SHOAL_EARG);
    assert_failure_says("give --vocab DIR");
    args.vocab = scratch.dir;
    assert_int_equal(tokenize_files(&args, &result), SHOAL_EIO);
    assert_failure_says("no vocabulary in '");
    args.tokenizer = "bytes";
    assert_int_equal(tokenize_files(&args, &result), SHOAL_EARG);
    assert_failure_says("'bytes' has no vocabulary files");
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(documents_begin_with_the_end_of_text, setup, teardown),
        cmocka_unit_test_setup_teardown(text_survives, setup, teardown),
        cmocka_unit_test_setup_teardown(cuts_between_characters, setup, teardown),
        cmocka_unit_test_setup_teardown(a_vocabulary_in_place_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_is_no_text, setup, teardown),
        cmocka_unit_test_setup_teardown(needs_its_vocabulary, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
