/* Text to shards: every byte of the format, the split, and what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "data/tokenize.h"
#include "support.h"

enum { MANY = 200, HEADER = 1024 };

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

static enum shoal_status tokenize(const char *const *files, int64_t n, double val, int64_t shard,
                                  struct tokenize_result *result)
{
    char out[256];
    snprintf(out, sizeof out, "%s/out/deep", scratch.dir);
    const struct tokenize_args args = {"bytes", NULL, out, files, n, val, shard};
    return tokenize_files(&args, result);
}

static enum shoal_status tokenize_one(const char *name, double val, int64_t shard,
                                      struct tokenize_result *result)
{
    char *path = keep(scratch_path(&scratch, name));
    const char *files[] = {path};
    const enum shoal_status st = tokenize(files, 1, val, shard, result);
    free(path);
    return st;
}

static uint16_t token_at(const uint8_t *shard, size_t i)
{
    return (uint16_t)(shard[HEADER + 2 * i] | shard[HEADER + 2 * i + 1] << 8);
}

static void header_is_llmc_s(void **state)
{
    (void)state;
    write_text(scratch_path(&scratch, "ten.txt"), "abcdefghij");
    struct tokenize_result result;
    assert_int_equal(tokenize_one("ten.txt", 0.2, 1000, &result), SHOAL_OK);
    assert_int_equal(result.documents, 1);
    assert_int_equal(result.train_tokens, 9); /* end of text, then a..h */
    assert_int_equal(result.val_tokens, 2);   /* the tail */
    assert_int_equal(result.train_shards, 1);
    size_t n;
    uint8_t *shard = read_bytes(scratch_path(&scratch, "out/deep/train_000000.bin"), &n);
    assert_int_equal(n, HEADER + 2 * 9);
    /* 20240520 = 0x0134D888 */
    const uint8_t start[] = {0x88, 0xD8, 0x34, 0x01, 1, 0, 0, 0, 9, 0, 0, 0};
    assert_memory_equal(shard, start, sizeof start);
    for (size_t i = sizeof start; i < HEADER; i++)
        assert_int_equal(shard[i], 0);
    assert_int_equal(token_at(shard, 0), 0);
    for (size_t i = 1; i < 9; i++)
        assert_int_equal(token_at(shard, i), "abcdefgh"[i - 1]);
    free(shard);
    shard = read_bytes(scratch_path(&scratch, "out/deep/val_000000.bin"), &n);
    assert_int_equal(n, HEADER + 2 * 2);
    assert_int_equal(token_at(shard, 0), 'i');
    assert_int_equal(token_at(shard, 1), 'j');
    free(shard);
}

/* All 256 byte values, NUL included, in a text longer than the read and write buffers. */
static void every_byte_survives(void **state)
{
    (void)state;
    enum { N = 300000, VAL = 30000 };
    uint8_t *text = malloc(N);
    assert_non_null(text);
    for (int i = 0; i < N; i++)
        text[i] = (uint8_t)((uint32_t)i * 2654435761u >> 13);
    write_bytes(scratch_path(&scratch, "binary.txt"), text, N);
    struct tokenize_result result;
    assert_int_equal(tokenize_one("binary.txt", 0.1, 100000, &result), SHOAL_OK);
    assert_int_equal(result.train_shards, 3); /* 270001 tokens, at most 100000 in each */
    int at = -1;                              /* the end-of-text token comes first */
    for (int s = 0; s < 4; s++) {
        char name[64];
        snprintf(name, sizeof name, s < 3 ? "out/deep/train_%06d.bin" : "out/deep/val_000000.bin",
                 s);
        size_t n;
        uint8_t *shard = read_bytes(scratch_path(&scratch, name), &n);
        const size_t tokens = (n - HEADER) / 2;
        if (s < 3) assert_in_range(tokens, 90000, 90001); /* equal shares */
        for (size_t i = 0; i < tokens; i++, at++) {
            assert_int_equal(token_at(shard, i), at < 0 ? 0 : text[at]);
        }
        if (s == 2) assert_int_equal(at, N - VAL);
        free(shard);
    }
    assert_int_equal(at, N);
    free(text);
}

static bool exists(const char *name)
{
    struct stat info;
    return stat(scratch_path(&scratch, name), &info) == 0;
}

