/* test_verify.c - whatever happens to a file of a run, verify says so, and says where. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/memory.h"
#include "base/rng.h"
#include "snapshot/seal.h"
#include "snapshot/verify.h"
#include "snapshot/world.h"

enum { FLIPS = 500, STEP = 16, EXPERTS = 3 };

/* A run with one snapshot, best.h5 and all, in w->path. */
static void make_run(struct world *w, char run[SHOAL_MAX_PATH])
{
    char path[SHOAL_MAX_PATH];
    snprintf(run, SHOAL_MAX_PATH, "%s", world_path(w, "run"));
    run_write(w, run, STEP, 2);
    struct expert *e = expert_make(w, 2, false, 9);
    struct shard_info info = info_of(w, e);
    info.step = STEP;
    info.fitness = 2.0; /* as run_write_index says */
    assert_int_equal(run_best_path(path, run), SHOAL_OK);
    assert_int_equal(shard_write_weights(path, &info, w->table, w->dev, e->weights, NULL),
                     SHOAL_OK);
    assert_int_equal(path_format(path, "%s/config.yaml", run), SHOAL_OK);
    assert_int_equal(file_write(path, w->text, strlen(w->text)), SHOAL_OK);
    expert_destroy(&e);
}

/* How many findings there are; the first must be of `path` and say `says`. */
static int count(const char *what, const char *path, const char *says)
{
    struct verified v;
    assert_int_equal(verify(what, &v), SHOAL_OK);
    const int n = v.n_findings;
    if (path) {
        assert_true(n > 0);
        if (strcmp(v.findings[0].path, path) != 0 || !strstr(v.findings[0].what, says))
            fail_msg("expected '%s' of %s, got '%s' of %s", says, path, v.findings[0].what,
                     v.findings[0].path);
    }
    verified_free(&v);
    return n;
}

static void test_good(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], path[SHOAL_MAX_PATH];
    make_run(w, run);
    struct verified v;
    assert_int_equal(verify(run, &v), SHOAL_OK);
    if (v.n_findings) fail_msg("%s: %s", v.findings[0].path, v.findings[0].what);
    assert_true(v.files == EXPERTS + 3 && v.snapshots == 1 && v.good == 1 && v.newest == STEP);
    verified_free(&v);
    assert_int_equal(run_index_path(path, run, STEP), SHOAL_OK);
    assert_int_equal(count(path, NULL, NULL), 0);
    assert_int_equal(run_best_path(path, run), SHOAL_OK);
    assert_int_equal(count(path, NULL, NULL), 0);
}

static void flip(const char *path, long at, int mask)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    const int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_true(byte >= 0 && fputc(byte ^ mask, file) != EOF);
    assert_int_equal(fclose(file), 0);
}

static int64_t bytes_of(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long bytes = ftell(file);
    assert_int_equal(fclose(file), 0);
    return bytes;
}

/* Any byte of any file, changed in any way. */
static void test_flips(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], file[EXPERTS + 2][SHOAL_MAX_PATH];
    const struct rng_key key = {.seed = 4, .stream = RNG_SAMPLE};
    make_run(w, run);
    for (int k = 0; k < EXPERTS; k++)
        assert_int_equal(run_shard_path(file[k], run, k, STEP), SHOAL_OK);
    assert_int_equal(run_index_path(file[EXPERTS], run, STEP), SHOAL_OK);
    assert_int_equal(run_best_path(file[EXPERTS + 1], run), SHOAL_OK);
    for (uint64_t i = 0; i < FLIPS; i++) {
        const char *path = file[rng_bits(key, 3 * i) % (EXPERTS + 2)];
        /* A quarter of them in the first bytes, where the seal and the structure are. */
        const int64_t most = i % 4 ? bytes_of(path) : 2048;
        const long at = (long)(rng_bits(key, 3 * i + 1) % (uint64_t)most);
        const int mask = 1 + (int)(rng_bits(key, 3 * i + 2) % 255);
        flip(path, at, mask);
        const int found = count(i % 25 ? path : run, path, "");
        if (found != 1) fail_msg("byte %ld of %s changed: %d findings", at, path, found);
        flip(path, at, mask);
    }
    assert_int_equal(count(run, NULL, NULL), 0);
}

static void test_length(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], path[SHOAL_MAX_PATH];
    make_run(w, run);
    assert_int_equal(run_shard_path(path, run, 1, STEP), SHOAL_OK);
    const int64_t bytes = bytes_of(path);
    for (int64_t n = 0; n < bytes; n = 4 * n + 100) {
        assert_int_equal(truncate(path, n), 0);
        assert_int_equal(count(run, path, ""), 1);
        make_run(w, run);
    }
    FILE *file = fopen(path, "ab");
    assert_true(file && fputc(0, file) == 0 && fclose(file) == 0);
    assert_int_equal(count(run, path, "not those that were written"), 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(count(run, path, "No such file"), 1);
}

