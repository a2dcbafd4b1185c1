/* The digest against values that the reference implementation of XXH64 gives. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include "base/digest.h"
#include "base/files.h"
#include "support.h"

static uint64_t digest_of(const void *data, size_t bytes)
{
    struct digest d;
    digest_begin(&d);
    digest_add(&d, data, bytes);
    return digest_value(&d);
}

static void known_values(void **state)
{
    (void)state;
    const struct {
        const char *text;
        uint64_t digest;
    } known[] = {{"", 0xef46db3751d8e999u},
                 {"a", 0xd24ec4f1a98c6e5bu},
                 {"abc", 0x44bc2cf5ad770999u},
                 {"Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1u}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_true(digest_of(known[i].text, strlen(known[i].text)) == known[i].digest);
}

static void portions_do_not_matter(void **state)
{
    (void)state;
    unsigned char data[199];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 37 + 11);
    const uint64_t whole = digest_of(data, sizeof data);
    for (size_t part = 1; part < sizeof data; part++) {
        struct digest d;
        digest_begin(&d);
        for (size_t at = 0; at < sizeof data; at += part)
            digest_add(&d, data + at, sizeof data - at < part ? sizeof data - at : part);
        assert_true(digest_value(&d) == whole);
    }
}

static void every_bit_matters(void **state)
{
    (void)state;
    unsigned char data[71] = {1, 2, 3};
    const uint64_t whole = digest_of(data, sizeof data);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_true(digest_of(data, sizeof data) != whole);
        data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}

static void files(void **state)
{
    (void)state;
    struct scratch scratch;
    char path[SHOAL_MAX_PATH];
    uint64_t digest = 0;
    int64_t bytes = 0;
    scratch_make(&scratch);
    assert_int_equal(path_format(path, "%s/file", scratch.dir), SHOAL_OK);
    assert_int_equal(file_write(path, "12345abc", 8), SHOAL_OK);
    assert_int_equal(digest_file(path, 5, &digest, &bytes), SHOAL_OK);
    assert_true(digest == 0x44bc2cf5ad770999u && bytes == 3);
    assert_int_equal(digest_file(path, 8, &digest, &bytes), SHOAL_OK);
    assert_true(digest == 0xef46db3751d8e999u && bytes == 0);
    assert_int_equal(digest_file(path, 9, &digest, &bytes), SHOAL_EFORMAT);
    assert_int_equal(path_format(path, "%s/nothing", scratch.dir), SHOAL_OK);
    assert_int_equal(digest_file(path, 0, &digest, &bytes), SHOAL_EIO);
    scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(portions_do_not_matter),
        cmocka_unit_test(every_bit_matters),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
