/* test_index.c - snapshots of a whole run: found, skipped, pruned, resolved, moved. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/memory.h"
#include "snapshot/world.h"

/* RUN/snapshots/step-N.h5 or RUN/experts/000k/step-N.h5; valid until the next call. */
static const char *index_at(const char *run, int64_t step)
{
    static char path[SHOAL_MAX_PATH];
    assert_int_equal(run_index_path(path, run, step), SHOAL_OK);
    return path;
}

static const char *shard_at(const char *run, int expert, int64_t step)
{
    static char path[SHOAL_MAX_PATH];
    assert_int_equal(run_shard_path(path, run, expert, step), SHOAL_OK);
    return path;
}

static void assert_latest(const char *run, int64_t step)
{
    char found[SHOAL_MAX_PATH];
    assert_int_equal(index_find_latest(run, found), SHOAL_OK);
    assert_string_equal(found, index_at(run, step));
}

static void test_round_trip(void **state)
{
    struct world *w = *state;
    const char *run = world_path(w, "round-trip");
    run_write(w, run, 8, 3);
    struct snapshot_index index;
    assert_int_equal(index_read(index_at(run, 8), &index), SHOAL_OK);
    assert_string_equal(index.run_id, RUN_ID);
    assert_string_equal(index.config, w->text);
    assert_int_equal(index.experts, 3);
    assert_int_equal(index.members, 4);
    assert_int_equal(index.workers, 2);
    assert_true(index.time_s == 12.5);
    const struct standing *s = &index.standing;
    assert_true(s->step == 8 && s->best == 3 && s->round_done == 1 && s->judged_step == 7 &&
                s->best_fitness == 2.0);
    assert_true(s->champion == 3 && s->champion_step == 7 && s->champion_fitness == 2.0);
    assert_true(s->live.word[0] == 5 && s->live.word[1] == 0);
    assert_int_equal(index.n_judgings, 3);
    const struct judging *j = index.judgings;
    assert_true(j[0].step == 0 && j[0].time_s == 0.5 && j[0].best == 3 && j[0].fitness[3] == 5.0);
    assert_true(j[1].step == 4 && j[1].best == -1 && isinf(j[1].fitness[2]));
    assert_true(isnan(j[1].fitness[0]) && isnan(j[2].fitness[1]) && j[2].fitness[3] == 2.0);
    index_free(&index);
}

/* An index as it is read, of three experts and their mean, which becomes one of `experts`. */
static void read_and_grow(struct world *w, const char *run, int experts, enum grow_mode how,
                          struct snapshot_index *index)
{
    struct config c = w->config;
    c.population.experts = experts;
    c.population.grow = how;
    assert_int_equal(index_read(index_at(run, 8), index), SHOAL_OK);
    assert_int_equal(index->stored, 3);
    assert_null(index_beginner(index, 2));
    assert_int_equal(index_grow(index, &c), SHOAL_OK);
}

/* In the last judging experts 0 and 2 are equal and 1 is not finite: nobody is made from it. */
static void test_grow_by_clones(void **state)
{
    struct world *w = *state;
    const char *run = world_path(w, "growing");
    struct snapshot_index index, back;
    run_write(w, run, 8, 3);
    read_and_grow(w, run, 8, GROW_CLONE, &index);
    assert_true(index.experts == 8 && index.members == 9 && index.stored == 3);
    assert_int_equal(index.n_joined, 5);
    for (int i = 0; i < 5; i++) {
        const struct joined_row *row = index_beginner(&index, 3 + i);
        assert_true(row->step == 8 && row->expert == 3 + i && row->parent == (i % 2 == 0 ? 0 : 2));
    }
    const struct judging *j = index.judgings;
    assert_true(j[0].best == 8 && j[0].fitness[8] == 5.0 && j[0].fitness[2] == 5.75);
    assert_true(isnan(j[0].fitness[3]) && isnan(j[0].fitness[7]) && j[1].best == -1);
    assert_true(j[2].best == 8 && j[2].fitness[8] == 2.0 && isnan(j[2].fitness[1]));
    assert_true(j[2].fitness[3] == j[2].fitness[0] && j[2].fitness[4] == j[2].fitness[2]);
    assert_true(index.standing.best == 8 && index.standing.champion == 8);
    assert_true(index.standing.live.word[0] == (5 | 0xF8));
    assert_true(index.shards[2].age == 0 && index.shards[3].age == -1 && index.shards[7].age == -1);
    /* As the run would write it next, and read it back. */
    for (int k = 3; k < 8; k++)
        index.shards[k].age = 0;
    assert_int_equal(index_write(run, &index, NULL), SHOAL_OK);
    assert_int_equal(index_read(index_at(run, 8), &back), SHOAL_OK);
    assert_true(back.stored == 8 && back.n_joined == 5 && back.standing.champion == 8);
    assert_memory_equal(back.joined, index.joined, 5 * sizeof *back.joined);
    assert_null(index_beginner(&back, 7));
    index_free(&index);
    index_free(&back);
}

