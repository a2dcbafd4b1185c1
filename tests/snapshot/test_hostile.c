/* test_hostile.c - files that are in order as HDF5 goes and were made to do harm: to read other
 * files, to take more memory than they have bytes, never to end. tests/fuzz looks for more of the
 * kind. */
#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/memory.h"
#include "snapshot/seal.h"
#include "snapshot/verify.h"
#include "snapshot/world.h"

static const char tensor[] = "/params/wte/weight";

/* A good shard of expert 1 in w->path, open to be changed. */
static hid_t good_shard(struct world *w)
{
    struct expert *e = expert_make(w, 1, true, 7);
    assert_int_equal(write_expert(w, world_path(w, "shard.h5"), e), SHOAL_OK);
    expert_destroy(&e);
    const hid_t file = H5Fopen(w->path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

static void close_sealed(hid_t file, const char *path)
{
    assert_true(H5Fclose(file) >= 0);
    assert_int_equal(seal_write(path), SHOAL_OK);
}

static void expect_refused(struct world *w, const char *says)
{
    struct expert *e = expert_make(w, 1, true, 9);
    struct shard_past past = {.n_judgings = 0};
    assert_int_equal(shard_read(w->path, e, &past), SHOAL_EFORMAT);
    assert_failure_says(w->path);
    assert_failure_says(says);
    assert_int_equal(shard_check(w->path), SHOAL_EFORMAT);
    expert_destroy(&e);
}

/* ---- other files ----------------------------------------------------------------------------- */

/* Another expert's weights, and what any program could have written. */
static void test_links(void **state)
{
    struct world *w = *state;
    struct expert *e = expert_make(w, 1, true, 8);
    char secret[SHOAL_MAX_PATH];
    assert_int_equal(write_expert(w, world_path(w, "secret.h5"), e), SHOAL_OK);
    assert_int_equal(path_format(secret, "%s", w->path), SHOAL_OK);
    const char *const targets[] = {"secret.h5", secret, "../secret.h5", NULL};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        const hid_t file = good_shard(w);
        assert_true(H5Ldelete(file, "/params", H5P_DEFAULT) >= 0);
        if (targets[i])
            assert_true(H5Lcreate_external(targets[i], "/params", file, "/params", H5P_DEFAULT,
                                           H5P_DEFAULT) >= 0);
        else
            assert_true(H5Lcreate_soft("/optim/m", file, "/params", H5P_DEFAULT, H5P_DEFAULT) >= 0);
        close_sealed(file, w->path);
        expect_refused(w, "dataset /params/wte/weight is missing");
    }
    expert_destroy(&e);
}

/* A dataset in the place of a tensor of 61 by 20. */
static void replace(struct world *w, hid_t file, hid_t how, bool written)
{
    static const float numbers[61 * 20];
    const hsize_t dim[2] = {61, 20};
    const hid_t space = H5Screate_simple(2, dim, NULL);
    assert_true(H5Ldelete(file, tensor, H5P_DEFAULT) >= 0);
    const hid_t set =
        H5Dcreate2(file, tensor, H5T_IEEE_F32LE, space, H5P_DEFAULT, how, H5P_DEFAULT);
    assert_true(set >= 0);
    if (written)
        assert_true(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, numbers) >= 0);
    assert_true(H5Dclose(set) >= 0 && H5Sclose(space) >= 0 && H5Pclose(how) >= 0);
    close_sealed(file, w->path);
}

