/* The tokenizers as callers see them. gpt2 has the vocabulary of small_vocab/, by which the
 * expected tokens were found by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "data/tokenizer.h"
#include "support.h"

enum { SMALL_TOKENS = 286 };

/* Tokens as text, with / between them. */
static const char *const expected[] = {
    "t/he/ lower/ low/ /er",
    "low/er/end", /* only behind a space do low and er merge */
    "a/ a/aa",    /* of ' aaa': rank 9 before rank 10 */
    "aaaa/aa/a",  /* leftmost first */
    " a/aaaa/a",  /* ' aaaaaa' */
    "he/'s/ /he/'/S",
    "a/  / /lo/s",    /* of three spaces the last goes with the word */
    "a/    /  / low", /* of seven */
    "a/\n\n",
    "a/\n/\n/b", /* the last line feed is a word of its own: no merge */
    "123/12/ /123",
    "c/a/f/\xC3\xA9",
    "e/\xCC/\x81",                 /* the accent for itself: not in the merges */
    "\xE3\x80\x80/\xE3\x80\x80/a", /* each a word */
    "\xE3\x80/\x81",               /* an ideographic comma: half of it merges */
    "\xF0/\x9F/\x98/\x80",
    "\xFF/\xC3/a/\xC3\xA9", /* invalid bytes stay what they are */
    "<|/end/of/text/|>",    /* the name of the special token is ordinary text */
};

static struct tokenizer *gpt2;
static struct scratch scratch;

static int setup(void **state)
{
    (void)state;
    scratch_make(&scratch);
    return tokenizer_open("gpt2", SMALL_VOCAB, &gpt2) == SHOAL_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    tokenizer_close(&gpt2);
    scratch_remove(&scratch);
    return 0;
}

static void encode(struct tokenizer *t, struct token_list *out, const char *text, size_t n)
{
    size_t used;
    out->count = 0;
    assert_int_equal(tokenizer_encode(t, out, &used, text, n, true), SHOAL_OK);
    assert_int_equal(used, n);
}

/* What the tokens stand for, `bar` between them; *n: bytes. */
static void spell(const struct tokenizer *t, const struct token_list *tokens, const char *bar,
                  char *text, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < tokens->count; i++) {
        size_t bytes;
        const char *part = tokenizer_decode(t, tokens->token[i], &bytes);
        if (i > 0) {
            memcpy(text + *n, bar, strlen(bar));
            *n += strlen(bar);
        }
        memcpy(text + *n, part, bytes);
        *n += bytes;
    }
    text[*n] = '\0';
}

static size_t without_bars(char *out, const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        if (*text != '/') out[n++] = *text;
    return n;
}

static void tokens_are_those_of_the_merges(void **state)
{
    (void)state;
    struct token_list out = {0};
    /* twice: the second time most words are remembered */
    for (size_t i = 0; i < 2 * sizeof expected / sizeof *expected; i++) {
        const char *tokens = expected[i % (sizeof expected / sizeof *expected)];
        char text[256], found[256];
        const size_t n = without_bars(text, tokens);
        size_t found_bytes;
        encode(gpt2, &out, text, n);
        spell(gpt2, &out, "/", found, &found_bytes);
        assert_string_equal(found, tokens);
        for (size_t k = 0; k < out.count; k++)
            assert_int_not_equal(out.token[k], tokenizer_end_of_text(gpt2));
    }
    token_list_free(&out);
}

/* Numbers as in the files: bytes in GPT-2's order, then merges, then the end of text. */
static void numbers_are_those_of_the_file(void **state)
{
    (void)state;
    struct token_list out = {0};
    encode(gpt2, &out, "!~\xA1\xFF", 4);
    const uint16_t printable[] = {0, 93, 94, 187};
    assert_int_equal(out.count, 4);
    assert_memory_equal(out.token, printable, sizeof printable);
    encode(gpt2, &out, "\0\n!", 3);
    const uint16_t moved[] = {188, 198, 0};
    assert_int_equal(out.count, 3);
    assert_memory_equal(out.token, moved, sizeof moved);
    encode(gpt2, &out, "lo low", 6);
    const uint16_t merged[] = {256, 259};
    assert_int_equal(out.count, 2);
    assert_memory_equal(out.token, merged, sizeof merged);
    assert_int_equal(tokenizer_end_of_text(gpt2), SMALL_TOKENS - 1);
    assert_int_equal(tokenizer_vocab(gpt2), SMALL_TOKENS);
    assert_string_equal(tokenizer_name(gpt2), "gpt2");
    size_t n;
    tokenizer_decode(gpt2, SMALL_TOKENS - 1, &n);
    assert_int_equal(n, 0); /* no part of text */
    token_list_free(&out);
}

