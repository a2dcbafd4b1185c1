/* test_h5.c - datasets of every size: chunks stay near 1 MiB and everything comes back. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/memory.h"
#include "snapshot/h5.h"
#include "snapshot/world.h"

static struct h5_shape shape2(hsize_t rows, hsize_t cols)
{
    return (struct h5_shape){2, {rows, cols}, {"rows", "columns"}};
}

/* Write, look at the chunks, read back. */
static void round_trip(struct world *w, const struct h5_shape *shape, hsize_t chunk0,
                       hsize_t chunk1)
{
    const size_t n = (size_t)(shape->dim[0] * (shape->rank == 2 ? shape->dim[1] : 1));
    float *data = NULL, *back = NULL;
    assert_int_equal(mem_alloc(n * sizeof *data, "data", &data), SHOAL_OK);
    assert_int_equal(mem_alloc(n * sizeof *back, "data", &back), SHOAL_OK);
    for (size_t i = 0; i < n; i++)
        data[i] = (float)i;
    struct h5 h = H5_CLOSED;
    assert_int_equal(h5_create(&h, world_path(w, "data.h5")), SHOAL_OK);
    assert_int_equal(h5_write(&h, "/some/where", KIND_F32, shape, data), SHOAL_OK);
    assert_int_equal(h5_commit(&h, NULL), SHOAL_OK);

    hid_t dataset = -1;
    hsize_t chunk[2] = {0, 0};
    assert_int_equal(h5_open(&h, w->path), SHOAL_OK);
    assert_int_equal(h5_open_dataset(&h, "/some/where", &dataset), SHOAL_OK);
    const hid_t list = H5Dget_create_plist(dataset);
    assert_int_equal(H5Pget_chunk(list, 2, chunk), shape->rank);
    assert_int_equal(chunk[0], chunk0);
    assert_int_equal(chunk[1], chunk1);
    assert_true(H5Pclose(list) >= 0 && H5Dclose(dataset) >= 0);
    assert_int_equal(h5_read(&h, "/some/where", KIND_F32, shape, back), SHOAL_OK);
    assert_memory_equal(data, back, n * sizeof *data);
    h5_close(&h);
    mem_free(data);
    mem_free(back);
}

static void test_chunks(void **state)
{
    struct world *w = *state;
    const struct h5_shape vector = {1, {700001, 0}, {"values", ""}};
    const struct h5_shape small = shape2(7, 5), tall = shape2(700, 1000), wide = shape2(3, 300000);
    round_trip(w, &vector, 233334, 0);
    round_trip(w, &small, 7, 5);
    round_trip(w, &tall, 234, 1000);
    round_trip(w, &wide, 1, 150000);
}

/* The library compares the checksums that are made here with those it makes itself. */
static void test_checksums(void **state)
{
    struct world *w = *state;
    const hsize_t size[] = {1, 2, 3, 2047, 2048, 2049, 4095, 4096, 4097, 262144, 262145};
    const uint32_t pattern[] = {0, 0xffffffffu, 0x00010000u, 0xffff0000u, 0x12345678u, 0x00ff00ffu};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        uint32_t *data = NULL, *back = NULL;
        const size_t bytes = (size_t)size[i] * sizeof *data;
        const struct h5_shape shape = {1, {size[i], 0}, {"values", ""}};
        assert_int_equal(mem_alloc(bytes, "data", &data), SHOAL_OK);
        assert_int_equal(mem_alloc(bytes, "data", &back), SHOAL_OK);
        for (size_t p = 0; p < sizeof pattern / sizeof *pattern; p++) {
            for (size_t at = 0; at < (size_t)size[i]; at++)
                data[at] = pattern[p] == 0x12345678u ? pattern[p] * (uint32_t)(at + 1) : pattern[p];
            struct h5 h = H5_CLOSED;
            assert_int_equal(h5_create(&h, world_path(w, "sums.h5")), SHOAL_OK);
            assert_int_equal(h5_write(&h, "/data", KIND_F32, &shape, data), SHOAL_OK);
            assert_int_equal(h5_commit(&h, NULL), SHOAL_OK);
            assert_int_equal(h5_open(&h, w->path), SHOAL_OK);
            assert_int_equal(h5_read(&h, "/data", KIND_F32, &shape, back), SHOAL_OK);
            assert_memory_equal(data, back, bytes);
            h5_close(&h);
        }
        mem_free(data);
        mem_free(back);
    }
}

static void test_empty(void **state)
{
    const struct h5_shape none = shape2(0, 4);
    round_trip(*state, &none, 1, 4);
}

/* ---- tables ---------------------------------------------------------------------------------- */

