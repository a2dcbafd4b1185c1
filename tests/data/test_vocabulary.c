/* Vocabulary files: where they are looked for, and what is wrong with damaged ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "data/vocabulary.h"
#include "support.h"

enum { TOKENS = 286, MERGES = 29 };

static struct scratch scratch;
static char *names, *merges, *both; /* the whole files: vocab.json, merges.txt, tokenizer.json */

static int setup_files(void **state)
{
    (void)state;
    struct vocabulary v;
    size_t n;
    char path[256];
    names = (char *)read_bytes(SMALL_VOCAB "/vocab.json", &n);
    merges = (char *)read_bytes(SMALL_VOCAB "/merges.txt", &n);
    scratch_make(&scratch);
    strcpy(path, scratch_path(&scratch, "tokenizer.json"));
    if (vocabulary_read(SMALL_VOCAB, &v) != SHOAL_OK) return -1;
    if (vocabulary_save(&v, path) != SHOAL_OK) return -1;
    both = (char *)read_bytes(path, &n);
    vocabulary_free(&v);
    scratch_remove(&scratch);
    return 0;
}

static int teardown_files(void **state)
{
    (void)state;
    free(names);
    free(merges);
    free(both);
    return 0;
}

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

/* text with the first `from` turned into `to`; free it. */
static char *changed(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at) fail_msg("the file has no '%s'", from);
    char *out = malloc(strlen(text) + strlen(to) + 1);
    assert_non_null(out);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void assert_read(const char *path)
{
    struct vocabulary v;
    if (vocabulary_read(path, &v) != SHOAL_OK) fail_msg("%s", shoal_failure_text());
    assert_int_equal(v.n_tokens, TOKENS);
    assert_int_equal(v.n_merges, MERGES);
    assert_int_equal(v.end_of_text, TOKENS - 1);
    assert_int_equal(v.of_byte['!'], 0);
    assert_int_equal(v.of_byte[' '], 220);
    assert_int_equal(v.merge[1].left, 256); /* lo w -> low */
    assert_int_equal(v.merge[1].right, v.of_byte['w']);
    assert_int_equal(v.merge[1].result, 257);
    assert_int_equal(v.begin[258] - v.begin[257], 3);
    assert_memory_equal(v.bytes + v.begin[257], "low", 3);
    for (int i = 0; i < TOKENS; i++)
        assert_int_equal(v.special[i], i == TOKENS - 1);
    vocabulary_free(&v);
}

static void assert_refused(enum shoal_status expected, const char *fragment)
{
    struct vocabulary v;
    const enum shoal_status st = vocabulary_read(scratch.dir, &v);
    if (st != expected) fail_msg("status %d for '%s'", (int)st, fragment);
    assert_failure_says(fragment);
}

/* The pair of files, one of them changed. */
static void assert_pair_refused(const char *names_text, const char *merges_text,
                                const char *fragment)
{
    write_text(scratch_path(&scratch, "vocab.json"), names_text);
    write_text(scratch_path(&scratch, "merges.txt"), merges_text);
    assert_refused(SHOAL_EFORMAT, fragment);
}

static void assert_names_refused(const char *from, const char *to, const char *fragment)
{
    char *text = changed(names, from, to);
    assert_pair_refused(text, merges, fragment);
    free(text);
}

static void assert_merges_refused(const char *from, const char *to, const char *fragment)
{
    char *text = changed(merges, from, to);
    assert_pair_refused(names, text, fragment);
    free(text);
}

static void assert_both_refused(const char *from, const char *to, const char *fragment)
{
    char *text = changed(both, from, to);
    write_text(scratch_path(&scratch, "tokenizer.json"), text);
    assert_refused(SHOAL_EFORMAT, fragment);
    free(text);
}

/* ---- where ----------------------------------------------------------------------------------- */

