/* test_damage.c - files that are not what they claim to be: always a message, never a crash, never
 * wrong numbers. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "snapshot/world.h"

/* Read a shard of expert 1 with everything in it. */
static enum shoal_status try_reading(const char *path, struct expert *into, struct outlier *outlier)
{
    struct shard_past past = {.n_judgings = 0};
    const enum shoal_status st = shard_read(path, into, &past);
    *outlier = past.outlier;
    mem_free(past.judgings);
    mem_free(past.lineage);
    return st;
}

static void expect_refused(struct world *w, const char *path, const char *says)
{
    struct expert *e = expert_make(w, 1, true, 9);
    struct outlier outlier;
    assert_int_equal(try_reading(path, e, &outlier), SHOAL_EFORMAT);
    assert_failure_says(path);
    assert_failure_says(says);
    expert_destroy(&e);
}

/* A good shard of expert 1 to damage, in w->path. */
static struct expert *good_shard(struct world *w)
{
    struct expert *e = expert_make(w, 1, true, 7);
    assert_int_equal(write_expert(w, world_path(w, "shard.h5"), e), SHOAL_OK);
    return e;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void test_truncated(void **state)
{
    struct world *w = *state;
    struct expert *e = good_shard(w);
    char *data = NULL;
    size_t bytes = 0;
    assert_int_equal(file_read(w->path, &data, &bytes), SHOAL_OK);
    for (size_t part = 1; part < 16; part++) {
        assert_int_equal(file_write(w->path, data, bytes * part / 16), SHOAL_OK);
        expect_refused(w, w->path, "truncated");
    }
    assert_int_equal(file_write(w->path, data, 0), SHOAL_OK);
    expect_refused(w, w->path, "is not a shoal snapshot: not an HDF5 file");
    mem_free(data);
    expert_destroy(&e);
}

/* Whether reading a damaged file fails, or gives exactly what the good file gives. */
static bool noticed_or_harmless(const struct world *w, const struct expert *e, struct expert *back,
                                bool *noticed)
{
    struct shard_info info;
    struct outlier outlier;
    *noticed = shard_read_info(w->path, &info) != SHOAL_OK;
    if (*noticed) return true;
    const bool same = strcmp(info.run_id, RUN_ID) == 0 && strcmp(info.config, w->text) == 0 &&
                      info.step == e->step && info.tokens == e->tokens && info.worker == 1 &&
                      info.parent == e->parent;
    shard_info_free(&info);
    *noticed = try_reading(w->path, back, &outlier) != SHOAL_OK;
    return *noticed || (same && same_expert(e, back) && same_outlier(&outlier));
}

static void put_byte(const char *path, size_t at, int byte)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fputc(byte, file), byte);
    assert_int_equal(fclose(file), 0);
}

/* If a heap of variable-length text begins here, its size. HDF5 has no checksum there, and versions
 * before 1.14 may crash on a damaged one; the text itself has ours (test_flipped_text). */
static size_t text_heap_bytes(const uint8_t *at, size_t left)
{
    uint64_t size = 0;
    if (left < 16 || memcmp(at, "GCOL\1", 5) != 0) return 0;
    for (int i = 7; i >= 0; i--)
        size = size << 8 | at[8 + i];
    assert_true(size > 16 && size <= left);
    return (size_t)size;
}

/* One bit flipped at places spread over the whole file, structure and numbers alike. */
static void test_flipped_bits(void **state)
{
    struct world *w = *state;
    struct expert *e = good_shard(w), *back = expert_make(w, 1, true, 9);
    char *data = NULL;
    size_t bytes = 0, tried = 0, seen = 0;
    assert_int_equal(file_read(w->path, &data, &bytes), SHOAL_OK);
    const uint8_t *byte = (const uint8_t *)data;
    const char *given = getenv("SHOAL_FLIP_STRIDE"); /* 1: every byte */
    const size_t stride = given ? (size_t)atol(given) : bytes / 150;
    size_t next = 0;
    for (size_t at = 0; at < bytes; at++) {
        const size_t heap = text_heap_bytes(byte + at, bytes - at);
        if (heap) at += heap - 1;
        if (heap || at < next) continue;
        next = at + stride;
        bool noticed = false;
        put_byte(w->path, at, byte[at] ^ (1 << (at % 8)));
        if (!noticed_or_harmless(w, e, back, &noticed))
            fail_msg("a bit flipped in byte %zu of %zu went unnoticed", at, bytes);
        put_byte(w->path, at, byte[at]);
        seen += noticed;
        tried++;
    }
    if (given) print_message("%zu of %zu flips noticed\n", seen, tried);
    assert_true(tried > 100 && 2 * seen > tried);
    mem_free(data);
    expert_destroy(&e);
    expert_destroy(&back);
}

