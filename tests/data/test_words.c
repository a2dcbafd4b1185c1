/* Where words end. The expected words are those of the pattern in words.h, found by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "data/unicode.h"
#include "data/words.h"
#include "support.h"

/* Words of one text with | between them. */
static const char *const contractions[] = {
    "I|'m| you|'re| we|'ve| he|'ll| she|'d| it|'s| can|'t",
    "IT|'|S| DON|'|T", /* capitals are none */
    "'s|ing|'re|el|'ve|x|'m|x|'ll|x|'d|x|'t|x",
    "'|lol",
    "'|l",
    "'|r",
    "'|vx",
    "l|'",
    " '|s",
    "a|'| s",
    "''|s",
    "!'|s",
    "a|'s|'s",
    "\xE2\x80\x99|s", /* typographic apostrophe */
    "it|\xE2\x80\x99|s",
};

static const char *const white_space[] = {
    " ",
    "  ",
    "a| ",
    "a|   ",
    "a| b",
    "a| | b",
    "a|  | b",
    "  | a",
    "a|\n|b",
    "a|\n|\n|b",
    "a|\n\n|\n|b",
    "a|\n| b",
    "a| |\n|b",
    "a|\r\n\r|\n|b",
    "a|\r\n",
    "\t|x",
    "\t|\t|x",
    " |\t|x",
    "\t| x",
    "a|\v\f",
    "\n| !",
    "a|\xC2\xA0|b",          /* no-break space: white, but no word takes it in */
    "a|\xC2\xA0|\xC2\xA0|b", /* its last one is left alone */
    "a|\xC2\xA0| b",
    "a|\xC2\x85|b",                  /* next line */
    "a|\xE3\x80\x80|\xE3\x80\x80|b", /* ideographic space */
    "\xE3\x80\x80\xE3\x80\x80",
    "a| |\xE3\x80\x80|b",
    "a|\xE2\x80\xA8|\xE2\x80\xA9|b", /* line and paragraph separator */
    "a|\xE1\x9A\x80|\xE2\x80\xAF|b", /* ogham space, narrow no-break space */
    "a|\xE2\x80\x8B|b",              /* zero width space: a sign */
    " \xE2\x80\x8B",
    "a|\xEF\xBB\xBF|b", /* byte order mark: a sign */
    "a|\xE1\xA0\x8E|b", /* Mongolian vowel separator: once white, now a sign */
    "a|\x1C\x1D|b",     /* white for some languages, not in Unicode */
};

static const char *const scripts[] = {
    "abc|123",
    " 12| 345|abc| 6",
    "a|_|b|-|c",
    "x|+=|1|;",
    " (|x|).",
    " \xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82|,| \xD0\xBC\xD0\xB8\xD1\x80|!", /* Cyrillic
                                                                                        */
    "\xC3\xA9t\xC3\xA9", /* composed: letters */
    "e|\xCC\x81|a",      /* combining accent: a sign */
    "\xE0\xA4\xA8\xE0\xA4\xAE\xE0\xA4\xB8|\xE0\xA5\x8D|\xE0\xA4\xA4|\xE0\xA5\x87", /* Devanagari */
    "\xD9\xA3\xD9\xA4|a",                                /* Arabic-Indic digits */
    "\xE0\xA5\xA7\xE0\xA5\xA8|\xE0\xA4\x95",             /* Devanagari digits, a letter */
    "1\xC2\xBD\xC2\xB2",                                 /* one half, squared: numbers */
    "a|\xE2\x85\xA7|b",                                  /* Roman eight: a number */
    "\xE4\xBA\x8C|\xE3\x80\x87|\xE5\xB9\xB4",            /* ideographic zero: a number */
    "\xE6\xBC\xA2\xE5\xAD\x97\xE3\x81\x8B|\xE3\x80\x82", /* Han, kana, full stop */
    "\xED\x95\x9C\xEA\xB8\x80",                          /* Hangul */
    "\xF0\x90\x8D\x88\xF0\x9D\x90\x80|\xF0\x9D\x9F\x8E", /* Gothic, bold A, bold zero */
    "\xF0\xA0\x80\x80x",                                 /* Han of plane 2 */
    "\xEE\x80\x80\xF4\x8F\xBF\xBF",                      /* private use, the last code */
    /* family joined by zero width joiners; waving hand with skin tone; a keycap; a flag */
    "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7| x",
    " \xF0\x9F\x91\x8B\xF0\x9F\x8F\xBD",
    "1|\xEF\xB8\x8F\xE2\x83\xA3",
    "\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA|a",
};