struct row {
    int32_t id;
    double value;
    char not_stored[13];
    int64_t big;
};
static const struct h5_column column[] = {{"id", KIND_I32, offsetof(struct row, id)},
                                          {"value", KIND_F64, offsetof(struct row, value)},
                                          {"big", KIND_I64, offsetof(struct row, big)}};
static const struct h5_columns two_columns = {column, 2, sizeof(struct row)};
static const struct h5_columns all_columns = {column, 3, sizeof(struct row)};

static void test_table(void **state)
{
    struct world *w = *state;
    const struct row rows[] = {{1, 0.5, "abc", INT64_MAX}, {-2, -0.0, "", INT64_MIN}};
    struct row *back = NULL;
    int64_t n = 0;
    struct h5 h = H5_CLOSED;
    assert_int_equal(h5_create(&h, world_path(w, "table.h5")), SHOAL_OK);
    assert_int_equal(h5_write_table(&h, "/all", &all_columns, rows, 2), SHOAL_OK);
    assert_int_equal(h5_write_table(&h, "/two", &two_columns, rows, 2), SHOAL_OK);
    assert_int_equal(h5_commit(&h, NULL), SHOAL_OK);
    assert_int_equal(h5_open(&h, w->path), SHOAL_OK);
    assert_int_equal(h5_read_table(&h, "/all", &all_columns, &back, &n), SHOAL_OK);
    assert_int_equal(n, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(back[i].id, rows[i].id);
        assert_memory_equal(&back[i].value, &rows[i].value, sizeof(double));
        assert_true(back[i].big == rows[i].big);
    }
    mem_free(back);
    assert_int_equal(h5_read_table(&h, "/two", &all_columns, &back, &n), SHOAL_EFORMAT);
    assert_failure_says("table /two has no column 'big'");
    h5_close(&h);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* What is not committed leaves nothing behind, and an earlier file as it was. */
static void test_not_committed(void **state)
{
    struct world *w = *state;
    char temp[SHOAL_MAX_PATH];
    size_t n = 0;
    struct h5 h = H5_CLOSED;
    write_text(world_path(w, "earlier.h5"), "earlier");
    assert_int_equal(h5_create(&h, w->path), SHOAL_OK);
    strcpy(temp, h.temp);
    assert_true(path_exists(temp));
    assert_int_equal(h5_set_int(&h, "/", "step", 1), SHOAL_OK);
    h5_close(&h);
    assert_false(path_exists(temp));
    uint8_t *text = read_bytes(w->path, &n);
    assert_string_equal((const char *)text, "earlier");
    free(text);
}

/* A disk that turns out to be full while a file is written: that file fails, nothing of it stays,
 * and others can still be written. In a process of its own, whose end must be a good one too. */
static void write_on_a_full_disk(const char *path)
{
    enum { COUNT = 1 << 20 };
    const struct rlimit limit = {1 << 20, 1 << 20};
    const struct h5_shape large = {1, {COUNT, 0}, {"number", ""}},
                          small = {1, {100, 0}, {"number", ""}};
    float *numbers = calloc(COUNT, sizeof *numbers);
    struct h5 h;
    assert_non_null(numbers);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR && setrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (int trial = 0; trial < 3; trial++) {
        assert_int_equal(h5_create(&h, path), SHOAL_OK);
        assert_int_equal(h5_reserve(&h, INT64_C(1) << 60), SHOAL_EIO);
        enum shoal_status st = h5_write(&h, "/small", KIND_F32, &small, numbers);
        if (st == SHOAL_OK) st = h5_write(&h, "/large", KIND_F32, &large, numbers);
        if (st == SHOAL_OK) st = h5_commit(&h, NULL);
        assert_int_equal(st, SHOAL_EIO);
        h5_close(&h);
        assert_false(path_exists(path));
        assert_int_equal(h5_create(&h, path), SHOAL_OK);
        assert_int_equal(h5_write(&h, "/small", KIND_F32, &small, numbers), SHOAL_OK);
        assert_int_equal(h5_commit(&h, NULL), SHOAL_OK);
        assert_int_equal(remove(path), 0);
    }
    free(numbers);
    exit(0); /* with what the library does at an exit */
}

static void test_full_disk(void **state)
{
    struct world *w = *state;
    const char *path = world_path(w, "full.h5");
    int how = 0;
    fflush(stdout);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) write_on_a_full_disk(path);
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_int_equal(dir_sweep_temps(w->scratch.dir), SHOAL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks),        cmocka_unit_test(test_checksums),
        cmocka_unit_test(test_empty),         cmocka_unit_test(test_table),
        cmocka_unit_test(test_not_committed), cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests_name("h5", tests, world_open, world_close);
}
