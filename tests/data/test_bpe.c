/* Merging, against a reference that follows the definition step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "data/bpe.h"
#include "support.h"

enum { LETTERS = 4, MERGES = 40, LONGEST = 300, VOCABULARIES = 60, WORDS = 150 };

static uint64_t seed;

/* 0 .. n-1. Knuth's 64-bit linear congruential generator. */
static unsigned draw(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

/* Whether some merge before the n-th joins the same pair. */
static bool repeats(const struct merge *merge, int n)
{
    for (int i = 0; i < n; i++) {
        if (merge[i].left == merge[n].left && merge[i].right == merge[n].right) return true;
    }
    return false;
}

/* Random merges of letters a, b, c, d and of what came before; some have the same result. */
static void make_vocabulary(struct vocabulary *v, struct merge merge[MERGES])
{
    int tokens = 256;
    memset(v, 0, sizeof *v);
    for (int i = 0; i < 256; i++)
        v->of_byte[i] = (uint16_t)i;
    for (int i = 0; i < MERGES; i++) {
        do {
            const unsigned made = (unsigned)(tokens - 256);
            const unsigned left = draw(LETTERS + made), right = draw(LETTERS + made);
            merge[i].left = (uint16_t)(left < LETTERS ? 'a' + left : 256 + left - LETTERS);
            merge[i].right = (uint16_t)(right < LETTERS ? 'a' + right : 256 + right - LETTERS);
        } while (repeats(merge, i));
        const bool again = tokens > 256 && draw(10) == 0;
        merge[i].result = (uint16_t)(again ? 256 + (int)draw((unsigned)(tokens - 256)) : tokens++);
    }
    v->merge = merge;
    v->n_merges = MERGES;
    v->n_tokens = tokens;
}

/* Rank and place of the pair that merges first; false: none can. */
static bool first_merge(const struct vocabulary *v, const uint16_t *token, size_t n, int *rank,
                        size_t *place)
{
    for (*rank = 0; *rank < v->n_merges; (*rank)++) {
        const struct merge *m = &v->merge[*rank];
        for (*place = 0; *place + 1 < n; (*place)++) {
            if (token[*place] == m->left && token[*place + 1] == m->right) return true;
        }
    }
    return false;
}

static size_t reference(const struct vocabulary *v, const char *word, size_t n, uint16_t *token)
{
    int rank;
    size_t at;
    for (size_t i = 0; i < n; i++)
        token[i] = v->of_byte[(unsigned char)word[i]];
    while (first_merge(v, token, n, &rank, &at)) {
        token[at] = v->merge[rank].result;
        memmove(token + at + 1, token + at + 2, (n - at - 2) * sizeof *token);
        n--;
    }
    return n;
}

/* Mostly few different letters, so that equal pairs lie side by side. */
static size_t make_word(char *word, unsigned longest)
{
    const size_t n = draw(longest + 1);
    const unsigned letters = 1 + draw(LETTERS + 1);
    for (size_t i = 0; i < n; i++)
        word[i] = (char)('a' + draw(letters));
    return n;
}

static void merges_as_defined(void **state)
{
    (void)state;
    seed = 1;
    struct token_list out = {0};
    for (int i = 0; i < VOCABULARIES; i++) {
        struct vocabulary v;
        struct merge merge[MERGES];
        struct bpe *bpe;
        make_vocabulary(&v, merge);
        assert_int_equal(bpe_create(&v, "test", &bpe), SHOAL_OK);
        for (int j = 0; j < WORDS; j++) {
            char word[LONGEST];
            uint16_t expected[LONGEST];
            const size_t n = make_word(word, j % 5 == 0 ? LONGEST : 20);
            const size_t count = reference(&v, word, n, expected);
            out.count = 0;
            assert_int_equal(bpe_encode(bpe, &out, word, n), SHOAL_OK);
            assert_int_equal(out.count, count);
            assert_memory_equal(out.token, expected, count * sizeof *expected);
        }
        bpe_destroy(&bpe);
    }
    token_list_free(&out);
}

/* Tokens are appended, and a word of a million letters is no matter. */
static void long_words_take_little_time(void **state)
{
    (void)state;
    enum { LONG = 1 << 20 };
    struct merge merge[] = {{'a', 'a', 256}, {256, 256, 257}, {257, 257, 258}};
    struct vocabulary v = {.n_tokens = 259, .n_merges = 3, .merge = merge};
    for (int i = 0; i < 256; i++)
        v.of_byte[i] = (uint16_t)i;
    struct bpe *bpe;
    struct token_list out = {0};
    char *word = malloc(LONG);
    assert_non_null(word);
    memset(word, 'a', LONG);
    assert_int_equal(bpe_create(&v, "test", &bpe), SHOAL_OK);
    assert_int_equal(bpe_encode(bpe, &out, "b", 1), SHOAL_OK);
    assert_int_equal(bpe_encode(bpe, &out, word, LONG - 1),
                     SHOAL_OK); /* 8 k + 7: 258s, 257 256 a */
    assert_int_equal(out.count, 1 + (LONG - 8) / 8 + 3);
    assert_int_equal(out.token[0], 'b');
    assert_int_equal(out.token[1], 258);
    assert_int_equal(out.token[out.count - 3], 257);
    assert_int_equal(out.token[out.count - 2], 256);
    assert_int_equal(out.token[out.count - 1], 'a');
    assert_int_equal(bpe_encode(bpe, &out, word, (size_t)TOKENIZER_MAX_WORD + 1), SHOAL_EFORMAT);
    assert_failure_says("a word of 16777217 bytes");
    free(word);
    token_list_free(&out);
    bpe_destroy(&bpe);
}

static void a_pair_merges_only_once(void **state)
{
    (void)state;
    struct merge merge[] = {{'a', 'a', 256}, {'a', 'b', 257}, {'a', 'a', 258}};
    const struct vocabulary v = {.n_tokens = 259, .n_merges = 3, .merge = merge};
    struct bpe *bpe;
    assert_int_equal(bpe_create(&v, "name", &bpe), SHOAL_EFORMAT);
    assert_failure_says("name: merge 3 repeats merge 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_as_defined),
        cmocka_unit_test(long_words_take_little_time),
        cmocka_unit_test(a_pair_merges_only_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