static void test_storage(void **state)
{
    struct world *w = *state;
    const hsize_t dim[2] = {61, 20};
    static const char secret[61 * 20 * 4] = "secret";
    write_bytes(world_path(w, "secret.bin"), secret, sizeof secret);

    hid_t file = good_shard(w), how = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Pset_external(how, "secret.bin", 0, sizeof secret) >= 0);
    replace(w, file, how, false);
    expect_refused(w, "/params/wte/weight is compressed or stored outside the file");

    file = good_shard(w);
    how = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t space = H5Screate_simple(2, dim, NULL);
    assert_true(H5Pset_virtual(how, space, "secret.h5", tensor, space) >= 0);
    assert_true(H5Sclose(space) >= 0);
    replace(w, file, how, false);
    expect_refused(w, "/params/wte/weight is compressed or stored outside the file");

    file = good_shard(w);
    how = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(H5Pset_chunk(how, 2, dim) >= 0 && H5Pset_deflate(how, 9) >= 0);
    replace(w, file, how, true);
    expect_refused(w, "/params/wte/weight is compressed or stored outside the file");

    file = good_shard(w);
    replace(w, file, H5Pcreate(H5P_DATASET_CREATE), false);
    expect_refused(w, "/params/wte/weight has more numbers than the file has room for");
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* A history of so many rows that their bytes, counted in 64 bits, are few. */
static void test_long_table(void **state)
{
    struct world *w = *state;
    const hsize_t chunk = 1, rows[] = {(hsize_t)1 << 59, ((hsize_t)1 << 59) + 1, 1 << 30};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const hid_t file = good_shard(w), how = H5Pcreate(H5P_DATASET_CREATE);
        const hid_t old = H5Dopen2(file, "/history/judgings", H5P_DEFAULT);
        const hid_t type = H5Dget_type(old), space = H5Screate_simple(1, &rows[i], NULL);
        assert_true(H5Pset_chunk(how, 1, &chunk) >= 0 && H5Dclose(old) >= 0);
        assert_true(H5Ldelete(file, "/history/judgings", H5P_DEFAULT) >= 0);
        const hid_t set =
            H5Dcreate2(file, "/history/judgings", type, space, H5P_DEFAULT, how, H5P_DEFAULT);
        assert_true(set >= 0 && H5Dclose(set) >= 0 && H5Tclose(type) >= 0);
        assert_true(H5Sclose(space) >= 0 && H5Pclose(how) >= 0);
        close_sealed(file, w->path);
        expect_refused(w, "/history/judgings has more numbers than the file has room for");
    }
}

/* Rows of nothing, as many as can be counted. */
static void test_endless(void **state)
{
    struct world *w = *state;
    const hsize_t dim[2] = {(hsize_t)1 << 60, 0};
    const hid_t file = good_shard(w), space = H5Screate_simple(2, dim, NULL);
    const hid_t set =
        H5Dcreate2(file, "/nothing", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(set >= 0 && H5Dclose(set) >= 0 && H5Sclose(space) >= 0);
    close_sealed(file, w->path);
    assert_int_equal(shard_check(w->path), SHOAL_OK);
}

/* Ten ways back to the root: a billion groups nine deep. */
static void test_circle(void **state)
{
    struct world *w = *state;
    const hid_t file = good_shard(w);
    char name[16];
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "/a%d", i);
        assert_true(H5Lcreate_hard(file, "/", file, name, H5P_DEFAULT, H5P_DEFAULT) >= 0);
    }
    close_sealed(file, w->path);
    assert_int_equal(shard_check(w->path), SHOAL_EFORMAT);
    assert_failure_says("/a0 has another name in the file");
}

static void test_large_model(void **state)
{
    struct world *w = *state;
    const char *const overrides[] = {"model.layers=4096", "model.width=65536", "model.heads=512",
                                     "data.train=t.bin", "data.val=v.bin"};
    struct config large;
    struct expert *e = expert_make(w, 1, false, 7);
    struct shard_info info = info_of(w, e);
    char *text = NULL;
    assert_int_equal(config_load(&large, NULL, overrides, 5), SHOAL_OK);
    assert_int_equal(config_text(&large, &text), SHOAL_OK);
    info.config = text;
    assert_int_equal(
        shard_write_weights(world_path(w, "large.h5"), &info, w->table, w->dev, e->weights, NULL),
        SHOAL_OK);
    assert_int_equal(shard_read_config(w->path, &large), SHOAL_EFORMAT);
    assert_failure_says("the weights of the model in its configuration take");
    mem_free(text);
    expert_destroy(&e);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void expect_finding(const char *path, const char *says)
{
    struct verified v;
    bool said = false;
    assert_int_equal(verify(path, &v), SHOAL_OK);
    for (int i = 0; i < v.n_findings; i++)
        said |= strstr(v.findings[i].what, says) != NULL;
    assert_true(said);
    verified_free(&v);
}

/* An index cannot lead to a shard outside its run, whatever its links say: only verify looks at
 * them.
 */
static void test_index_links(void **state)
{
    struct world *w = *state;
    const char *const targets[] = {"../../other/experts/0001/step-00000016.h5", "/etc/passwd",
                                   "../experts/0001/../../secret.h5"};
    char run[SHOAL_MAX_PATH], index[SHOAL_MAX_PATH], shard[SHOAL_MAX_PATH];
    assert_int_equal(path_format(run, "%s", world_path(w, "links")), SHOAL_OK);
    run_write(w, run, 16, 1);
    assert_int_equal(run_index_path(index, run, 16), SHOAL_OK);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        const hid_t file = H5Fopen(index, H5F_ACC_RDWR, H5P_DEFAULT);
        assert_true(file >= 0 && H5Ldelete(file, "/experts/0001", H5P_DEFAULT) >= 0);
        assert_true(H5Lcreate_external(targets[i], "/", file, "/experts/0001", H5P_DEFAULT,
                                       H5P_DEFAULT) >= 0);
        close_sealed(file, index);
        assert_int_equal(snapshot_resolve(index, shard), SHOAL_OK);
        assert_true(strncmp(shard, run, strlen(run)) == 0 &&
                    strcmp(shard + strlen(run), "/experts/0001/step-00000016.h5") == 0);
        expect_finding(run, "does not lead to ../experts/0001/step-00000016.h5 in its own run");
    }
}

