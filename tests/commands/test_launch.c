/* test_launch.c - what is said of ranks and machines at the start of a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "commands/launch_text.h"

enum { MOST = 4096 };

/* ---- who differs ---- */

static void expect_where(const char *expected, const char *differ, int per_host)
{
    struct launch_answer answer[64];
    char out[128];
    const int n = (int)strlen(differ);
    memset(answer, 0, sizeof answer);
    for (int i = 0; i < n; i++) {
        snprintf(answer[i].host, sizeof answer[i].host, "node%d", i / per_host);
        answer[i].differs = differ[i] == 'x';
    }
    launch_where(out, sizeof out, answer, n);
    assert_string_equal(out, expected);
}

static void test_where(void **state)
{
    (void)state;
    expect_where("rank 1 (node0)", ".x", 2);
    expect_where("ranks 1, 2 (node0)", ".xx", 8);
    expect_where("ranks 1-3 (node0)", ".xxx", 8);
    expect_where("ranks 1, 3-6, 9 (node0 and node1)", ".x.xxxx..x", 8);
    expect_where("ranks 1-3 (node1, node2 and node3)", ".xxx...", 1);
    expect_where("ranks 2-8 (node1, node2, node3 and 1 more)", "..xxxxxxx.", 2);
}

static void test_what_does_not_fit_is_cut(void **state)
{
    (void)state;
    struct launch_answer answer[2];
    char out[12];
    memset(answer, 0, sizeof answer);
    snprintf(answer[1].host, sizeof answer[1].host, "a-long-name");
    answer[1].differs = 1;
    launch_where(out, sizeof out, answer, 2);
    assert_string_equal(out, "rank 1 (a-l");
}

/* ---- who runs where ---- */

/* A coordinator and `workers` workers on each of `machines` machines, one rank more on the first.
 */
static int make_ranks(struct launch_rank *rank, int machines, int workers, const char *device)
{
    int n = 0;
    for (int m = 0; m < machines; m++) {
        const int node = n;
        for (int i = 0; i < workers + (m == 0); i++, n++) {
            memset(&rank[n], 0, sizeof rank[n]);
            snprintf(rank[n].host, sizeof rank[n].host, "node%d", m + 1);
            rank[n].node = node;
            rank[n].node_cores = 8;
            rank[n].is_worker = n > 0;
            if (n == 0) continue;
            rank[n].threads = 2;
            rank[n].is_host = strchr(device, '%') == NULL;
            const int index = i - (m == 0);
            if (rank[n].is_host)
                snprintf(rank[n].device, sizeof rank[n].device, "%s", device);
            else
                snprintf(rank[n].device, sizeof rank[n].device, "cuda:%d, NVIDIA H200, 150.1 GB",
                         index);
        }
    }
    return n;
}

static void expect_block(const char *expected, const struct launch_rank *rank, int n)
{
    struct launch_machine *const machine = calloc((size_t)n, sizeof *machine);
    char *text = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&text, &bytes);
    assert_non_null(memory);
    assert_non_null(machine);
    launch_machines(machine, rank, n);
    launch_block(memory, machine, rank, n, "carrier pigeon");
    fclose(memory);
    assert_string_equal(text, expected);
    free(text);
    free(machine);
}

static void test_alone(void **state)
{
    (void)state;
    struct launch_rank rank[1];
    memset(rank, 0, sizeof rank);
    strcpy(rank->host, "here");
    strcpy(rank->device, "cpu, 2 threads, avx512");
    rank->is_worker = rank->is_host = 1;
    expect_block("shoal: one process on here; cpu, 2 threads, avx512\n", rank, 1);
}

static void test_one_machine(void **state)
{
    (void)state;
    struct launch_rank rank[8];
    int n = make_ranks(rank, 1, 1, "cpu, 2 threads");
    expect_block(
        "shoal: 2 ranks on 1 machine\n"
        "shoal:   node1: coordinator (rank 0) and 1 worker (rank 1) on 8 cores; cpu, 2 threads\n",
        rank, n);
    n = make_ranks(rank, 1, 4, "%");
    expect_block("shoal: 5 ranks on 1 machine; weights travel by carrier pigeon\n"
                 "shoal:   node1: coordinator (rank 0) and 4 workers (ranks 1-4) on 8 cores; "
                 "NVIDIA H200, 150.1 GB; 2 threads each\n",
                 rank, n);
}