/* Text of all kinds of bytes and runs, made without any library. */
static size_t make_text(char *text, size_t n)
{
    static const char *const parts[] = {"low",          " lower",   "\n",
                                        "  ",           "'s",       "aaaaaaaaaaaaaaaaaaaaaaaaa",
                                        "\xE3\x80\x80", "\xC3\xA9", "\xF0\x9F\x91\xA9",
                                        "123",          "\xFF"};
    size_t length = 0;
    uint32_t x = 7;
    while (length + 32 < n) {
        x = x * 1664525u + 1013904223u;
        const char *part = parts[(x >> 16) % (sizeof parts / sizeof *parts)];
        memcpy(text + length, part, strlen(part));
        length += strlen(part);
        if (x >> 28 == 0) text[length++] = (char)(x >> 8); /* any byte, 0 too */
    }
    return length;
}

static void encode_in_pieces(struct tokenizer *t, struct token_list *out, const char *text,
                             size_t n, size_t step)
{
    size_t begin = 0, used;
    out->count = 0;
    for (size_t end = 0; end < n;) {
        end = end + step < n ? end + step : n;
        assert_int_equal(tokenizer_encode(t, out, &used, text + begin, end - begin, end == n),
                         SHOAL_OK);
        begin += used;
    }
    assert_int_equal(begin, n);
}

static void check_pieces_and_back(struct tokenizer *t)
{
    enum { N = 20000 };
    static char text[N], back[N + 1];
    const size_t n = make_text(text, N), steps[] = {1, 2, 3, 7, 100, 4096};
    struct token_list whole = {0}, pieces = {0};
    size_t bytes;
    encode(t, &whole, text, n);
    spell(t, &whole, "", back, &bytes);
    assert_int_equal(bytes, n);
    assert_memory_equal(back, text, n);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        encode_in_pieces(t, &pieces, text, n, steps[i]);
        assert_int_equal(pieces.count, whole.count);
        assert_memory_equal(pieces.token, whole.token, whole.count * sizeof *whole.token);
    }
    token_list_free(&whole);
    token_list_free(&pieces);
}

static void pieces_make_no_difference(void **state)
{
    (void)state;
    struct tokenizer *bytes;
    assert_int_equal(tokenizer_open("bytes", NULL, &bytes), SHOAL_OK);
    check_pieces_and_back(gpt2);
    check_pieces_and_back(bytes);
    tokenizer_close(&bytes);
    assert_null(bytes);
}

/* Words that differ only in zero bytes at their end, and in their last byte at the limit of what is
 * remembered. */
static void similar_words_are_told_apart(void **state)
{
    (void)state;
    enum { LONGEST = 40 };
    struct token_list out = {0};
    char text[LONGEST] = {0};
    for (int round = 0; round < 2; round++) {
        for (size_t n = 1; n <= LONGEST; n++) {
            encode(gpt2, &out, text, n); /* zero bytes do not merge */
            assert_int_equal(out.count, n);
        }
        for (size_t n = 1; n < LONGEST; n++) {
            char letters[LONGEST], found[LONGEST + 1];
            size_t bytes;
            memset(letters, 'a', LONGEST);
            letters[n] = (char)('b' + round);
            encode(gpt2, &out, letters, n + 1);
            spell(gpt2, &out, "", found, &bytes);
            assert_int_equal(bytes, n + 1);
            assert_memory_equal(found, letters, n + 1);
        }
    }
    token_list_free(&out);
}