static void smaller_runs_leave_no_stale_shards(void **state)
{
    (void)state;
    write_text(scratch_path(&scratch, "hundred.txt"),
               "0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
               "234567890123456789");
    struct tokenize_result result;
    assert_int_equal(tokenize_one("hundred.txt", 0.1, 10, &result), SHOAL_OK);
    assert_int_equal(result.train_shards, 10);
    assert_true(exists("out/deep/train_000009.bin"));
    assert_int_equal(tokenize_one("hundred.txt", 0.1, 50, &result), SHOAL_OK);
    assert_int_equal(result.train_shards, 2);
    assert_true(exists("out/deep/train_000001.bin"));
    assert_false(exists("out/deep/train_000002.bin"));
    assert_false(exists("out/deep/train_000009.bin"));
    assert_true(exists("out/deep/val_000000.bin"));
}

/* 200 documents that say their number, of different lengths. */
static void make_documents(char *paths[MANY])
{
    for (int i = 0; i < MANY; i++) {
        char name[32], text[256];
        snprintf(name, sizeof name, "doc-%03d", i);
        paths[i] = keep(scratch_path(&scratch, name));
        snprintf(text, sizeof text, "document %03d %.*s", i, i % 50,
                 "--------------------------------------------------");
        write_text(paths[i], text);
    }
}

/* Count how often each document number appears whole in a shard; returns the bytes of documents. */
static size_t count_documents(const char *name, int count[MANY])
{
    size_t n, text_bytes = 0;
    uint8_t *shard = read_bytes(scratch_path(&scratch, name), &n);
    const size_t tokens = (n - HEADER) / 2;
    for (size_t i = 0; i < tokens; text_bytes += 13) {
        assert_int_equal(token_at(shard, i++), 0);
        char head[14] = {0};
        for (int c = 0; c < 13; c++)
            head[c] = (char)token_at(shard, i++);
        int number = -1;
        assert_int_equal(sscanf(head, "document %d ", &number), 1);
        assert_in_range(number, 0, MANY - 1);
        count[number]++;
        for (int dash = 0; dash < number % 50; dash++, text_bytes++) {
            assert_int_equal(token_at(shard, i++), '-');
        }
    }
    free(shard);
    return text_bytes;
}

static void documents_are_split_whole(void **state)
{
    (void)state;
    char *paths[MANY];
    make_documents(paths);
    struct tokenize_result result;
    assert_int_equal(tokenize((const char *const *)paths, MANY, 0.1, 1000000, &result), SHOAL_OK);
    assert_int_equal(result.documents, MANY);
    int train[MANY] = {0}, val[MANY] = {0};
    const size_t train_bytes = count_documents("out/deep/train_000000.bin", train);
    const size_t val_bytes = count_documents("out/deep/val_000000.bin", val);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(train[i] + val[i], 1);
    const double share = (double)val_bytes / (double)(train_bytes + val_bytes);
    assert_true(share > 0.085 && share <= 0.1);
    /* drawn from everywhere, not cut off at one end */
    int early = 0, late = 0;
    for (int i = 0; i < MANY; i++)
        *(i < MANY / 2 ? &early : &late) += val[i];
    assert_true(early >= 4 && late >= 4);
    for (int i = 0; i < MANY; i++)
        free(paths[i]);
}

static void same_files_same_bytes(void **state)
{
    (void)state;
    char *paths[MANY];
    make_documents(paths);
    struct tokenize_result result;
    uint8_t *first = NULL;
    size_t n = 0, again;
    for (int run = 0; run < 2; run++) {
        assert_int_equal(tokenize((const char *const *)paths, MANY, 0.25, 1000000, &result),
                         SHOAL_OK);
        uint8_t *bytes = read_bytes(scratch_path(&scratch, "out/deep/train_000000.bin"), &again);
        if (run == 0) {
            first = bytes;
            n = again;
            continue;
        }
        assert_int_equal(n, again);
        assert_memory_equal(first, bytes, n);
        free(bytes);
    }
    free(first);
    for (int i = 0; i < MANY; i++)
        free(paths[i]);
}

