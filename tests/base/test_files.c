#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/files.h"
#include "base/memory.h"
#include "support.h"

static int setup(void **state)
{
    struct scratch *s = calloc(1, sizeof *s);
    assert_non_null(s);
    scratch_make(s);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* A copy of scratch_path that stays. */
static void place(char *out, void **state, const char *name)
{
    snprintf(out, SHOAL_MAX_PATH, "%s", scratch_path(*state, name));
}

static void test_paths(void **state)
{
    (void)state;
    char out[SHOAL_MAX_PATH], longer[SHOAL_MAX_PATH + 1];
    assert_int_equal(path_format(out, "a/%d", 7), SHOAL_OK);
    assert_string_equal(out, "a/7");
    memset(longer, 'x', SHOAL_MAX_PATH);
    longer[SHOAL_MAX_PATH] = 0;
    assert_int_equal(path_format(out, "%s", longer), SHOAL_EARG);
    assert_int_equal(path_format(out, "%s", longer + 1), SHOAL_OK);
}

static void test_directories(void **state)
{
    char path[SHOAL_MAX_PATH];
    place(path, state, "a/b/c");
    assert_false(path_exists(path));
    assert_int_equal(dir_make(path), SHOAL_OK);
    assert_int_equal(dir_make(path), SHOAL_OK);
    assert_true(path_is_dir(path));
    place(path, state, "a/b/d/");
    assert_int_equal(dir_make(path), SHOAL_OK);
    assert_true(path_is_dir(path));

    place(path, state, "file");
    write_text(path, "x");
    assert_true(path_exists(path));
    assert_false(path_is_dir(path));
    assert_int_equal(dir_make(path), SHOAL_EIO);
    place(path, state, "file/below");
    assert_int_equal(dir_make(path), SHOAL_EIO);
    assert_failure_says("file");
    assert_int_equal(dir_make(""), SHOAL_EARG);
}

static void test_write_and_read(void **state)
{
    char path[SHOAL_MAX_PATH], *data;
    size_t bytes;
    place(path, state, "x");
    assert_int_equal(file_write(path, "first", 5), SHOAL_OK);
    assert_int_equal(file_write(path, "se\0ond", 6), SHOAL_OK);
    assert_int_equal(file_read(path, &data, &bytes), SHOAL_OK);
    assert_int_equal(bytes, 6);
    assert_memory_equal(data, "se\0ond", 7);
    mem_free(data);
    assert_int_equal(file_write(path, "", 0), SHOAL_OK);
    assert_int_equal(file_read(path, &data, &bytes), SHOAL_OK);
    assert_int_equal(bytes, 0);
    mem_free(data);
}

static void test_what_cannot_be_read(void **state)
{
    char path[SHOAL_MAX_PATH], *data;
    size_t bytes;
    place(path, state, "missing");
    assert_int_equal(file_read(path, &data, &bytes), SHOAL_EIO);
    assert_failure_says("missing");
    place(path, state, ".");
    assert_int_equal(file_read(path, &data, &bytes), SHOAL_EIO);
    assert_failure_says("not a file");
    place(path, state, "missing/x");
    assert_int_equal(file_write(path, "x", 1), SHOAL_EIO);
    assert_failure_says("missing/x");
}

static void test_temporary_names(void **state)
{
    (void)state;
    char temp[SHOAL_MAX_PATH], expected[SHOAL_MAX_PATH];
    assert_int_equal(file_temp_name(temp, "dir/name.h5"), SHOAL_OK);
    snprintf(expected, sizeof expected, "dir/.tmp-name.h5-%ld", (long)getpid());
    assert_string_equal(temp, expected);
    assert_int_equal(file_temp_name(temp, "name.h5"), SHOAL_OK);
    assert_string_equal(temp, expected + 4);
}

/* A commit that fails leaves the old file and no temporary one. */
static void test_failed_commit(void **state)
{
    char temp[SHOAL_MAX_PATH], path[SHOAL_MAX_PATH];
    place(path, state, "d");
    assert_int_equal(dir_make(path), SHOAL_OK);
    assert_int_equal(file_temp_name(temp, path), SHOAL_OK);
    write_text(temp, "new");
    assert_int_equal(file_commit(temp, path), SHOAL_EIO); /* a directory is in the way */
    assert_true(path_is_dir(path));
    assert_false(path_exists(temp));
    assert_int_equal(file_commit(temp, path), SHOAL_EIO); /* nothing to commit */
}

static void test_links(void **state)
{
    char link[SHOAL_MAX_PATH], target[64] = "";
    place(link, state, "latest");
    assert_int_equal(link_replace(link, "one"), SHOAL_OK);
    assert_int_equal(link_replace(link, "two"), SHOAL_OK);
    assert_int_equal(readlink(link, target, sizeof target - 1), 3);
    assert_string_equal(target, "two");
    /* A process of the same number was killed between making the link and renaming it. */
    char temp[SHOAL_MAX_PATH];
    assert_int_equal(file_temp_name(temp, link), SHOAL_OK);
    assert_int_equal(symlink("half", temp), 0);
    assert_int_equal(link_replace(link, "one"), SHOAL_OK);
    place(link, state, "missing/latest");
    assert_int_equal(link_replace(link, "two"), SHOAL_EIO);
}

static void test_sweep(void **state)
{
    char temp[SHOAL_MAX_PATH], kept[SHOAL_MAX_PATH], dir[SHOAL_MAX_PATH];
    place(temp, state, ".tmp-x.h5-123");
    place(kept, state, "x.tmp-1");
    place(dir, state, "");
    write_text(temp, "half");
    write_text(kept, "whole");
    assert_int_equal(dir_sweep_temps(dir), SHOAL_OK);
    assert_false(path_exists(temp));
    assert_true(path_exists(kept));
    place(dir, state, "missing");
    assert_int_equal(dir_sweep_temps(dir), SHOAL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directories, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_temporary_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_links, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
