/* What is printed reads back to the same bits, and the table agrees with itself. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/memory.h"
#include "base/rng.h"
#include "config/options.h"
#include "support.h"

static void assert_round_trip(const struct config *c)
{
    char *text;
    assert_int_equal(config_text(c, &text), SHOAL_OK);
    struct config back;
    if (config_parse(&back, text, "printed") != SHOAL_OK) fail_msg("%s", shoal_failure_text());
    assert_memory_equal(&back, c, sizeof back);
    mem_free(text);
}

static void test_presets_round_trip(void **state)
{
    (void)state;
    const char *const sets[] = {"evolution.preset=shoal",  "evolution.preset=none",
                                "evolution.preset=eoe",    "evolution.preset=koifish",
                                "model.preset=gpt2-large", "population.layers_per_expert=3"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        struct config c;
        assert_int_equal(config_load(&c, NULL, &sets[i], 1), SHOAL_OK);
        assert_round_trip(&c);
    }
}

/* A number inside the range of an option, other than its default. */
static double other_number(const struct option *o, uint64_t index)
{
    const struct rng_key key = {9, RNG_SAMPLE, 0, 0, 0};
    const double u = (rng_bits(key, 2 * index) + rng_bits(key, 2 * index + 1) / 4294967296.0);
    return o->min + (o->max - o->min) * (u / 4294967296.0);
}

static void test_every_number_round_trips(void **state)
{
    (void)state;
    for (uint64_t draw = 0; draw < 200; draw++) {
        struct config c;
        config_defaults(&c);
        c.evolution.io.attractor = ATTRACT_MEAN; /* what any number needs */
        c.evolution.body.attractor = ATTRACT_TOP;
        c.evolution.inherit_lr = true;
        for (int i = 0; i < option_count; i++) {
            const struct option *o = &option_table[i];
            if (o->type != OPTION_DOUBLE && o->type != OPTION_FLOAT) continue;
            char text[64];
            snprintf(text, sizeof text, "%.17g", other_number(o, draw * 1000 + (uint64_t)i));
            assert_int_equal(option_set(&c, o, text), SHOAL_OK);
        }
        assert_round_trip(&c);
    }
}

static void test_strings_round_trip(void **state)
{
    (void)state;
    const char *const values[] = {
        "a b",    "- x", "*alias", "&anchor",  "\"quoted\"",    "back\\slash", "# hash", "a: b",
        "'",      "{x}", "%d",     "null",     "true",          "~",           "123",    " lead",
        "trail ", "?",   "-",      "\xC3\xA9", "x/*_[0-9].bin", "@at",         "`tick`", "!tag"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct config c;
        config_defaults(&c);
        assert_int_equal(option_set(&c, option_find("data.train"), values[i]), SHOAL_OK);
        assert_round_trip(&c);
        assert_string_equal(c.data.train, values[i]);
    }
}

static void print_config(FILE *to, const void *c)
{
    assert_int_equal(config_print(c, to), SHOAL_OK);
}

static void test_layout(void **state)
{
    (void)state;
    struct config c;
    config_defaults(&c);
    char *text = printed(print_config, &c);
    assert_non_null(strstr(text, "\n\nrun:\n  name: run "));
    assert_non_null(strstr(text, "\n  lr: 0.001 "));
    assert_non_null(strstr(text, "# highest learning rate\n"));
    assert_non_null(strstr(text, "\n  body:\n    attractor: best "));
    assert_non_null(strstr(text, "\n  io:\n    attractor: best "));
    assert_non_null(strstr(text, "\n\ndevice: auto "));
    assert_null(strstr(text, "\n\n\n"));
    free(text);
}

static void print_help(FILE *to, const void *unused)
{
    (void)unused;
    config_help(to);
}

static void test_help_names_every_option(void **state)
{
    (void)state;
    char *text = printed(print_help, NULL);
    for (int i = 0; i < option_count; i++) {
        char line[128];
        snprintf(line, sizeof line, "  %s\n", option_table[i].key);
        assert_non_null(strstr(text, line));
    }
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
        assert_in_range(strcspn(line, "\n"), 1, 100);
    }
    free(text);
}

/* Defaults can be set, keys are unique, and rows agree with what code relies on. */
static void test_table(void **state)
{
    (void)state;
    for (int i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        struct config c;
        config_defaults(&c);
        char text[OPTION_TEXT];
        option_text(text, &c, o);
        if (strcmp(o->key, "run.out") != 0) assert_string_equal(text, o->fallback);
        assert_ptr_equal(option_find(o->key), o);
        assert_ptr_equal(option_nearest(o->key), o);
        assert_true(o->help[0]);
        assert_true(o->offset + o->size <= sizeof c);
        /* option_set narrows to int, and counts in doubles. */
        if (o->type == OPTION_INT) assert_true(o->max <= INT32_MAX && o->min >= INT32_MIN);
        if (o->type == OPTION_INT64) assert_true(o->max < 9007199254740992.0);
    }
}

static void test_refusal_changes_nothing(void **state)
{
    (void)state;
    struct config c, before;
    config_defaults(&c);
    before = c;
    for (int i = 0; i < option_count; i++) {
        assert_int_equal(option_set(&c, &option_table[i], "\x01"), SHOAL_ECONFIG);
    }
    assert_memory_equal(&c, &before, sizeof c);
}

static void test_full_disk(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "w");
    if (!full) skip();
    struct config c;
    config_defaults(&c);
    assert_int_equal(config_print(&c, full), SHOAL_EIO);
    fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presets_round_trip),
        cmocka_unit_test(test_every_number_round_trips),
        cmocka_unit_test(test_strings_round_trip),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_help_names_every_option),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_refusal_changes_nothing),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