/* Bytes that are no UTF-8 count as signs. */
static const char *const invalid[] = {
    "a|\xFF\xFE|b",
    " \xFF",
    " \xFF!| x",
    "a|\x80\xBF|b",
    "a|\xA0|b", /* no no-break space */
    "a|\xC3",   /* cut off */
    "a|\xE3\x80",
    "a|\xF0\x9F\x91",
    "\xE3\x80|z",
    "\xE3| x",
    "\xC3|\xC3\xA9",      /* a letter behind a lost byte */
    "\xC0\xAF\xC1\xA1|a", /* too long for their codes */
    "\xE0\x81\xA1|a",
    "\xF0\x80\x81\xA1|a",
    "\xED\xA0\x80\xED\xBF\xBF|x", /* surrogates */
    "\xF4\x90\x80\x80|x",         /* above the last code */
    "\xF5\x81\x81\x81|x",
    "\xF8\x88\x80\x80\x80|x",
};

static struct words *words;

static int setup(void **state)
{
    (void)state;
    return words_create(&words) == SHOAL_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    words_destroy(&words);
    return 0;
}

/* text without its bars. */
static size_t plain(char *out, const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        if (*text != '|') out[n++] = *text;
    return n;
}

/* The words of text cut[0 .. n), from memory that ends with it, joined by bars. */
static void cut(char *out, const char *text, size_t n)
{
    char *exact = malloc(n + 1);
    assert_non_null(exact);
    memcpy(exact + 1, text, n);
    for (size_t at = 0, length; at < n; at += length) {
        length = words_next(words, exact + 1 + at, n - at, true);
        assert_in_range(length, 1, n - at);
        if (at > 0) *out++ = '|';
        memcpy(out, text + at, length);
        out += length;
    }
    *out = '\0';
    free(exact);
}

static void check_all(const char *const *expected, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char text[256], found[256];
        const size_t bytes = plain(text, expected[i]);
        cut(found, text, bytes);
        assert_string_equal(found, expected[i]);
    }
}

#define CHECK_ALL(table) check_all(table, sizeof table / sizeof *table)

static void words_are_those_of_the_pattern(void **state)
{
    (void)state;
    CHECK_ALL(contractions);
    CHECK_ALL(white_space);
    CHECK_ALL(scripts);
    CHECK_ALL(invalid);
    assert_int_equal(words_next(words, "", 0, true), 0);
    assert_int_equal(words_next(words, "", 0, false), 0);
}

static void zero_bytes_are_signs(void **state)
{
    (void)state;
    const char text[] = "a\0\0 \0b";
    const size_t n = sizeof text - 1;
    size_t at = 0;
    const size_t lengths[] = {1, 2, 2, 1};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(words_next(words, text + at, n - at, true), lengths[i]);
        at += lengths[i];
    }
    assert_int_equal(at, n);
}

/* What is said of a beginning must hold for the whole, and with a character behind the word it must
 * be said. */
static void check_beginnings(const char *const *expected, size_t n_expected)
{
    for (size_t i = 0; i < n_expected; i++) {
        char text[256];
        const size_t n = plain(text, expected[i]);
        for (size_t at = 0, length; at < n; at += length) {
            length = words_next(words, text + at, n - at, true);
            for (size_t known = 0; known <= n - at; known++) {
                const size_t said = words_next(words, text + at, known, false);
                assert_true(said == 0 || said == length);
            }
        }
    }
}

static void beginnings_do_not_mislead(void **state)
{
    (void)state;
    check_beginnings(contractions, sizeof contractions / sizeof *contractions);
    check_beginnings(white_space, sizeof white_space / sizeof *white_space);
    check_beginnings(scripts, sizeof scripts / sizeof *scripts);
    check_beginnings(invalid, sizeof invalid / sizeof *invalid);
    assert_int_equal(words_next(words, "word next", 9, false), 4);
    assert_int_equal(words_next(words, "word n", 6, false),
                     0); /* four bytes may be one character */
    assert_int_equal(words_next(words, "   next", 7, false), 2);
}

/* Totals of DerivedGeneralCategory.txt and PropList.txt of Unicode 16.0.0. */
static void the_table_is_unicode_16(void **state)
{
    (void)state;
    uint32_t count[4] = {0}, next = 0;
    for (int i = 0; i < unicode_range_count; i++) {
        const struct unicode_range *r = &unicode_ranges[i];
        assert_true(r->first >= next && r->last >= r->first && r->last < UNICODE_END);
        assert_in_range(r->kind, UNICODE_LETTER, UNICODE_SPACE);
        next = r->last + 1;
        count[r->kind] += next - r->first;
    }
    assert_int_equal(count[UNICODE_LETTER], 141028);
    assert_int_equal(count[UNICODE_NUMBER], 1911);
    assert_int_equal(count[UNICODE_SPACE], 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_those_of_the_pattern),
        cmocka_unit_test(zero_bytes_are_signs),
        cmocka_unit_test(beginnings_do_not_mislead),
        cmocka_unit_test(the_table_is_unicode_16),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