/* Good files in wrong places. */
static void test_strangers(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], path[SHOAL_MAX_PATH], other[SHOAL_MAX_PATH];
    make_run(w, run);
    assert_int_equal(run_shard_path(path, run, 1, STEP), SHOAL_OK);
    assert_int_equal(run_shard_path(other, run, 0, STEP), SHOAL_OK);
    file_copy(path, other);
    assert_int_equal(count(run, path, "holds expert 0 of step 16"), 1);

    make_run(w, run);
    struct expert *e = expert_make(w, 1, false, 77);
    e->step = STEP + 8;
    assert_int_equal(write_expert(w, path, e), SHOAL_OK);
    assert_int_equal(count(run, path, "holds expert 1 of step 24"), 1);
    /* The right expert, step and run, but not these numbers. */
    e->step = STEP;
    assert_int_equal(write_expert(w, path, e), SHOAL_OK);
    assert_int_equal(count(run, path, "not the file that"), 1);
    assert_int_equal(count(path, NULL, NULL), 0); /* by itself it is fine */

    struct shard_info info = info_of(w, e);
    strcpy(info.run_id, "another");
    assert_int_equal(shard_write(path, &info, e, some_past(), NULL), SHOAL_OK);
    assert_int_equal(count(run, path, "of run another"), 1);

    make_run(w, run);
    assert_int_equal(run_best_path(other, run), SHOAL_OK);
    info = info_of(w, e);
    info.step = STEP - 2; /* the best was found a step before the snapshot */
    assert_int_equal(shard_write_weights(other, &info, w->table, w->dev, e->weights, NULL),
                     SHOAL_OK);
    assert_int_equal(count(run, other, "is of step 14"), 1);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(count(run, other, "is missing"), 1);
    expert_destroy(&e);
}

/* Changed by another program and sealed again: the structure is still looked at. */
static void test_inside(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], path[SHOAL_MAX_PATH];
    make_run(w, run);
    assert_int_equal(run_shard_path(path, run, 0, STEP), SHOAL_OK);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0 && H5Ldelete(file, "/optim/m/wte/weight", H5P_DEFAULT) >= 0);
    assert_true(H5Fclose(file) >= 0);
    assert_int_equal(count(run, path, "not those that were written"), 1);
    assert_int_equal(seal_write(path), SHOAL_OK);
    assert_int_equal(count(run, path, "dataset /optim/m/wte/weight is missing"), 1);

    make_run(w, run);
    assert_int_equal(run_index_path(path, run, STEP), SHOAL_OK);
    file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0 && H5Ldelete(file, "/experts/0001", H5P_DEFAULT) >= 0 &&
                H5Lcreate_external("/tmp/elsewhere.h5", "/", file, "/experts/0001", H5P_DEFAULT,
                                   H5P_DEFAULT) >= 0);
    assert_true(H5Fclose(file) >= 0);
    assert_int_equal(seal_write(path), SHOAL_OK);
    assert_int_equal(count(run, path, "/experts/0001 does not lead to"), 1);
}

/* A ledger that cannot be: written so, and sealed. */
static void test_ledger(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], path[SHOAL_MAX_PATH];
    struct snapshot_index index;
    make_run(w, run);
    assert_int_equal(run_index_path(path, run, STEP), SHOAL_OK);
    for (int wrong = 0; wrong < 4; wrong++) {
        assert_int_equal(index_read(path, &index), SHOAL_OK);
        double *last = index.judgings[2].fitness;
        if (wrong == 0) last[0] = 1.0; /* better than the best */
        if (wrong == 1) index.judgings[1].step = 0;
        if (wrong == 2) index.standing.champion_fitness = 0.5;
        if (wrong == 3) live_put(&index.standing.live, 1, true);
        assert_int_equal(index_write(run, &index, NULL), SHOAL_OK);
        index_free(&index);
        const char *const says[] = {"names member 2 the best", "goes back to step 0",
                                    "does not know the champion", "disagree"};
        assert_true(count(run, path, says[wrong]) >= 1);
        make_run(w, run);
    }
}

/* Files of versions before seals: HDF5 from the first byte on. */
static void test_without_seals(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], path[SHOAL_MAX_PATH];
    char *data = NULL;
    size_t bytes = 0;
    make_run(w, run);
    assert_int_equal(run_shard_path(path, run, 2, STEP), SHOAL_OK);
    assert_int_equal(file_read(path, &data, &bytes), SHOAL_OK);
    assert_int_equal(file_write(path, data + SEAL_BYTES, bytes - SEAL_BYTES), SHOAL_OK);
    mem_free(data);
    assert_int_equal(count(path, NULL, NULL), 0);
    assert_int_equal(count(run, NULL, NULL), 0); /* the index knows what it held */
}

static void test_latest(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], path[SHOAL_MAX_PATH];
    make_run(w, run);
    assert_int_equal(path_format(path, "%s/latest", run), SHOAL_OK);
    assert_int_equal(link_replace(path, "snapshots/step-00000099.h5"), SHOAL_OK);
    assert_int_equal(count(run, path, "leads nowhere"), 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(count(run, NULL, NULL), 0);
}

static void test_nothing(void **state)
{
    struct world *w = *state;
    struct verified v;
    assert_int_equal(verify(world_path(w, "nowhere"), &v), SHOAL_EIO);
    verified_free(&v);
    assert_int_equal(dir_make(world_path(w, "empty")), SHOAL_OK);
    assert_int_equal(verify(w->path, &v), SHOAL_EFORMAT);
    verified_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),          cmocka_unit_test(test_flips),
        cmocka_unit_test(test_length),        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_inside),        cmocka_unit_test(test_ledger),
        cmocka_unit_test(test_nothing),       cmocka_unit_test(test_latest),
        cmocka_unit_test(test_without_seals),
    };
    return cmocka_run_group_tests_name("verify", tests, world_open, world_close);
}