/* More different words than there is room to remember, so that places are taken over. */
static void forgotten_words_are_encoded_anew(void **state)
{
    (void)state;
    enum { WORDS = 150000 };
    struct token_list out = {0};
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < WORDS; i++) {
            char text[16], found[16];
            size_t n;
            for (unsigned k = 0, rest = i; k < 4; k++, rest /= 20)
                text[k] = (char)('a' + rest % 20);
            encode(gpt2, &out, text, 4);
            spell(gpt2, &out, "", found, &n);
            assert_int_equal(n, 4);
            assert_memory_equal(found, text, 4);
        }
    }
    token_list_free(&out);
}

static void bytes_are_themselves(void **state)
{
    (void)state;
    struct tokenizer *t;
    struct token_list out = {0};
    char text[256];
    size_t n;
    for (int i = 0; i < 256; i++)
        text[i] = (char)i;
    assert_int_equal(tokenizer_open("bytes", "", &t), SHOAL_OK);
    encode(t, &out, text, sizeof text);
    assert_int_equal(out.count, 256);
    for (int i = 0; i < 256; i++) {
        assert_int_equal(out.token[i], i);
        assert_int_equal(*(const unsigned char *)tokenizer_decode(t, i, &n), i);
        assert_int_equal(n, 1);
    }
    assert_int_equal(tokenizer_vocab(t), 256);
    assert_int_equal(tokenizer_end_of_text(t), 0);
    assert_string_equal(tokenizer_name(t), "bytes");
    assert_int_equal(tokenizer_save(t, scratch.dir), SHOAL_OK); /* nothing to save */
    assert_false(tokenizer_has_files(scratch.dir));
    token_list_free(&out);
    tokenizer_close(&t);
}

static void nothing_becomes_nothing(void **state)
{
    (void)state;
    struct token_list out = {0};
    size_t used = 1;
    encode(gpt2, &out, "", 0);
    assert_int_equal(out.count, 0);
    assert_int_equal(tokenizer_encode(gpt2, &out, &used, "", 0, false), SHOAL_OK);
    assert_int_equal(used, 0);
    token_list_free(&out);
}

static void what_is_saved_opens_again(void **state)
{
    (void)state;
    struct tokenizer *again;
    struct token_list first = {0}, second = {0};
    static char text[5000];
    const size_t n = make_text(text, sizeof text);
    assert_int_equal(tokenizer_save(gpt2, scratch.dir), SHOAL_OK);
    assert_true(tokenizer_has_files(scratch.dir));
    assert_true(tokenizer_has_files(scratch_path(&scratch, "tokenizer.json")));
    assert_false(tokenizer_has_files(scratch_path(&scratch, "nothing")));
    assert_int_equal(tokenizer_open("gpt2", scratch.dir, &again), SHOAL_OK);
    assert_int_equal(tokenizer_vocab(again), SMALL_TOKENS);
    assert_int_equal(tokenizer_end_of_text(again), SMALL_TOKENS - 1);
    encode(gpt2, &first, text, n);
    encode(again, &second, text, n);
    assert_int_equal(first.count, second.count);
    assert_memory_equal(first.token, second.token, first.count * sizeof *first.token);
    assert_int_equal(tokenizer_save(gpt2, "/nowhere/at/all"), SHOAL_EIO);
    token_list_free(&first);
    token_list_free(&second);
    tokenizer_close(&again);
}

static void other_names_are_refused(void **state)
{
    (void)state;
    struct tokenizer *t;
    assert_int_equal(tokenizer_open("words", NULL, &t), SHOAL_EARG);
    assert_failure_says("unknown tokenizer 'words'");
    assert_int_equal(tokenizer_open("bytes", SMALL_VOCAB, &t), SHOAL_EARG);
    assert_failure_says("'bytes' has no vocabulary files");
    assert_int_equal(tokenizer_open("gpt2", NULL, &t), SHOAL_EARG);
    assert_failure_says("give --vocab DIR");
    assert_failure_says("openai-community/gpt2 on the Hugging Face hub");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tokens_are_those_of_the_merges, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_are_those_of_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(pieces_make_no_difference, setup, teardown),
        cmocka_unit_test_setup_teardown(similar_words_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(forgotten_words_are_encoded_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_are_themselves, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_becomes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_saved_opens_again, setup, teardown),
        cmocka_unit_test_setup_teardown(other_names_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