static void test_grow_anew(void **state)
{
    struct world *w = *state;
    const char *run = world_path(w, "growing-anew");
    struct snapshot_index index;
    run_write(w, run, 8, 0);
    read_and_grow(w, run, 4, GROW_INIT, &index);
    assert_int_equal(index_beginner(&index, 3)->parent, -1);
    assert_true(isnan(index.judgings[2].fitness[3]) && live_has(&index.standing.live, 3));
    assert_true(index.standing.best == 0 && index.standing.champion == 0);
    index_free(&index);
    read_and_grow(w, run, 3, GROW_INIT, &index);
    assert_true(index.n_joined == 0 && index.experts == 3 && index.shards != NULL);
    index_free(&index);
}

static void test_no_judging_yet(void **state)
{
    struct world *w = *state;
    const char *run = world_path(w, "fresh");
    run_write_shards(w, run, 0);
    const struct snapshot_index index = {
        .run_id = RUN_ID,
        .experts = 3,
        .members = 3,
        .workers = 1,
        .standing = {.best = -1, .best_fitness = NAN, .champion = -1, .champion_fitness = NAN},
        .config = w->text};
    struct snapshot_index back;
    assert_int_equal(index_write(run, &index, NULL), SHOAL_OK);
    assert_int_equal(index_read(index_at(run, 0), &back), SHOAL_OK);
    assert_true(back.n_judgings == 0 && back.standing.champion == -1);
    assert_true(isnan(back.standing.champion_fitness));
    index_free(&back);
    assert_latest(run, 0);
    char shard[SHOAL_MAX_PATH];
    assert_int_equal(snapshot_resolve(run, shard), SHOAL_OK);
    assert_string_equal(strstr(shard, "/experts"), "/experts/0000/step-00000000.h5");
}

static void test_latest_link(void **state)
{
    struct world *w = *state;
    const char *run = world_path(w, "linked");
    char link[SHOAL_MAX_PATH], target[64] = "";
    run_write(w, run, 8, 0);
    run_write(w, run, 16, 0);
    assert_int_equal(path_format(link, "%s/latest", run), SHOAL_OK);
    assert_true(readlink(link, target, sizeof target - 1) > 0);
    assert_string_equal(target, "snapshots/step-00000016.h5");
}

/* Everything that can be wrong with the newest snapshot leads to the one before it. */
static void test_damaged_are_skipped(void **state)
{
    struct world *w = *state;
    char keep[SHOAL_MAX_PATH], missing[SHOAL_MAX_PATH];
    const char *run = world_path(w, "skipping");
    run_write(w, run, 8, 0);
    run_write(w, run, 16, 0);
    assert_latest(run, 16);
    assert_int_equal(path_format(keep, "%s/kept", w->scratch.dir), SHOAL_OK);

    strcpy(missing, shard_at(run, 1, 16));
    file_copy(keep, missing);
    assert_int_equal(unlink(missing), 0);
    assert_latest(run, 8);

    file_copy(missing, shard_at(run, 1, 8)); /* of another step */
    assert_int_equal(index_check(index_at(run, 16)), SHOAL_EFORMAT);
    assert_failure_says("holds expert 1 at step 8");
    assert_latest(run, 8);

    file_copy(missing, shard_at(run, 2, 16)); /* of another expert */
    assert_latest(run, 8);

    struct expert *e = expert_make(w, 1, false, 1); /* of another run */
    struct shard_info info = info_of(w, e);
    strcpy(info.run_id, "another");
    info.step = 16;
    assert_int_equal(shard_write(missing, &info, e, some_past(), NULL), SHOAL_OK);
    expert_destroy(&e);
    assert_int_equal(index_check(index_at(run, 16)), SHOAL_EFORMAT);
    assert_failure_says("is of run another");
    assert_latest(run, 8);

    file_copy(missing, keep);
    assert_latest(run, 16);
    assert_int_equal(file_write(index_at(run, 16), "short", 5), SHOAL_OK);
    assert_latest(run, 8);
}

