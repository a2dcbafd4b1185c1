/* test_shard.c - experts survive the disk bit for bit. */
#include <math.h>
#include <string.h>
#include "base/memory.h"
#include "snapshot/world.h"

static void round_trip(struct world *w, bool with_extras)
{
    struct expert *e = expert_make(w, 1, with_extras, 7), *back = NULL;
    const char *path = world_path(w, "shard.h5");
    assert_int_equal(write_expert(w, path, e), SHOAL_OK);

    struct shard_past past;
    memset(&past, 0x55, sizeof past);         /* this too */
    back = expert_make(w, 1, with_extras, 8); /* whatever is in it must be replaced */
    back->step = back->tokens = back->position = 0;
    back->own_best_fitness = back->fitness = 0;
    memset(back->weights, 0x55, (size_t)w->table->n_params * sizeof(float)); /* padding too */
    assert_int_equal(shard_read(path, back, &past), SHOAL_OK);
    assert_true(same_expert(e, back));
    assert_true(same_outlier(&past.outlier));
    assert_int_equal(past.n_judgings, 3);
    assert_int_equal(past.judgings[2].step, 100);
    assert_true(past.judgings[0].train_loss == 5.75 && past.judgings[2].time_s == 2.5);
    assert_true(past.judgings[1].fitness != past.judgings[1].fitness);
    assert_int_equal(past.n_lineage, 2);
    assert_memory_equal(past.lineage, some_past()->lineage, 2 * sizeof *past.lineage);
    mem_free(past.judgings);
    mem_free(past.lineage);
    expert_destroy(&e);
    expert_destroy(&back);
}

static void test_round_trip(void **state)
{
    round_trip(*state, false);
}

static void test_round_trip_with_velocity_and_own_best(void **state)
{
    round_trip(*state, true);
}

static void test_own_best_that_is_none_yet(void **state)
{
    struct world *w = *state;
    struct expert *e = expert_make(w, 0, true, 1), *back = expert_make(w, 0, true, 2);
    const char *path = world_path(w, "none-yet.h5");
    const uint64_t nan_bits = 0x7ff8000000000123u; /* a payload, to see that no NaN is made anew */
    memcpy(&e->own_best_fitness, &nan_bits, sizeof nan_bits);
    struct shard_past past = *some_past();
    const struct shard_past nothing = {.n_judgings = 0};
    const struct shard_info info = info_of(w, e);
    assert_int_equal(shard_write(path, &info, e, &nothing, NULL), SHOAL_OK);
    assert_int_equal(shard_read(path, back, &past), SHOAL_OK);
    assert_true(same_expert(e, back));
    assert_int_equal(past.n_judgings, 0);
    assert_memory_equal(&past.outlier, &nothing.outlier, sizeof nothing.outlier);
    mem_free(past.judgings);
    mem_free(past.lineage);
    expert_destroy(&e);
    expert_destroy(&back);
}

/* A full window of the largest size. */
static void test_longest_window(void **state)
{
    struct world *w = *state;
    struct expert *e = expert_make(w, 0, false, 1);
    struct shard_past past = *some_past(), back = *some_past();
    const char *path = world_path(w, "window.h5");
    const struct shard_info info = info_of(w, e);
    past.outlier.n = SHOAL_MAX_SKIP_WINDOW;
    for (int i = 0; i < SHOAL_MAX_SKIP_WINDOW; i++)
        past.outlier.row[i] = (struct outlier_row){i / 7.0, 1e-3 * i};
    assert_int_equal(shard_write(path, &info, e, &past, NULL), SHOAL_OK);
    assert_int_equal(shard_read(path, e, &back), SHOAL_OK);
    assert_memory_equal(&back.outlier, &past.outlier, sizeof past.outlier);
    mem_free(back.judgings);
    mem_free(back.lineage);
    past.outlier.row[77].loss = (double)NAN; /* nothing of ours writes that */
    assert_int_equal(shard_write(path, &info, e, &past, NULL), SHOAL_OK);
    assert_int_equal(shard_read(path, e, &back), SHOAL_EFORMAT);
    assert_failure_says("row 77 of /state/outlier/window is not finite");
    expert_destroy(&e);
}

