/* test_norms.c - norms of tensors over time: bounded, and the same after any number of sessions. */
#include <math.h>
#include <string.h>
#include "snapshot/norms.h"
#include "snapshot/staging.h"
#include "snapshot/world.h"

enum { TENSORS = 3, EVERY = 100 };

/* Judging number j, at step EVERY j, with values that say so. */
static void judge(struct norms *x, int tensors, int64_t j)
{
    float *row = NULL;
    const bool wants = norms_wants(x);
    assert_int_equal(norms_add(x, tensors, EVERY * j, &row), SHOAL_OK);
    assert_true(wants == (row != NULL));
    for (int i = 0; row && i < NORM_KINDS * tensors; i++)
        row[i] = (float)(j * 1000 + i);
}

/* Rows are every stride-th judging, evenly and from the first. */
static void check(const struct norms *x, int64_t judgings, int64_t stride)
{
    assert_int_equal(x->heard, judgings);
    assert_int_equal(x->n, (judgings + stride - 1) / stride);
    assert_true(x->n <= NORMS_ROWS);
    for (int64_t i = 0; i < x->n; i++) {
        assert_int_equal(x->step[i], EVERY * i * stride);
        for (int v = 0; v < NORM_KINDS * TENSORS; v++)
            assert_true(x->value[i * NORM_KINDS * TENSORS + v] == (float)(i * stride * 1000 + v));
    }
}

static void test_thinning(void **state)
{
    (void)state;
    struct norms x = {.tensors = 0}, again;
    for (int64_t j = 0; j < 5000; j++) {
        judge(&x, TENSORS, j);
        if (j % 997 == 0 || j == 1023 || j == 1024 || j == 2047 || j == 2048)
            check(&x, j + 1, j < 1024 ? 1 : j < 2048 ? 2 : j < 4096 ? 4 : 8);
        /* What a file of so many judgings must hold. */
        assert_int_equal(norms_make(&again, 1, j + 1), SHOAL_OK);
        assert_int_equal(again.n, x.n);
        norms_free(&again);
    }
    assert_null(norms_last(&x, 1, NORM_DISTANCE));
    assert_true(norms_last(&x, x.step[x.n - 1], NORM_GRADIENT)[1] ==
                (float)(x.step[x.n - 1] / EVERY * 1000 + TENSORS + 1));
    norms_free(&x);
}

static void same(const struct norms *a, const struct norms *b)
{
    assert_true(a->n == b->n && a->heard == b->heard && a->tensors == b->tensors);
    assert_memory_equal(a->step, b->step, (size_t)a->n * sizeof *a->step);
    assert_memory_equal(a->value, b->value,
                        (size_t)a->n * NORM_KINDS * (size_t)a->tensors * sizeof *a->value);
}

/* Written at once and from a copy, read back, gone on with; also where nothing was ever judged. */
static void test_files(void **state)
{
    struct world *w = *state;
    struct expert *e = expert_make(w, 1, false, 3), *back = expert_make(w, 1, false, 4);
    const struct shard_info info = info_of(w, e);
    struct staging *staging = NULL;
    struct staged staged;
    struct shard_past past = *some_past(), read;
    const int64_t judgings[] = {1040, 5, 0};
    assert_int_equal(staging_create(w->table, false, false, &staging), SHOAL_OK);
    for (size_t t = 0; t < sizeof judgings / sizeof *judgings; t++) {
        memset(&past.norms, 0, sizeof past.norms);
        for (int64_t j = 0; j < judgings[t]; j++)
            judge(&past.norms, w->table->n_tensors, j);
        for (int copied = 0; copied < 2; copied++) {
            const char *path = world_path(w, copied ? "copy.h5" : "norms.h5");
            if (copied) {
                assert_int_equal(staging_take(staging, path, &info, e, &past), SHOAL_OK);
                assert_int_equal(staging_write(staging, &staged), SHOAL_OK);
            } else {
                assert_int_equal(shard_write(path, &info, e, &past, NULL), SHOAL_OK);
            }
            assert_int_equal(shard_check(path), SHOAL_OK);
            assert_int_equal(shard_read(path, back, &read), SHOAL_OK);
            same(&past.norms, &read.norms);
            shard_past_free(&read);
        }
        norms_free(&past.norms);
    }
    staging_destroy(&staging);
    expert_destroy(&e);
    expert_destroy(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thinning),
        cmocka_unit_test_setup_teardown(test_files, world_open, world_close)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