/* The configuration, which HDF5 would hand out damaged. */
static void test_flipped_text(void **state)
{
    struct world *w = *state;
    struct expert *e = good_shard(w);
    char *data = NULL;
    size_t bytes = 0, found = 0;
    assert_int_equal(file_read(w->path, &data, &bytes), SHOAL_OK);
    for (size_t at = 0; at + 16 < bytes; at++) {
        if (memcmp(data + at, w->text, 16) != 0) continue;
        put_byte(w->path, at + 20, data[at + 20] ^ 1);
        found++;
    }
    assert_int_equal(found, 1);
    expect_refused(w, w->path, "do not match their checksum");
    mem_free(data);
    expert_destroy(&e);
}

/* A flipped bit in the numbers of a tensor is reported with the tensor's name. */
static void test_flipped_weight(void **state)
{
    struct world *w = *state;
    struct expert *e = good_shard(w);
    const struct param_tensor *t = param_get(w->table, PARAM_LNF_G, 0);
    char *data = NULL;
    size_t bytes = 0, found = 0;
    assert_int_equal(file_read(w->path, &data, &bytes), SHOAL_OK);
    for (size_t at = 0; at + 32 < bytes; at++) {
        if (memcmp(data + at, e->weights + t->offset, 32) != 0) continue;
        put_byte(w->path, at + 5, (uint8_t)data[at + 5] ^ 64);
        found++;
    }
    assert_int_equal(found, 1);
    expect_refused(w, w->path, "cannot read /params/ln_f/weight");
    assert_failure_says("Fletcher32");
    mem_free(data);
    expert_destroy(&e);
}

/* ---- structure ------------------------------------------------------------------------------- */

