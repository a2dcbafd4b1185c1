#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/rng.h"
#include "base/text.h"

static void test_short_numbers(void **state)
{
    (void)state;
    const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},        {1, "1"},           {0.1, "0.1"},
                 {1e-3, "0.001"}, {-2.5, "-2.5"},     {1e300, "1e+300"},
                 {1e-8, "1e-08"}, {123456, "123456"}, {0.1 + 0.2, "0.30000000000000004"}};
    char text[NUMBER_TEXT];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        number_text(text, cases[i].value);
        assert_string_equal(text, cases[i].text);
    }
    number_text_f32(text, 0.1f);
    assert_string_equal(text, "0.1");
}

/* Any bit pattern of a finite number comes back. */
static void test_numbers_round_trip(void **state)
{
    (void)state;
    const struct rng_key key = {1, RNG_SAMPLE, 0, 0, 0};
    char text[NUMBER_TEXT];
    for (uint64_t i = 0; i < 20000; i++) {
        const uint32_t low = rng_bits(key, 2 * i), high = rng_bits(key, 2 * i + 1);
        const uint64_t bits = (uint64_t)high << 32 | low;
        double d;
        float f;
        memcpy(&d, &bits, sizeof d);
        memcpy(&f, &low, sizeof f);
        if (isfinite(d)) {
            number_text(text, d);
            assert_true(strtod(text, NULL) == d);
        }
        if (isfinite(f)) {
            number_text_f32(text, f);
            assert_true(strtof(text, NULL) == f);
        }
    }
}

static void test_utf8(void **state)
{
    (void)state;
    const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"a", 1},
        {"", 1}, /* the final 0 is a character too */
        {"\xC3\xA9", 2},
        {"\xE2\x82\xAC", 3},
        {"\xF0\x9F\x90\x9F", 4},
        {"\x80", 0},             /* continuation first */
        {"\xC3", 0},             /* cut off */
        {"\xE2\x82", 0},         /* cut off */
        {"\xC0\x80", 0},         /* longer than needed */
        {"\xE0\x82\x82", 0},     /* longer than needed */
        {"\xED\xA0\x80", 0},     /* surrogate */
        {"\xF4\x90\x80\x80", 0}, /* above U+10FFFF */
        {"\xFF", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(utf8_length(cases[i].text), cases[i].length);
    }
}

static void test_distance(void **state)
{
    (void)state;
    assert_int_equal(text_distance("", ""), 0);
    assert_int_equal(text_distance("", "abc"), 3);
    assert_int_equal(text_distance("kitten", "sitting"), 3);
    assert_int_equal(text_distance("sitting", "kitten"), 3);
    assert_int_equal(text_distance("train.lrr", "train.lr"), 1);
    assert_int_equal(text_distance("warmpu", "warmup"), 1); /* a swap is one change */
    char longer[400];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(text_distance(longer, ""), 127);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_numbers),
        cmocka_unit_test(test_numbers_round_trip),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
