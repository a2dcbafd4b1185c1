#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/json.h"
#include "support.h"

static void print_everything(FILE *to, const void *unused)
{
    (void)unused;
    struct json j;
    json_begin(&j);
    json_string(&j, "event", "step");
    json_int(&j, "lowest", INT64_MIN);
    json_bool(&j, "yes", true);
    json_number(&j, "loss", 1.25);
    json_number(&j, "nan", (double)NAN);
    json_number(&j, "inf", (double)INFINITY);
    const double values[] = {0.1, (double)NAN, 3};
    json_numbers(&j, "fitness", values, 3);
    json_numbers(&j, "none", values, 0);
    json_open(&j, "inner", '{');
    json_open(&j, "list", '[');
    json_string(&j, NULL, "a");
    json_int(&j, NULL, 1);
    json_close(&j, ']');
    json_bool(&j, "no", false);
    json_close(&j, '}');
    json_int(&j, "last", 2);
    assert_int_equal(json_end(&j, to), SHOAL_OK);
}

static void test_everything(void **state)
{
    (void)state;
    char *text = printed(print_everything, NULL);
    assert_string_equal(
        text, "{\"event\":\"step\",\"lowest\":-9223372036854775808,\"yes\":true,\"loss\":1.25,"
              "\"nan\":null,\"inf\":null,\"fitness\":[0.1,null,3],\"none\":[],"
              "\"inner\":{\"list\":[\"a\",1],\"no\":false},\"last\":2}\n");
    free(text);
}

static void print_string(FILE *to, const void *value)
{
    struct json j;
    json_begin(&j);
    json_string(&j, "k", value);
    assert_int_equal(json_end(&j, to), SHOAL_OK);
}

static void test_strings(void **state)
{
    (void)state;
    const char *const cases[][2] = {
        {"a\"b\\c", "{\"k\":\"a\\\"b\\\\c\"}\n"},
        {"\n\t\x01\x7F", "{\"k\":\"\\u000a\\u0009\\u0001\\u007f\"}\n"},
        {"\xC3\xA9", "{\"k\":\"\xC3\xA9\"}\n"},
        {"x\xFFy\xE2\x82", "{\"k\":\"x\xEF\xBF\xBDy\xEF\xBF\xBD\xEF\xBF\xBD\"}\n"},
        {"", "{\"k\":\"\"}\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = printed(print_string, cases[i][0]);
        assert_string_equal(text, cases[i][1]);
        free(text);
    }
}

static void print_zeros(FILE *to, const void *bytes)
{
    struct json j;
    json_begin(&j);
    json_text(&j, "k", bytes, 4);
    assert_int_equal(json_end(&j, to), SHOAL_OK);
}

static void test_zeros(void **state)
{
    (void)state;
    char *text = printed(print_zeros, "\0a\xC3\0");
    assert_string_equal(text, "{\"k\":\"\\u0000a\xEF\xBF\xBD\\u0000\"}\n");
    free(text);
}

static void test_full_disk(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "w");
    if (!full) skip();
    struct json j;
    json_begin(&j);
    json_int(&j, "k", 1);
    assert_int_equal(json_end(&j, full), SHOAL_EIO);
    fclose(full);
}

static void test_taken_and_saved(void **state)
{
    (void)state;
    struct scratch scratch;
    struct json j;
    char *text;
    size_t n;
    json_begin(&j);
    json_int(&j, "k", 1);
    assert_int_equal(json_take(&j, &text, &n), SHOAL_OK);
    assert_int_equal(n, 7);
    assert_string_equal(text, "{\"k\":1}");
    free(text);
    scratch_make(&scratch);
    json_begin(&j);
    assert_int_equal(json_save(&j, scratch_path(&scratch, "saved")), SHOAL_OK);
    text = (char *)read_bytes(scratch_path(&scratch, "saved"), &n);
    assert_string_equal(text, "{}\n");
    assert_int_equal(n, 3);
    free(text);
    json_begin(&j);
    assert_int_equal(json_save(&j, scratch_path(&scratch, "no/dir")), SHOAL_EIO);
    scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything),      cmocka_unit_test(test_strings),
        cmocka_unit_test(test_zeros),           cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_taken_and_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