static void every_published_name_is_found(void **state)
{
    (void)state;
    static const char *const pair[][2] = {{"vocab.json", "merges.txt"},
                                          {"encoder.json", "vocab.bpe"}};
    for (int i = 0; i < 2; i++) {
        char first[256], second[256];
        strcpy(first, scratch_path(&scratch, pair[i][0]));
        strcpy(second, scratch_path(&scratch, pair[i][1]));
        write_text(first, names);
        write_text(second, merges);
        assert_read(scratch.dir);
        assert_read(first);
        assert_read(second);
        assert_int_equal(unlink(first), 0);
        assert_int_equal(unlink(second), 0);
    }
    write_text(scratch_path(&scratch, "tokenizer.json"), both);
    assert_read(scratch.dir);
    assert_read(scratch_path(&scratch, "tokenizer.json"));
    write_text(scratch_path(&scratch, "mine.json"), both); /* any other name is such a file too */
    assert_read(scratch_path(&scratch, "mine.json"));
}

static void names_without_a_directory_are_found(void **state)
{
    (void)state;
    char before[1024];
    write_text(scratch_path(&scratch, "vocab.json"), names);
    write_text(scratch_path(&scratch, "merges.txt"), merges);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(scratch.dir), 0);
    assert_read("merges.txt");
    assert_read(".");
    assert_int_equal(chdir(before), 0);
}