static void test_no_snapshot(void **state)
{
    struct world *w = *state;
    char found[SHOAL_MAX_PATH];
    const char *run = world_path(w, "empty");
    assert_int_equal(index_find_latest(run, found), SHOAL_EIO);
    assert_failure_says("empty: it has no snapshot yet");
    assert_false(run_exists(run));
    assert_int_equal(run_make(run, 2), SHOAL_OK);
    assert_true(run_exists(run));
    assert_int_equal(index_find_latest(run, found), SHOAL_EIO);
    assert_int_equal(file_write(index_at(run, 4), "short", 5), SHOAL_OK);
    assert_int_equal(index_find_latest(run, found), SHOAL_EIO);
    assert_failure_says("none of its snapshots can be read");
    assert_int_equal(snapshot_resolve(run, found), SHOAL_EIO);
}

/* ---- pruning --------------------------------------------------------------------------------- */

static void assert_snapshots(const char *run, const int64_t *expected, int64_t n)
{
    int64_t *steps = NULL, found = 0;
    assert_int_equal(run_snapshots(run, &steps, &found), SHOAL_OK);
    assert_int_equal(found, n);
    assert_memory_equal(steps, expected, (size_t)n * sizeof *steps);
    mem_free(steps);
}

static void test_prune_keeps_the_newest(void **state)
{
    struct world *w = *state;
    const char *run = world_path(w, "pruned");
    const int64_t all[] = {40, 32, 24, 16, 8};
    for (int i = 4; i >= 0; i--)
        run_write(w, run, all[i], 0);
    run_write_shards(w, run, 12); /* of a run that was killed before its index */
    run_write_shards(w, run, 48); /* of the snapshot being written now */
    assert_int_equal(index_prune(run, 0), SHOAL_OK);
    assert_snapshots(run, all, 5);
    assert_false(path_exists(shard_at(run, 0, 12)));

    assert_int_equal(index_prune(run, 2), SHOAL_OK);
    assert_snapshots(run, all, 2);
    for (int k = 0; k < 3; k++) {
        assert_true(path_exists(shard_at(run, k, 48)));
        assert_true(path_exists(shard_at(run, k, 40)));
        assert_true(path_exists(shard_at(run, k, 32)));
        assert_false(path_exists(shard_at(run, k, 24)));
        assert_false(path_exists(shard_at(run, k, 8)));
    }
    assert_latest(run, 40);
}

/* A damaged snapshot does not count among those kept: otherwise pruning could remove the last good
 * one. */
static void test_prune_counts_good_ones(void **state)
{
    struct world *w = *state;
    const char *run = world_path(w, "pruned-damaged");
    const int64_t all[] = {32, 24, 16, 8};
    for (int i = 3; i >= 0; i--)
        run_write(w, run, all[i], 0);
    assert_int_equal(unlink(shard_at(run, 2, 32)), 0);
    assert_int_equal(index_prune(run, 1), SHOAL_OK);
    assert_snapshots(run, all, 2);
    assert_latest(run, 24);
    assert_int_equal(index_prune(world_path(w, "nowhere"), 1), SHOAL_OK);
}

/* Besides the newest: what is marked, and what is nearest to where the best was found. */
static void test_prune_keeps_more(void **state)
{
    struct world *w = *state;
    const char *run = world_path(w, "pruned-marked");
    struct snapshot_index index;
    for (int64_t step = 8; step <= 48; step += 8)
        run_write(w, run, step, 0);
    assert_int_equal(index_read(index_at(run, 48), &index), SHOAL_OK);
    index.standing.champion_step = 30; /* judged there, between snapshots */
    assert_int_equal(index_write(run, &index, NULL), SHOAL_OK);
    index_free(&index);
    assert_int_equal(index_mark(run, 9, true), SHOAL_EIO);
    assert_failure_says("no snapshot of step 9");
    assert_int_equal(index_mark(run, 16, true), SHOAL_OK);
    assert_int_equal(index_mark(run, 16, true), SHOAL_OK);
    assert_int_equal(index_prune(run, 1), SHOAL_OK);
    assert_snapshots(run, (const int64_t[]){48, 32, 16}, 3);
    assert_true(path_exists(shard_at(run, 2, 16)) && path_exists(shard_at(run, 2, 32)));
    assert_false(path_exists(shard_at(run, 2, 24)));
    assert_int_equal(index_mark(run, 16, false), SHOAL_OK);
    assert_int_equal(index_prune(run, 1), SHOAL_OK);
    assert_snapshots(run, (const int64_t[]){48, 32}, 2);
}

