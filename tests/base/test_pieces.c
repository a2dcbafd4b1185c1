/* test_pieces.c - files read and written piece by piece (input.h, output.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/input.h"
#include "base/output.h"
#include "support.h"

static struct scratch scratch;

static int open_scratch(void **state)
{
    (void)state;
    scratch_make(&scratch);
    return 0;
}

static int close_scratch(void **state)
{
    (void)state;
    scratch_remove(&scratch);
    return 0;
}

/* A path in the scratch directory that lasts; free it. */
static char *path_of(const char *name)
{
    char *path = strdup(scratch_path(&scratch, name));
    assert_non_null(path);
    return path;
}

static void expect_file(const char *path, const char *bytes, size_t n)
{
    size_t found;
    uint8_t *read = read_bytes(path, &found);
    assert_int_equal(found, n);
    assert_memory_equal(read, bytes, n);
    free(read);
}

static void test_output(void **state)
{
    (void)state;
    char *path = path_of("file");
    struct output out;
    assert_int_equal(output_open(&out, path, 10), SHOAL_OK);
    assert_int_equal(output_write(&out, "world", 5, 5), SHOAL_OK);
    assert_int_equal(output_write(&out, "he", 0, 2), SHOAL_OK);
    assert_false(path_exists(path));
    assert_true(path_exists(out.temp));
    assert_int_equal(output_commit(&out), SHOAL_OK);
    expect_file(path, "he\0\0\0world", 10);
    output_close(&out);
    assert_true(path_exists(path));
    free(path);
}

static void test_output_abandoned(void **state)
{
    (void)state;
    char *path = path_of("abandoned");
    struct output out = OUTPUT_CLOSED;
    char temp[SHOAL_MAX_PATH];
    output_close(&out);
    assert_int_equal(output_open(&out, path, 1 << 20), SHOAL_OK);
    strcpy(temp, out.temp);
    output_close(&out);
    assert_false(path_exists(path));
    assert_false(path_exists(temp));
    assert_int_equal(output_open(&out, scratch_path(&scratch, "no/file"), 1), SHOAL_EIO);
    assert_failure_says("no/file");
    output_close(&out);
    free(path);
}

static void test_refuse_existing(void **state)
{
    (void)state;
    char *link = path_of("link"), *file = path_of("there");
    write_text(file, "x");
    assert_int_equal(symlink("nowhere", link), 0);
    assert_int_equal(output_refuse_existing(scratch_path(&scratch, "free")), SHOAL_OK);
    assert_int_equal(output_refuse_existing(file), SHOAL_EIO);
    assert_failure_says("is there already");
    assert_int_equal(output_refuse_existing(link), SHOAL_EIO);
    assert_int_equal(output_refuse_existing(scratch.dir), SHOAL_EIO);
    assert_int_equal(output_refuse_existing(""), SHOAL_EARG);
    free(link);
    free(file);
}

static void test_directory(void **state)
{
    (void)state;
    char *path = path_of("dir"), *with_slash = path_of("dir/"), *inside = path_of("dir/inside");
    char temp[SHOAL_MAX_PATH], file[SHOAL_MAX_PATH];
    assert_int_equal(output_dir_make(temp, with_slash), SHOAL_OK);
    assert_int_equal(path_format(file, "%s/inside", temp), SHOAL_OK);
    write_text(file, "text");
    assert_false(path_exists(path));
    assert_int_equal(output_dir_commit(temp, with_slash), SHOAL_OK);
    assert_string_equal(temp, "");
    expect_file(inside, "text", 4);
    output_dir_remove(temp);
    assert_true(path_exists(inside));
    free(path);
    free(with_slash);
    free(inside);
}

static void test_directory_abandoned(void **state)
{
    (void)state;
    char *path = path_of("other");
    char temp[SHOAL_MAX_PATH], kept[SHOAL_MAX_PATH], file[SHOAL_MAX_PATH];
    assert_int_equal(output_dir_make(temp, path), SHOAL_OK);
    strcpy(kept, temp);
    assert_int_equal(path_format(file, "%s/inside", temp), SHOAL_OK);
    write_text(file, "text");
    /* Somebody else was quicker; an empty directory would be replaced without a word. */
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(output_dir_commit(temp, path), SHOAL_EIO);
    output_dir_remove(temp);
    assert_false(path_exists(kept));
    assert_true(path_is_dir(path));
    assert_int_equal(output_dir_make(temp, scratch_path(&scratch, "no/dir")), SHOAL_EIO);
    assert_failure_says("no/dir");
    output_dir_remove(temp);
    free(path);
}

static void test_input(void **state)
{
    (void)state;
    char *path = path_of("input"), data[4] = "";
    struct input in = INPUT_CLOSED;
    input_close(&in);
    write_text(path, "0123456789");
    assert_int_equal(input_open(&in, path), SHOAL_OK);
    assert_int_equal(in.bytes, 10);
    assert_int_equal(input_read(&in, data, 7, 3), SHOAL_OK);
    assert_string_equal(data, "789");
    assert_int_equal(input_read(&in, data, 10, 0), SHOAL_OK);
    static const int64_t outside[][2] = {{8, 3},         {11, 0},        {-1, 1},
                                         {0, -1},        {0, 11},        {INT64_MAX, INT64_MAX},
                                         {1, INT64_MAX}, {INT64_MIN, 1}, {INT64_MAX, 1}};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        assert_int_equal(input_read(&in, data, outside[i][0], outside[i][1]), SHOAL_EFORMAT);
        assert_failure_says("is truncated");
    }
    assert_int_equal(truncate(path, 5), 0);
    assert_int_equal(input_read(&in, data, 4, 3), SHOAL_EIO);
    assert_failure_says("became shorter");
    input_close(&in);
    free(path);
}

static void test_no_input(void **state)
{
    (void)state;
    char *pipe = path_of("pipe");
    struct input in;
    assert_int_equal(input_open(&in, scratch_path(&scratch, "missing")), SHOAL_EIO);
    assert_int_equal(input_open(&in, scratch.dir), SHOAL_EIO);
    assert_failure_says("not a file");
    assert_int_equal(mkfifo(pipe, 0600), 0); /* opening it would wait for ever */
    assert_int_equal(input_open(&in, pipe), SHOAL_EIO);
    input_close(&in);
    free(pipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output),         cmocka_unit_test(test_output_abandoned),
        cmocka_unit_test(test_directory),      cmocka_unit_test(test_directory_abandoned),
        cmocka_unit_test(test_input),          cmocka_unit_test(test_no_input),
        cmocka_unit_test(test_refuse_existing)};
    return cmocka_run_group_tests_name("pieces", tests, open_scratch, close_scratch);
}