static void missing_files_are_named(void **state)
{
    (void)state;
    struct vocabulary v;
    assert_refused(SHOAL_EIO,
                   "it needs vocab.json and merges.txt, or encoder.json and vocab.bpe, or "
                   "tokenizer.json");
    assert_failure_says("openai-community/gpt2 on the Hugging Face hub: vocab.json and merges.txt");
    assert_int_equal(vocabulary_read(scratch_path(&scratch, "nowhere"), &v), SHOAL_EIO);
    assert_failure_says("nowhere' does not exist");
    assert_failure_says("openai-community/gpt2");
    write_text(scratch_path(&scratch, "merges.txt"), merges);
    assert_false(vocabulary_is_in(scratch.dir));
    assert_refused(SHOAL_EIO, "vocab.json', which belongs to it, is not");
    assert_int_equal(vocabulary_read(scratch_path(&scratch, "merges.txt"), &v), SHOAL_EIO);
    assert_failure_says("vocab.json', which belongs to it, is not");
    write_text(scratch_path(&scratch, "vocab.json"), names);
    assert_true(vocabulary_is_in(scratch.dir));
    assert_int_equal(unlink(scratch_path(&scratch, "merges.txt")), 0);
    assert_refused(SHOAL_EIO, "merges.txt', which belongs to it, is not");
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Every beginning of each file but the whole. */
static void truncated_files_are_refused(void **state)
{
    (void)state;
    char *text = malloc(strlen(both) + 1);
    assert_non_null(text);
    for (size_t n = 0; n + 2 < strlen(names); n += 13) { /* a missing last newline does no harm */
        sprintf(text, "%.*s", (int)n, names);
        assert_pair_refused(text, merges, "ends in the middle of its JSON; fetch the file again");
    }
    for (size_t n = 0; n + 1 < strlen(merges); n++) {
        sprintf(text, "%.*s", (int)n, merges);
        assert_pair_refused(names, text, "merges.txt: ");
    }
    sprintf(text, "%.*s", (int)strlen(merges) - 1, merges);
    write_text(scratch_path(&scratch, "merges.txt"), text);
    write_text(scratch_path(&scratch, "vocab.json"), names);
    assert_read(scratch.dir); /* without its last newline */
    for (size_t n = 0; n + 2 < strlen(both); n += 97) {
        sprintf(text, "%.*s", (int)n, both);
        write_text(scratch_path(&scratch, "tokenizer.json"), text);
        assert_refused(SHOAL_EFORMAT, "ends in the middle of its JSON; fetch the file again");
    }
    free(text);
}

static void what_is_not_json_is_refused(void **state)
{
    (void)state;
    assert_pair_refused("<!DOCTYPE html>", merges, "vocab.json: is not JSON (");
    assert_pair_refused("[1, 2]", merges, "is JSON, but not an object");
    assert_names_refused("\n}", "\n}}", "is not JSON");
    assert_names_refused("\n}", ",\n}", "is not JSON");
    assert_names_refused("{", "/* names */ {", "is not JSON");
    assert_names_refused("\"!\"", "\"\xFF\"", "is not JSON");
    assert_names_refused("\"!\"", "!", "is not JSON");
    assert_pair_refused("version https://example/spec/v1\noid sha256:0\n", merges, "is not JSON");
}

static void wrong_numbers_are_refused(void **state)
{
    (void)state;
    assert_names_refused("\"low\": 257", "\"low\": 300", "'low' has number 300, but there are 286");
    assert_names_refused("\"low\": 257", "\"low\": -1", "'low' has number -1");
    assert_names_refused("\"low\": 257", "\"low\": 256", "have the same number, 256");
    assert_names_refused("\"low\": 257", "\"low\": \"x\"", "'low' is no token with a number");
    assert_names_refused("\"low\": 257", "\"low\": 257.0", "'low' is no token with a number");
    assert_names_refused("\"<|endoftext|>\"", "\"<|end|>\"", "has no token '<|endoftext|>'");
    assert_names_refused("\"\xC4\xA0\": 220", "\"space\": 220",
                         "has no token '\xC4\xA0' for byte 32");
    assert_pair_refused("{}", merges, "has no token");
}

static void files_that_disagree_are_refused(void **state)
{
    (void)state;
    assert_names_refused("\"low\": 257", "\"lov\": 257", "merge 2: its result 'low' is not in");
    assert_names_refused("\"lo\": 256", "\"zz\": 256", "merge 1: its result 'lo' is not in");
    assert_merges_refused("\n| >\n", "\n", "its 28 merges do not make 1 of the 286 tokens of ");
    assert_failure_says("the first of them '|>'");
    assert_merges_refused("\n| >\n", "\n| >\n| |\n", "merge 30: its result '||' is not in");
    assert_merges_refused("\n| >\n", "\n| >>\n", "merge 29: '>>' is not in");
}

static void damaged_merges_are_refused(void **state)
{
    (void)state;
    char zero[] = "#version: 0.2\nl o\0lo w\n";
    assert_merges_refused("lo w", "low", "merge 2 is not a pair of tokens");
    assert_merges_refused("lo w", "lo  w", "merge 2 is not a pair of tokens");
    assert_merges_refused("lo w", " low", "merge 2 is not a pair of tokens");
    assert_merges_refused("lo w", "lo w x", "merge 2 is not a pair of tokens");
    assert_merges_refused("l o\nlo w", "lo w\nl o",
                          "merge 1: 'lo' is not made by a merge before it");
    assert_merges_refused("| >", "<|endoftext|> >", "is not made by a merge before it");
    write_text(scratch_path(&scratch, "vocab.json"), names);
    write_bytes(scratch_path(&scratch, "merges.txt"), zero, sizeof zero - 1);
    assert_refused(SHOAL_EFORMAT, "merges.txt: is not text");
}

/* Line ends of another system, and no line with a version. */
static void harmless_differences_are_read(void **state)
{
    (void)state;
    char *text = calloc(2, strlen(merges) + 1), *to = text;
    assert_non_null(text);
    for (const char *from = merges; *from; from++) {
        if (*from == '\n') *to++ = '\r';
        *to++ = *from;
    }
    write_text(scratch_path(&scratch, "vocab.json"), names);
    write_text(scratch_path(&scratch, "merges.txt"), text);
    assert_read(scratch.dir);
    write_text(scratch_path(&scratch, "merges.txt"), strchr(merges, '\n') + 1);
    assert_read(scratch.dir);
    free(text);
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

static void other_kinds_are_refused(void **state)
{
    (void)state;
    assert_both_refused("\"type\":\"BPE\"", "\"type\":\"Unigram\"",
                        "its model is Unigram on ByteLevel");
    assert_both_refused("\"type\":\"ByteLevel\"", "\"type\":\"Metaspace\"", "BPE on Metaspace");
    assert_both_refused("\"pre_tokenizer\"", "\"other\"", "its model is BPE on none");
    assert_both_refused("\"model\"", "\"other\"", "has no \"model\"");
    assert_both_refused("\"merges\"", "\"other\"", "no model.vocab or no model.merges");
    assert_both_refused("\"add_prefix_space\":false", "\"add_prefix_space\":true",
                        "prepares text in another way than GPT-2");
    assert_both_refused("\"use_regex\":true", "\"use_regex\":false",
                        "prepares text in another way");
    assert_both_refused("\"version\":\"1.0\"", "\"normalizer\":{\"type\":\"NFC\"}",
                        "prepares text in another way");
    assert_both_refused("\"type\":\"BPE\"", "\"type\":\"BPE\",\"dropout\":0.1", "has dropout set");
    assert_both_refused("\"type\":\"BPE\"", "\"type\":\"BPE\",\"ignore_merges\":true",
                        "has ignore_merges set");
    assert_both_refused("\"type\":\"BPE\"", "\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\"",
                        "has end_of_word_suffix set");
}

static void wrong_added_tokens_are_refused(void **state)
{
    (void)state;
    assert_both_refused("\"special\":true", "\"special\":false", "is not special");
    assert_both_refused("\"id\":285", "\"id\":284", "'<|endoftext|>' has two numbers");
    assert_both_refused("\"id\":285", "\"id\":\"x\"", "has no content or no id");
    assert_both_refused("\"content\":", "\"contents\":", "has no content or no id");
    assert_both_refused("\"added_tokens\":[",
                        "\"added_tokens\":[{\"id\":257,\"content\":\"low\",\"special\":true},",
                        "merge 2: its result 'low' is not in");
    assert_both_refused("\"added_tokens\":[",
                        "\"added_tokens\":[{\"id\":220,\"content\":\"\xC4\xA0\",\"special\":true},",
                        "is a byte's; text would become it");
    assert_both_refused("[\"lo\",\"w\"]", "[\"lo\"]", "merge 2 is not a pair");
    assert_both_refused("[\"lo\",\"w\"]", "7", "merge 2 is not a pair");
    assert_both_refused("[\"lo\",\"w\"]", "null", "merge 2 is not a pair");
}

/* As older files have them: merges as text; more special tokens, in the vocabulary or only added.
 */
static void other_forms_are_read(void **state)
{
    (void)state;
    struct vocabulary v;
    char *text = changed(both, "[\"lo\",\"w\"]", "\"lo w\"");
    char *nulls = changed(text, "\"type\":\"BPE\"",
                          "\"type\":\"BPE\",\"dropout\":null,\"end_of_word_suffix\":\"\"");
    write_text(scratch_path(&scratch, "tokenizer.json"), nulls);
    assert_read(scratch.dir);
    char *more = changed(both, "\"added_tokens\":[",
                         "\"added_tokens\":[{\"id\":286,\"content\":\"<pad>\",\"special\":true},");
    write_text(scratch_path(&scratch, "tokenizer.json"), more);
    for (int i = 0; i < 2; i++) { /* as it is, and as it is saved */
        assert_int_equal(vocabulary_read(scratch.dir, &v), SHOAL_OK);
        assert_int_equal(v.n_tokens, TOKENS + 1);
        assert_int_equal(v.end_of_text, TOKENS - 1);
        assert_true(v.special[TOKENS]);
        assert_int_equal(vocabulary_save(&v, scratch_path(&scratch, "tokenizer.json")), SHOAL_OK);
        vocabulary_free(&v);
    }
    free(text);
    free(nulls);
    free(more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_published_name_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(names_without_a_directory_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(missing_files_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(truncated_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_json_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_numbers_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(files_that_disagree_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_merges_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(harmless_differences_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(other_kinds_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_added_tokens_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(other_forms_are_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, setup_files, teardown_files);
}
