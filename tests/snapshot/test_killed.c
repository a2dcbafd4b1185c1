/* test_killed.c - a writer is killed at random moments, many times over: what was there before
 * still loads, whole. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/memory.h"
#include "base/rng.h"
#include "snapshot/world.h"

enum { KILLS = 30 };

/* Write the expert over and over, with step = 0, 1, 2, ..., until killed. */
static void write_for_ever(const struct world *w, const char *path, struct expert *e)
{
    for (e->step = 0;; e->step++)
        if (write_expert(w, path, e) != SHOAL_OK) _exit(1);
}

static int count_temps(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *entry = readdir(d); entry; entry = readdir(d))
        n += strncmp(entry->d_name, ".tmp-", 5) == 0;
    closedir(d);
    return n;
}

/* Start a writer, kill it after a random time of up to most_s. */
static void write_and_kill(const struct world *w, const char *path, struct expert *e,
                           uint64_t trial, double most_s)
{
    const struct rng_key key = {.seed = 1, .stream = RNG_SAMPLE};
    const double wait_s = most_s * (double)rng_to_uniform(rng_bits(key, trial));
    int how = 0;
    fflush(stdout);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) write_for_ever(w, path, e);
    clock_sleep_s(wait_s);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
}

static void test_killed_while_writing(void **state)
{
    struct world *w = *state;
    char run[SHOAL_MAX_PATH], path[SHOAL_MAX_PATH], dir[SHOAL_MAX_PATH];
    strcpy(run, world_path(w, "run"));
    assert_int_equal(run_make(run, 1), SHOAL_OK);
    assert_int_equal(run_shard_path(path, run, 0, 8), SHOAL_OK);
    assert_int_equal(path_format(dir, "%s/experts/0000", run), SHOAL_OK);
    struct expert *e = expert_make(w, 0, true, 1), *back = expert_make(w, 0, true, 2);
    const double began_s = clock_now_s();
    assert_int_equal(write_expert(w, path, e), SHOAL_OK);
    const double write_s = clock_now_s() - began_s;

    int interrupted = 0;
    for (uint64_t trial = 0; trial < KILLS; trial++) {
        write_and_kill(w, path, e, trial, 3 * write_s);
        struct shard_past past = {.n_judgings = 0};
        assert_int_equal(shard_read(path, back, &past), SHOAL_OK);
        e->step = back->step; /* which write it is depends on when the writer was killed */
        assert_true(same_expert(e, back) && same_outlier(&past.outlier));
        mem_free(past.judgings);
        mem_free(past.lineage);
        interrupted += count_temps(dir) > 0;
        assert_int_equal(run_make(run, 1), SHOAL_OK);
        assert_int_equal(count_temps(dir), 0);
    }
    /* Otherwise nothing was tested. */
    assert_true(interrupted >= KILLS / 10);
    expert_destroy(&e);
    expert_destroy(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_while_writing),
    };
    return cmocka_run_group_tests_name("killed", tests, world_open, world_close);
}