static hid_t open_to_edit(const char *path)
{
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

static void test_missing_dataset(void **state)
{
    struct world *w = *state;
    const char *const names[] = {
        "/params/h/1/attn/c_attn/weight",  "/optim/m/wpe/weight",   "/optim/v/ln_f/bias",
        "/evo/own_best/h/0/mlp/c_fc/bias", "/state/outlier/window", "/history/judgings"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct expert *e = good_shard(w);
        char says[128];
        const hid_t file = open_to_edit(w->path);
        assert_true(H5Ldelete(file, names[i], H5P_DEFAULT) >= 0);
        assert_true(H5Fclose(file) >= 0);
        snprintf(says, sizeof says, "dataset %s is missing", names[i]);
        expect_refused(w, w->path, says);
        expert_destroy(&e);
    }
}

/* Not damage: versions that did not look for outliers wrote none. */
static void test_no_outliers(void **state)
{
    struct world *w = *state;
    struct expert *e = good_shard(w), *back = expert_make(w, 1, true, 9);
    struct outlier outlier;
    const hid_t file = open_to_edit(w->path);
    assert_true(H5Ldelete(file, "/state/outlier", H5P_DEFAULT) >= 0);
    assert_true(H5Fclose(file) >= 0);
    assert_int_equal(try_reading(w->path, back, &outlier), SHOAL_OK);
    assert_true(same_expert(e, back));
    assert_true(outlier.n == 0 && outlier.in_a_row == 0 && outlier.skipped == 0);
    expert_destroy(&e);
    expert_destroy(&back);
}

static void test_missing_group(void **state)
{
    struct world *w = *state;
    const char *const names[][2] = {{"/params", "dataset /params/wte/weight is missing"},
                                    {"/optim", "weights only"},
                                    {"/state", "weights only"},
                                    {"/evo", "/evo/velocity"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct expert *e = good_shard(w);
        const hid_t file = open_to_edit(w->path);
        assert_true(H5Ldelete(file, names[i][0], H5P_DEFAULT) >= 0);
        assert_true(H5Fclose(file) >= 0);
        expect_refused(w, w->path, names[i][1]);
        expert_destroy(&e);
    }
}

/* Put a dataset of another shape or type in a tensor's place. */
static void replace_tensor(const char *path, const char *name, hid_t type, hsize_t rows,
                           hsize_t cols)
{
    const hid_t file = open_to_edit(path);
    const hsize_t dim[2] = {rows, cols};
    const hid_t space = H5Screate_simple(2, dim, NULL);
    assert_true(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
    const hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(set >= 0 && H5Dclose(set) >= 0 && H5Sclose(space) >= 0 && H5Fclose(file) >= 0);
}

static void test_wrong_shape(void **state)
{
    struct world *w = *state;
    struct expert *e = good_shard(w);
    /* (out, in) where Hugging Face's (in, out) belongs: the classic. */
    replace_tensor(w->path, "/params/h/0/attn/c_attn/weight", H5T_IEEE_F32LE, 60, 20);
    expect_refused(w, w->path,
                   "/params/h/0/attn/c_attn/weight has shape (60, 20), expected (20, 60)");
    replace_tensor(w->path, "/params/wte/weight", H5T_STD_I32LE, 61, 20);
    expect_refused(w, w->path, "/params/wte/weight does not hold floating-point numbers");
    expert_destroy(&e);
}

/* A shard of another model, as after a change of model.width. */
static void test_other_model(void **state)
{
    struct world *w = *state;
    struct expert *e = good_shard(w), *wide = NULL;
    struct gpt_shape shape = config_shape(&w->config);
    struct param_table *table = NULL;
    shape.width = 24;
    assert_int_equal(param_table_create(&shape, &table), SHOAL_OK);
    assert_int_equal(expert_create(w->dev, table, 1, false, false, &wide), SHOAL_OK);
    assert_int_equal(shard_read_weights(w->path, table, w->dev, wide->weights), SHOAL_EFORMAT);
    assert_failure_says("/params/wte/weight has shape (61, 20), expected (61, 24)");
    expert_destroy(&wide);
    expert_destroy(&e);
    param_table_destroy(&table);
}

static void set_int_attribute(const char *path, const char *name, int64_t value)
{
    const hid_t file = open_to_edit(path);
    const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    assert_true(attribute >= 0 && H5Awrite(attribute, H5T_NATIVE_INT64, &value) >= 0);
    assert_true(H5Aclose(attribute) >= 0 && H5Fclose(file) >= 0);
}

static void test_attributes(void **state)
{
    struct world *w = *state;
    struct expert *e = good_shard(w);
    set_int_attribute(w->path, "format_version", 2);
    expect_refused(w, w->path, "format version 2, this program reads 1");
    set_int_attribute(w->path, "format_version", 1);
    set_int_attribute(w->path, "parent", -7);
    expect_refused(w, w->path, "attribute 'parent' of / is -7");
    const hid_t file = open_to_edit(w->path);
    assert_true(H5Adelete(file, "tokens") >= 0 && H5Fclose(file) >= 0);
    expect_refused(w, w->path, "attribute 'tokens' of / is missing");
    expert_destroy(&e);
}

/* ---- not a snapshot at all ------------------------------------------------------------------- */

static void test_not_a_snapshot(void **state)
{
    struct world *w = *state;
    char shard[SHOAL_MAX_PATH];
    const char *path = world_path(w, "poem.txt");
    assert_int_equal(file_write(path, "It was many and many a year ago", 31), SHOAL_OK);
    assert_int_equal(snapshot_resolve(path, shard), SHOAL_EFORMAT);
    assert_failure_says("poem.txt is not a shoal snapshot: not an HDF5 file");

    path = world_path(w, "missing.h5");
    assert_int_equal(snapshot_resolve(path, shard), SHOAL_EIO);
    assert_failure_says("missing.h5: no such file");

    path = world_path(w, "a-directory");
    assert_int_equal(dir_make(path), SHOAL_OK);
    assert_int_equal(snapshot_resolve(path, shard), SHOAL_EFORMAT);
    assert_failure_says("a-directory is not a run directory");

    path = world_path(w, "other.h5");
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0 && H5Fclose(file) >= 0);
    assert_int_equal(snapshot_resolve(path, shard), SHOAL_EFORMAT);
    assert_failure_says("other.h5 is not a shoal snapshot: an HDF5 file without");
}

/* A shard where an index belongs, and the other way round. */
static void test_mistaken(void **state)
{
    struct world *w = *state;
    struct expert *e = good_shard(w);
    struct snapshot_index index;
    assert_int_equal(index_read(w->path, &index), SHOAL_EFORMAT);
    assert_failure_says("has the format 'shoal-expert', expected 'shoal-snapshot'");
    char path[SHOAL_MAX_PATH];
    run_write(w, world_path(w, "run"), 8, 0);
    assert_int_equal(run_index_path(path, w->path, 8), SHOAL_OK);
    expect_refused(w, path, "has the format 'shoal-snapshot', expected 'shoal-expert'");
    expert_destroy(&e);
}

/* What the library forgets when it gives up on a damaged file is not ours to free. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated),       cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_flipped_text),    cmocka_unit_test(test_flipped_weight),
        cmocka_unit_test(test_missing_dataset), cmocka_unit_test(test_no_outliers),
        cmocka_unit_test(test_missing_group),   cmocka_unit_test(test_wrong_shape),
        cmocka_unit_test(test_other_model),     cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_not_a_snapshot),  cmocka_unit_test(test_mistaken),
    };
    return cmocka_run_group_tests_name("damage", tests, world_open, world_close);
}