/* Two documents: the smaller is held out, however small the share asked for. */
static void something_is_always_held_out(void **state)
{
    (void)state;
    write_text(scratch_path(&scratch, "small"), "small");
    write_text(scratch_path(&scratch, "large"), "a much larger document than the other one");
    char *large = keep(scratch_path(&scratch, "large")),
         *small = keep(scratch_path(&scratch, "small"));
    const char *files[] = {large, small};
    struct tokenize_result result;
    assert_int_equal(tokenize(files, 2, 0.01, 1000, &result), SHOAL_OK);
    assert_int_equal(result.val_tokens, 6);
    assert_int_equal(result.train_tokens, 42);
    free(large);
    free(small);
}

static void bad_text_is_refused(void **state)
{
    (void)state;
    struct tokenize_result result;
    assert_int_equal(tokenize_one("missing.txt", 0.1, 1000, &result), SHOAL_EIO);
    assert_failure_says("missing.txt: cannot be read: No such file");
    write_bytes(scratch_path(&scratch, "empty.txt"), "", 0);
    assert_int_equal(tokenize_one("empty.txt", 0.1, 1000, &result), SHOAL_EFORMAT);
    assert_failure_says("empty.txt: is empty");
    assert_int_equal(tokenize_one("", 0.1, 1000, &result), SHOAL_EIO);
    assert_failure_says("is a directory; name the files in it");
    write_text(scratch_path(&scratch, "tiny.txt"), "abc");
    assert_int_equal(tokenize_one("tiny.txt", 0.1, 1000, &result), SHOAL_EFORMAT);
    assert_failure_says("too little text to split: 0 bytes are left for the val shard");
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    write_text(scratch_path(&scratch, "text.txt"), "some text that would do");
    struct tokenize_result result;
    assert_int_equal(tokenize_one("text.txt", 0.0, 1000, &result), SHOAL_EARG);
    assert_int_equal(tokenize_one("text.txt", 0.6, 1000, &result), SHOAL_EARG);
    assert_failure_says("at most 0.5, not 0.6");
    assert_int_equal(tokenize_one("text.txt", 0.1, 0, &result), SHOAL_EARG);
    assert_int_equal(tokenize(NULL, 0, 0.1, 1000, &result), SHOAL_EARG);
    const char *files[] = {scratch.dir};
    const struct tokenize_args args = {"words", NULL, scratch.dir, files, 1, 0.1, 1000};
    assert_int_equal(tokenize_files(&args, &result), SHOAL_EARG);
    assert_failure_says("unknown tokenizer 'words'");
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

/* A directory in the shard's place cannot be replaced. */
static void a_blocked_shard_leaves_nothing_behind(void **state)
{
    (void)state;
    write_text(scratch_path(&scratch, "text.txt"), "some text that would do");
    assert_int_equal(mkdir(scratch_path(&scratch, "out"), 0777), 0);
    assert_int_equal(mkdir(scratch_path(&scratch, "out/deep"), 0777), 0);
    assert_int_equal(mkdir(scratch_path(&scratch, "out/deep/train_000000.bin"), 0777), 0);
    struct tokenize_result result;
    assert_int_equal(tokenize_one("text.txt", 0.2, 1000, &result), SHOAL_EIO);
    assert_failure_says("train_000000.bin");
    assert_entries("out/deep", 1); /* the directory in the way */
}

/* A limit on the size of files stands for a disk that fills up in the middle of a shard. */
static void a_full_disk_leaves_no_half_shard(void **state)
{
    (void)state;
    enum { N = 300000 };
    char *text = calloc(N, 1);
    assert_non_null(text);
    write_bytes(scratch_path(&scratch, "zeros.txt"), text, N);
    free(text);
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight = before;
    tight.rlim_cur = 100000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    struct tokenize_result result;
    const enum shoal_status st = tokenize_one("zeros.txt", 0.2, 200000, &result);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(st, SHOAL_EIO);
    assert_failure_says("cannot be written: File too large");
    assert_entries("out/deep", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(header_is_llmc_s, setup, teardown),
        cmocka_unit_test_setup_teardown(every_byte_survives, setup, teardown),
        cmocka_unit_test_setup_teardown(smaller_runs_leave_no_stale_shards, setup, teardown),
        cmocka_unit_test_setup_teardown(documents_are_split_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(same_files_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(something_is_always_held_out, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_text_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_arguments_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_no_half_shard, setup, teardown),
        cmocka_unit_test_setup_teardown(a_blocked_shard_leaves_nothing_behind, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