static void test_lineage(void **state)
{
    struct world *w = *state;
    struct expert *e = expert_make(w, 1, false, 3);
    const char *path = world_path(w, "lineage.h5");
    const struct shard_info info = info_of(w, e);
    struct lineage_row *row = NULL, broken[] = {{.step = 5, .body = 1, .io = 1}, {.kind = 9}};
    int64_t n = 0;
    assert_int_equal(write_expert(w, path, e), SHOAL_OK);
    assert_int_equal(shard_read_lineage(path, &row, &n), SHOAL_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(row, some_past()->lineage, 2 * sizeof *row);
    mem_free(row);
    assert_int_equal(shard_write_weights(path, &info, w->table, w->dev, e->weights, NULL),
                     SHOAL_OK);
    assert_int_equal(shard_read_lineage(path, &row, &n), SHOAL_OK);
    assert_true(n == 0 && row == NULL);
    struct shard_past past = {.lineage = broken, .n_lineage = 2};
    assert_int_equal(shard_write(path, &info, e, &past, NULL), SHOAL_OK);
    assert_int_equal(shard_read_lineage(path, &row, &n), SHOAL_EFORMAT);
    assert_failure_says("row 1 of /history/lineage");
    assert_int_equal(shard_read(path, e, &past), SHOAL_EFORMAT);
    assert_true(past.judgings == NULL && past.lineage == NULL);
    e->lr_scale = -1;
    past = *some_past();
    assert_int_equal(shard_write(path, &info, e, &past, NULL), SHOAL_OK);
    assert_int_equal(shard_read(path, e, &past), SHOAL_EFORMAT);
    assert_failure_says("lr_scale in /state is -1");
    expert_destroy(&e);
}

static void test_outer(void **state)
{
    struct world *w = *state;
    struct expert *e = expert_make(w, 0, false, 3);
    struct expert *kept = expert_make(w, 0, true, 4), *back = expert_make(w, 0, true, 5);
    const char *path = world_path(w, "outer.h5");
    const struct shard_info info = info_of(w, e);
    const size_t bytes = (size_t)w->table->n_params * sizeof(float);
    struct shard_past past = *some_past();
    struct shard_outer outer = {back->velocity, back->own_best};
    assert_int_equal(write_expert(w, path, e), SHOAL_OK);
    assert_int_equal(shard_read_outer(path, w->table, w->dev, &outer), SHOAL_EFORMAT);
    assert_failure_says("/evo/outer");
    past.outer = (struct shard_outer){kept->velocity, kept->own_best};
    assert_int_equal(shard_write(path, &info, e, &past, NULL), SHOAL_OK);
    assert_int_equal(shard_read_outer(path, w->table, w->dev, &outer), SHOAL_OK);
    assert_memory_equal(outer.agreed, kept->velocity, bytes);
    assert_memory_equal(outer.velocity, kept->own_best, bytes);
    expert_destroy(&e);
    expert_destroy(&kept);
    expert_destroy(&back);
}

static void test_info_and_config(void **state)
{
    struct world *w = *state;
    struct expert *e = expert_make(w, 1, false, 3);
    const char *path = world_path(w, "info.h5");
    assert_int_equal(write_expert(w, path, e), SHOAL_OK);
    struct shard_info info;
    assert_int_equal(shard_read_info(path, &info), SHOAL_OK);
    assert_string_equal(info.run_id, RUN_ID);
    assert_int_equal(info.expert, 1);
    assert_int_equal(info.worker, 1);
    assert_int_equal(info.step, 100);
    assert_int_equal(info.tokens, INT64_C(5000000001));
    assert_true(info.fitness != info.fitness);
    assert_int_equal(info.parent, 3);
    assert_true(info.lr_scale == 1.25);
    assert_string_equal(info.config, w->text);
    shard_info_free(&info);
    struct config config;
    assert_int_equal(shard_read_config(path, &config), SHOAL_OK);
    assert_memory_equal(&config, &w->config, sizeof config);
    expert_destroy(&e);
}

/* best.h5: the weights come back, and nobody can mistake it for something to train on. */
static void test_weights_only(void **state)
{
    struct world *w = *state;
    struct expert *e = expert_make(w, 2, false, 4), *back = expert_make(w, 2, false, 5);
    const char *path = world_path(w, "best.h5");
    const struct shard_info info = info_of(w, e);
    int64_t bytes = 0;
    assert_int_equal(shard_write_weights(path, &info, w->table, w->dev, e->weights, &bytes),
                     SHOAL_OK);
    assert_true(bytes > w->table->n_real * (int64_t)sizeof(float));
    assert_true(bytes < 2 * w->table->n_real * (int64_t)sizeof(float) + 65536);
    assert_int_equal(shard_read_weights(path, w->table, w->dev, back->weights), SHOAL_OK);
    assert_memory_equal(e->weights, back->weights, (size_t)w->table->n_params * sizeof(float));
    struct shard_past past = {.n_judgings = 0};
    assert_int_equal(shard_read(path, back, &past), SHOAL_EFORMAT);
    assert_failure_says("weights only");
    expert_destroy(&e);
    expert_destroy(&back);
}

/* What cannot be continued from says so. */
static void test_wrong_expert_or_missing_velocity(void **state)
{
    struct world *w = *state;
    struct expert *e = expert_make(w, 0, false, 4), *other = expert_make(w, 1, false, 4);
    struct expert *swarm = expert_make(w, 0, true, 4);
    const char *path = world_path(w, "shard.h5");
    struct shard_past past = {.n_judgings = 0};
    assert_int_equal(write_expert(w, path, e), SHOAL_OK);
    assert_int_equal(shard_read(path, other, &past), SHOAL_EFORMAT);
    assert_failure_says("holds expert 0, expected expert 1");
    assert_int_equal(shard_read(path, swarm, &past), SHOAL_EFORMAT);
    assert_failure_says("/evo/velocity");
    expert_destroy(&e);
    expert_destroy(&other);
    expert_destroy(&swarm);
}

static void test_unwritable(void **state)
{
    struct world *w = *state;
    struct expert *e = expert_make(w, 0, false, 1);
    assert_int_equal(write_expert(w, world_path(w, "no/such/dir/shard.h5"), e), SHOAL_EIO);
    assert_failure_says("no/such/dir/shard.h5");
    assert_failure_says("No such file or directory");
    expert_destroy(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_round_trip_with_velocity_and_own_best),
        cmocka_unit_test(test_own_best_that_is_none_yet),
        cmocka_unit_test(test_longest_window),
        cmocka_unit_test(test_lineage),
        cmocka_unit_test(test_outer),
        cmocka_unit_test(test_info_and_config),
        cmocka_unit_test(test_weights_only),
        cmocka_unit_test(test_wrong_expert_or_missing_velocity),
        cmocka_unit_test(test_unwritable),
    };
    return cmocka_run_group_tests_name("shard", tests, world_open, world_close);
}