/* Nothing of a snapshot that failed stays, and nothing else goes. */
static void test_drop(void **state)
{
    struct world *w = *state;
    const char *run = world_path(w, "dropped");
    run_write(w, run, 8, 0);
    run_write_shards(w, run, 16);
    assert_int_equal(unlink(shard_at(run, 1, 16)), 0);
    assert_int_equal(index_drop(run, 16, 3), SHOAL_OK);
    for (int k = 0; k < 3; k++) {
        assert_false(path_exists(shard_at(run, k, 16)));
        assert_true(path_exists(shard_at(run, k, 8)));
    }
    assert_latest(run, 8);
}

static void test_sweep(void **state)
{
    struct world *w = *state;
    char temp[SHOAL_MAX_PATH];
    const char *run = world_path(w, "swept");
    run_write(w, run, 8, 0);
    assert_int_equal(path_format(temp, "%s/experts/0001/.tmp-step-00000016.h5-77", run), SHOAL_OK);
    assert_int_equal(file_write(temp, "x", 1), SHOAL_OK);
    assert_int_equal(run_make(run, 3), SHOAL_OK);
    assert_false(path_exists(temp));
    assert_latest(run, 8);
}

/* ---- what a command line may name ------------------------------------------------------------ */

static void assert_resolves(const char *what, const char *to)
{
    char shard[SHOAL_MAX_PATH];
    assert_int_equal(snapshot_resolve(what, shard), SHOAL_OK);
    const size_t length = strlen(shard);
    assert_true(length >= strlen(to));
    assert_string_equal(shard + length - strlen(to), to);
    struct shard_info info;
    assert_int_equal(shard_read_info(shard, &info), SHOAL_OK);
    shard_info_free(&info);
}

static void test_resolve(void **state)
{
    struct world *w = *state;
    char path[SHOAL_MAX_PATH];
    const char *run = world_path(w, "resolved");
    run_write(w, run, 8, 2);
    assert_resolves(run, "resolved/experts/0002/step-00000008.h5"); /* no best.h5 yet */
    assert_resolves(index_at(run, 8), "resolved/experts/0002/step-00000008.h5");
    assert_int_equal(path_format(path, "%s/latest", run), SHOAL_OK);
    assert_resolves(path, "resolved/experts/0002/step-00000008.h5");
    assert_resolves(shard_at(run, 1, 8), "experts/0001/step-00000008.h5");

    assert_int_equal(run_best_path(path, run), SHOAL_OK);
    file_copy(path, shard_at(run, 1, 8));
    assert_resolves(run, "resolved/best.h5");
    assert_resolves(path, "resolved/best.h5");

    /* The recombinant is best but has no shard: the best expert it is, ties to the lower number,
     * never the one that is not a number. */
    run_write(w, run, 16, 3);
    assert_resolves(index_at(run, 16), "experts/0000/step-00000016.h5");
}

static void test_moved_run(void **state)
{
    struct world *w = *state;
    char here[SHOAL_MAX_PATH], there[SHOAL_MAX_PATH], link[SHOAL_MAX_PATH];
    strcpy(here, world_path(w, "before"));
    strcpy(there, world_path(w, "after"));
    run_write(w, here, 8, 2);
    assert_int_equal(rename(here, there), 0);
    assert_latest(there, 8);
    assert_resolves(there, "after/experts/0002/step-00000008.h5");
    assert_int_equal(path_format(link, "%s/latest", there), SHOAL_OK);
    assert_resolves(link, "after/experts/0002/step-00000008.h5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_grow_by_clones),
        cmocka_unit_test(test_grow_anew),
        cmocka_unit_test(test_no_judging_yet),
        cmocka_unit_test(test_latest_link),
        cmocka_unit_test(test_damaged_are_skipped),
        cmocka_unit_test(test_no_snapshot),
        cmocka_unit_test(test_prune_keeps_the_newest),
        cmocka_unit_test(test_prune_counts_good_ones),
        cmocka_unit_test(test_prune_keeps_more),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_moved_run),
    };
    return cmocka_run_group_tests_name("index", tests, world_open, world_close);
}