/* Links on disk may lead anywhere in a run, and to a run, not out of it. */
static void test_symbolic_links(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], index[SHOAL_MAX_PATH], shard[SHOAL_MAX_PATH], other[SHOAL_MAX_PATH];
    assert_int_equal(path_format(run, "%s", world_path(w, "real")), SHOAL_OK);
    assert_int_equal(path_format(other, "%s", world_path(w, "elsewhere.h5")), SHOAL_OK);
    run_write(w, run, 16, 1);
    assert_int_equal(run_index_path(index, run, 16), SHOAL_OK);
    assert_int_equal(symlink(run, world_path(w, "a-link")), 0);
    assert_int_equal(run_index_path(shard, w->path, 16), SHOAL_OK);
    assert_int_equal(index_check(shard), SHOAL_OK);

    assert_int_equal(run_shard_path(shard, run, 1, 16), SHOAL_OK);
    assert_int_equal(rename(shard, other), 0);
    assert_int_equal(symlink(other, shard), 0);
    assert_int_equal(index_check(index), SHOAL_EFORMAT);
    assert_failure_says("leads out of its run, to ");
    assert_int_equal(snapshot_resolve(index, shard), SHOAL_EFORMAT);
    expect_finding(run, "leads out of its run");
}

/* An index that cannot be read does not say what its shards should be. */
static void test_unread_index(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], index[SHOAL_MAX_PATH];
    assert_int_equal(path_format(run, "%s", world_path(w, "unread")), SHOAL_OK);
    run_write(w, run, 16, 1);
    assert_int_equal(run_index_path(index, run, 16), SHOAL_OK);
    const hid_t file = H5Fopen(index, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0 && H5Adelete(file, "champion") >= 0);
    close_sealed(file, index);
    expect_finding(run, "attribute 'champion' of / is missing");
}

/* A best and a champion that are members, of as many members as there are. */
static void test_no_member(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], index[SHOAL_MAX_PATH];
    struct snapshot_index read;
    const int32_t members = 3; /* as many as experts: no mean */
    assert_int_equal(path_format(run, "%s", world_path(w, "member")), SHOAL_OK);
    run_write(w, run, 16, 3);
    assert_int_equal(run_index_path(index, run, 16), SHOAL_OK);
    const hid_t file = H5Fopen(index, H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t attribute = H5Aopen(file, "members", H5P_DEFAULT);
    assert_true(attribute >= 0 && H5Awrite(attribute, H5T_NATIVE_INT32, &members) >= 0);
    assert_true(H5Aclose(attribute) >= 0);
    close_sealed(file, index);
    assert_int_equal(index_read(index, &read), SHOAL_EFORMAT);
    assert_failure_says("attribute 'best' of / is 3, not in -1 .. 2");
}

/* What the library forgets when it gives up on a file is not ours to free. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links),        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_long_table),   cmocka_unit_test(test_endless),
        cmocka_unit_test(test_circle),       cmocka_unit_test(test_large_model),
        cmocka_unit_test(test_index_links),  cmocka_unit_test(test_symbolic_links),
        cmocka_unit_test(test_unread_index), cmocka_unit_test(test_no_member),
    };
    return cmocka_run_group_tests_name("hostile", tests, world_open, world_close);
}