static void test_machines_that_are_alike(void **state)
{
    (void)state;
    struct launch_rank rank[64];
    const int n = make_ranks(rank, 4, 2, "cpu, 2 threads");
    expect_block(
        "shoal: 9 ranks on 4 machines; weights travel by carrier pigeon\n"
        "shoal:   node1: coordinator (rank 0) and 2 workers (ranks 1, 2) on 8 cores; cpu, 2 "
        "threads\n"
        "shoal:   node2 to node4 (3 machines): 2 workers each (ranks 3-8) on 8 cores; cpu, 2 "
        "threads\n",
        rank, n);
    rank[5].node_cores = rank[6].node_cores = 16;
    strcpy(rank[8].device, "cpu, 2 threads, old");
    expect_block(
        "shoal: 9 ranks on 4 machines; weights travel by carrier pigeon\n"
        "shoal:   node1: coordinator (rank 0) and 2 workers (ranks 1, 2) on 8 cores; cpu, 2 "
        "threads\n"
        "shoal:   node2: 2 workers (ranks 3, 4) on 8 cores; cpu, 2 threads\n"
        "shoal:   node3: 2 workers (ranks 5, 6) on 16 cores; cpu, 2 threads\n"
        "shoal:   node4: 2 workers (ranks 7, 8) on 8 cores; cpu, 2 threads and others\n",
        rank, n);
}

/* Ranks dealt out in turn, the coordinator on a machine of its own. */
static void test_dealt_out(void **state)
{
    (void)state;
    struct launch_rank rank[8];
    const int n = make_ranks(rank, 1, 4, "cpu, 2 threads");
    for (int i = 1; i < n; i++) {
        rank[i].node = i % 2 == 1 ? 1 : 2;
        snprintf(rank[i].host, sizeof rank[i].host, "%s", i % 2 == 1 ? "odd" : "even");
    }
    expect_block("shoal: 5 ranks on 3 machines; weights travel by carrier pigeon\n"
                 "shoal:   node1: coordinator (rank 0)\n"
                 "shoal:   odd to even (2 machines): 2 workers each (ranks 1-4) on 8 cores; cpu, 2 "
                 "threads\n",
                 rank, n);
}

static void test_thousands(void **state)
{
    (void)state;
    struct launch_rank *const rank = calloc(MOST + 1, sizeof *rank);
    assert_non_null(rank);
    const int n = make_ranks(rank, MOST / 4, 4, "cpu, 2 threads");
    expect_block(
        "shoal: 4097 ranks on 1024 machines; weights travel by carrier pigeon\n"
        "shoal:   node1: coordinator (rank 0) and 4 workers (ranks 1-4) on 8 cores; cpu, 2 "
        "threads\n"
        "shoal:   node2 to node1024 (1023 machines): 4 workers each (ranks 5-4096) on 8 "
        "cores; cpu, 2 threads\n",
        rank, n);
    free(rank);
}

/* ---- warnings ---- */

static int warn(char (*out)[LAUNCH_LINE], const struct launch_rank *rank, int n)
{
    struct launch_machine machine[64];
    assert_true(n <= 64);
    launch_machines(machine, rank, n);
    return launch_warnings(out, machine, rank, n);
}

static void test_nothing_to_warn_of(void **state)
{
    (void)state;
    struct launch_rank rank[64];
    char out[LAUNCH_WARNINGS][LAUNCH_LINE];
    const int n = make_ranks(rank, 3, 4, "cpu, 2 threads");
    rank[6].ahead_s = 1.5; /* as long as a message may take on a busy machine */
    assert_int_equal(warn(out, rank, n), 0);
}

static void test_more_threads_than_cores(void **state)
{
    (void)state;
    struct launch_rank rank[64];
    char out[LAUNCH_WARNINGS][LAUNCH_LINE];
    const int n = make_ranks(rank, 3, 4, "cpu, 2 threads");
    rank[5].threads = 3;
    assert_int_equal(warn(out, rank, n), 1);
    assert_ptr_equal(strstr(out[0], "node2: 4 workers with 9 threads in all on 8 cores: "), out[0]);
    for (int i = 9; i < n; i++)
        rank[i].node_cores = 1;
    assert_int_equal(warn(out, rank, n), 1);
    assert_ptr_equal(strstr(out[0], "node2 and 1 more machine: 4 workers"), out[0]);
    for (int i = 0; i < n; i++)
        rank[i].is_host = 0; /* GPUs do not mind */
    assert_int_equal(warn(out, rank, n), 0);
}

static void test_staging_and_clocks(void **state)
{
    (void)state;
    struct launch_rank rank[64];
    char out[LAUNCH_WARNINGS][LAUNCH_LINE];
    const int n = make_ranks(rank, 2, 4, "%");
    rank[6].staged = 1;
    rank[7].ahead_s = -31.4;
    rank[8].ahead_s = 3;
    assert_int_equal(warn(out, rank, n), 2);
    assert_non_null(strstr(out[0], "does not take GPU memory (rank 6, node2)"));
    assert_non_null(strstr(out[1], "the clock of node2 is 31 s behind that of node1"));
    rank[7].ahead_s = 0;
    assert_int_equal(warn(out, rank, n), 2);
    assert_non_null(strstr(out[1], "3 s ahead of that of node1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where),
        cmocka_unit_test(test_what_does_not_fit_is_cut),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_one_machine),
        cmocka_unit_test(test_machines_that_are_alike),
        cmocka_unit_test(test_dealt_out),
        cmocka_unit_test(test_thousands),
        cmocka_unit_test(test_nothing_to_warn_of),
        cmocka_unit_test(test_more_threads_than_cores),
        cmocka_unit_test(test_staging_and_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
