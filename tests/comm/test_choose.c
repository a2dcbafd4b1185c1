/* test_choose.c - which transport, from what workers say of themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "comm/choose.h"

enum { W = 4 };

/* A job of W workers on two machines, each with a GPU of its own. */
static void good_job(struct comm_start start[W])
{
    static const char *const ids[W] = {"GPU-a", "GPU-b", "GPU-a", "GPU-b"};
    memset(start, 0, W * sizeof *start);
    for (int w = 0; w < W; w++) {
        start[w].node = w / 2 * 3; /* lowest world ranks 0 and 3 */
        start[w].nccl = 22809;
        strcpy(start[w].device, ids[w]);
    }
}

static void expect(const char *wish, const struct comm_start *start, int n, int transport,
                   const char *why)
{
    const struct comm_choice c = comm_choose(wish, start, n);
    assert_int_equal(c.transport, transport);
    assert_false(c.impossible);
    assert_int_equal(c.may_fall_back, transport == COMM_NCCL && strcmp(wish, "auto") == 0);
    assert_string_equal(c.why, why);
}

static void expect_refusal(const struct comm_start *start, int n, const char *why)
{
    const struct comm_choice c = comm_choose("nccl", start, n);
    assert_true(c.impossible);
    assert_non_null(strstr(c.why, "transport nccl: "));
    assert_non_null(strstr(c.why, why));
    assert_non_null(strstr(c.why, "use auto or mpi"));
    expect("auto", start, n, COMM_MPI, why);
    expect("mpi", start, n, COMM_MPI, "");
}

static void own_gpus(void **state)
{
    struct comm_start start[W];
    (void)state;
    good_job(start);
    expect("auto", start, W, COMM_NCCL, "");
    expect("nccl", start, W, COMM_NCCL, "");
    expect("mpi", start, W, COMM_MPI, "");
    /* Alone there is nothing to exchange, but who asks for NCCL gets it. */
    expect("auto", start, 1, COMM_MPI, "");
    expect("nccl", start, 1, COMM_NCCL, "");
}

static void shared_gpu(void **state)
{
    struct comm_start start[W];
    (void)state;
    good_job(start);
    strcpy(start[3].device, "GPU-a");
    expect_refusal(start, W, "workers 2 and 3 share GPU-a, and NCCL wants a GPU for each");
    /* The same name on another machine is another GPU. */
    start[3].node = 9;
    expect("auto", start, W, COMM_NCCL, "");
}

static void cpu_workers(void **state)
{
    struct comm_start start[W];
    (void)state;
    good_job(start);
    start[2].is_host = 1;
    start[2].device[0] = 0;
    expect_refusal(start, W, "worker 2 computes on the CPU, and NCCL connects GPUs only");
    for (int w = 0; w < W; w++)
        start[w].is_host = 1;
    assert_true(comm_choose("nccl", start, W).impossible);
    expect("auto", start, W, COMM_MPI, ""); /* as always, so there is nothing to explain */
}

static void libraries(void **state)
{
    struct comm_start start[W];
    (void)state;
    good_job(start);
    start[1].nccl = 0;
    strcpy(start[1].reason, "NCCL cannot be loaded: no such file");
    expect_refusal(start, W, "worker 1: NCCL cannot be loaded: no such file");
    start[1].nccl = 22005;
    expect_refusal(start, W, "worker 1 has version 22005 of NCCL and worker 0 version 22809");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(own_gpus), cmocka_unit_test(shared_gpu),
                                       cmocka_unit_test(cpu_workers), cmocka_unit_test(libraries)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
