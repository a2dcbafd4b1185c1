#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "commands/args.h"
#include "support.h"

/* A subcommand with one option of each type, and what was parsed into it. */
struct fixture {
    bool json;
    const char *data;
    int64_t tokens;
    double temperature;
    struct arg_list set, operands;
    bool help;
    struct arg_option options[5];
    struct arg_spec spec;
};

static void fixture_make(struct fixture *f)
{
    *f = (struct fixture){.tokens = 7};
    const struct arg_option options[] = {
        {"--data", ARG_STRING, &f->data, "GLOB", "shards to read"},
        {"--json", ARG_FLAG, &f->json, NULL, "print JSON"},
        {"--tokens", ARG_INT, &f->tokens, "N",
         "how many tokens to print; this help is so long that it cannot fit on one line of a "
         "terminal"},
        {"--temperature", ARG_NUMBER, &f->temperature, "T", "how bold"},
        {"--set", ARG_LIST, &f->set, "KEY=VALUE", "change an option"},
    };
    memcpy(f->options, options, sizeof options);
    f->spec = (struct arg_spec){.usage = "shoal try FILE [options]",
                                .description = "Tries.",
                                .options = f->options,
                                .n_options = 5,
                                .min_operands = 1,
                                .max_operands = 2,
                                .examples = "  shoal try x"};
}

/* Parse words separated by blanks; the strings live until the next call. */
static enum shoal_status parse(struct fixture *f, const char *line)
{
    static char words[256];
    static char *argv[32];
    fixture_make(f);
    int argc = 0;
    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    return args_parse(&f->spec, argc, argv, &f->operands, &f->help);
}

static void fixture_free(struct fixture *f)
{
    args_free(&f->operands);
    args_free(&f->set);
}

static void test_all_forms(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(parse(&f, "try a --data=x=y --set p=1 --json --tokens -3 b --temperature .5 "
                               "--set=q=2"),
                     SHOAL_OK);
    assert_false(f.help);
    assert_true(f.json);
    assert_string_equal(f.data, "x=y");
    assert_int_equal(f.tokens, -3);
    assert_true(f.temperature == 0.5);
    assert_int_equal(f.set.count, 2);
    assert_string_equal(f.set.item[0], "p=1");
    assert_string_equal(f.set.item[1], "q=2");
    assert_int_equal(f.operands.count, 2);
    assert_string_equal(f.operands.item[0], "a");
    assert_string_equal(f.operands.item[1], "b");
    fixture_free(&f);
}

static void test_what_looks_like_options(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(parse(&f, "try - -- --json"), SHOAL_OK);
    assert_false(f.json);
    assert_int_equal(f.operands.count, 2);
    assert_string_equal(f.operands.item[0], "-");
    assert_string_equal(f.operands.item[1], "--json");
    fixture_free(&f);
    assert_int_equal(parse(&f, "try x --data --help"), SHOAL_OK);
    assert_false(f.help);
    assert_string_equal(f.data, "--help");
    fixture_free(&f);
    assert_int_equal(parse(&f, "try -- --help"), SHOAL_OK);
    assert_false(f.help);
    fixture_free(&f);
}

static void test_unset_options_stay(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(parse(&f, "try x"), SHOAL_OK);
    assert_int_equal(f.tokens, 7);
    assert_null(f.data);
    assert_int_equal(f.set.count, 0);
    fixture_free(&f);
}

static void test_help_wins_over_mistakes(void **state)
{
    (void)state;
    const char *const lines[] = {"try --help", "try -h", "try --wrong --help", "try a b c d --help",
                                 "try --tokens abc -h"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct fixture f;
        assert_int_equal(parse(&f, lines[i]), SHOAL_OK);
        assert_true(f.help);
        fixture_free(&f);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    const char *const cases[][2] = {
        {"try x --tokes 3", "try: unknown option '--tokes'; did you mean '--tokens'?"},
        {"try x -j", "unknown option '-j'"},
        {"try x --tokens abc", "--tokens must be a whole number, found 'abc'"},
        {"try x --tokens 1.5", "found '1.5'"},
        {"try x --tokens=", "found ''"},
        {"try x --tokens 99999999999999999999", "found '99999999999999999999'"},
        {"try x --temperature warm", "--temperature must be a number, found 'warm'"},
        {"try x --temperature nan", "found 'nan'"},
        {"try x --data", "--data needs a value: --data GLOB"},
        {"try x --json=yes", "--json takes no value"},
        {"try", "something is missing; usage: shoal try FILE"},
        {"try a b c", "'c' is one argument too many"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        assert_int_equal(parse(&f, cases[i][0]), SHOAL_EARG);
        assert_failure_says(cases[i][1]);
        assert_null(f.operands.item); /* freed: the sanitizer checks that nothing else was left */
    }
}

static void test_lists_are_freed_on_failure(void **state)
{
    (void)state;
    struct fixture f;
    assert_int_equal(parse(&f, "try x --set a=1 --wrong"), SHOAL_EARG);
    assert_null(f.set.item);
}

static void print_help(FILE *to, const void *spec)
{
    args_help(spec, to);
}

static void test_help_text(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f);
    char *text = printed(print_help, &f.spec);
    assert_string_equal(text,
                        "Usage: shoal try FILE [options]\n"
                        "\n"
                        "Tries.\n"
                        "\n"
                        "Options:\n"
                        "  --data GLOB      shards to read\n"
                        "  --json           print JSON\n"
                        "  --tokens N       how many tokens to print; this help is so long that it "
                        "cannot\n"
                        "                   fit on one line of a terminal\n"
                        "  --temperature T  how bold\n"
                        "  --set KEY=VALUE  change an option\n"
                        "  -h, --help       show this text\n"
                        "\n"
                        "Examples:\n"
                        "  shoal try x\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_forms),
        cmocka_unit_test(test_what_looks_like_options),
        cmocka_unit_test(test_unset_options_stay),
        cmocka_unit_test(test_help_wins_over_mistakes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_lists_are_freed_on_failure),
        cmocka_unit_test(test_help_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
