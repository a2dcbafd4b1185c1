/* test_gpu.c - slabs between real GPUs, by every transport that can be had; several workers may
 * share one. Exit code 77: there is none. */
#include <stdio.h>
#include <stdlib.h>
#include "comm_tests.h"

enum { SKIPPED = 77, N = 3000017, GPUS = 16 };

struct job_on_gpus {
    struct comm *c;
    struct device *dev; /* NULL on a coordinator of others */
    bool own;           /* every worker has a GPU of its own */
};

static float value(int worker, int64_t i)
{
    return (float)((i * 3 + worker * 17) % 1009);
}

/* A new slab with a worker's values. */
static float *slab_of(struct device *dev, int worker)
{
    float *host = NULL, *there = NULL;
    OK(mem_alloc(N * sizeof *host, "a test slab", &host));
    for (int64_t i = 0; i < N; i++)
        host[i] = value(worker, i);
    OK(device_alloc(dev, N * sizeof *there, "a test slab", &there));
    OK(device_upload(dev, there, host, N * sizeof *host));
    OK(device_sync(dev));
    mem_free(host);
    return there;
}

/* The slab is worker `root`'s; root -1: the sum of all. It is freed. */
static void check(struct job_on_gpus *j, float *there, int root)
{
    float *host = NULL;
    OK(mem_alloc(N * sizeof *host, "a test slab", &host));
    OK(device_download(j->dev, host, there, N * sizeof *host));
    OK(device_sync(j->dev));
    for (int64_t i = 0; i < N; i++) {
        float expected = root >= 0 ? value(root, i) : 0;
        for (int w = 0; root < 0 && w < comm_workers(j->c); w++)
            expected += value(w, i);
        assert_true(host[i] == expected);
    }
    mem_free(host);
    device_free(j->dev, there);
}

static void exchange(struct job_on_gpus *j)
{
    if (!j->dev) return;
    for (int root = 0; root < comm_workers(j->c); root++) {
        float *there = slab_of(j->dev, comm_worker(j->c));
        OK(comm_broadcast(j->c, there, N, root));
        check(j, there, root);
    }
    const int last = comm_workers(j->c) - 1, me = comm_worker(j->c);
    if (last > 0 && (me == 0 || me == last)) {
        float *there = slab_of(j->dev, me);
        OK(comm_move(j->c, there, N, last, 0));
        check(j, there, last);
    }
    float *own = slab_of(j->dev, comm_worker(j->c)), *out = slab_of(j->dev, 0);
    const float *part = own;
    OK(comm_sum(j->c, out, &part, 1, N));
    check(j, out, -1);
    device_free(j->dev, own);
}

static void by(struct job_on_gpus *j, const char *wish)
{
    uint8_t live[64];
    memset(live, 1, sizeof live);
    OK(comm_attach(j->c, wish, j->dev));
    if (comm_is_coordinator(j->c)) print_message("%s: %s\n", wish, comm_describe(j->c));
    exchange(j);
    OK(comm_renew(j->c, j->c->epoch + 1, live, 60));
    exchange(j);
    comm_detach(j->c);
}

static void test_mpi(void **state)
{
    void *bits = ((struct job_on_gpus *)*state)->c;
    struct job_on_gpus *j = *state;
    by(j, "mpi");
    /* The host's bits too, whatever adds. */
    OK(comm_attach(j->c, "mpi", j->dev));
    test_broadcast_from_every_root(&bits);
    test_sum_is_ordered(&bits);
    comm_detach(j->c);
}

static void test_auto(void **state)
{
    by(*state, "auto");
}

static void test_nccl(void **state)
{
    struct job_on_gpus *j = *state;
    if (!j->own) skip();
    by(j, "nccl");
}

/* Out to pinned memory and back, while computing goes on. */
static void test_beside(void **state)
{
    struct device *dev = ((struct job_on_gpus *)*state)->dev;
    float *pinned = NULL;
    bool done = false;
    if (!dev) return;
    assert_true(device_identity(dev)[0] != 0);
    assert_non_null(device_beside_stream(dev));
    float *there = slab_of(dev, 1), *other = slab_of(dev, 2);
    OK(device_alloc_pinned(dev, N * sizeof *pinned, "a test slab", &pinned));
    OK(kernel_axpby(dev, there, other, N, 1.0f, 1.0f));
    OK(device_beside_begin(dev));
    OK(device_fetch(dev, pinned, there, N * sizeof *pinned, 0));
    while (!done)
        OK(device_slot_done(dev, 0, &done));
    for (int64_t i = 0; i < N; i++)
        assert_true(pinned[i] == value(1, i) + value(2, i));
    OK(device_store(dev, other, pinned, N * sizeof *pinned, 1));
    OK(device_beside_end(dev));
    OK(kernel_axpby(dev, other, there, N, -1.0f, 1.0f));
    double sum = 1;
    OK(kernel_sum(dev, &sum, other, N));
    assert_true(sum == 0);
    device_free_pinned(dev, pinned);
    device_free(dev, there);
    device_free(dev, other);
}

int main(int argc, char **argv)
{
    struct job_on_gpus j = {.c = NULL};
    char id[GPUS][DEVICE_ID];
    int count = 0;
    if (comm_open(&argc, &argv, &j.c) != SHOAL_OK) {
        print_error("%s\n", shoal_failure_text());
        return EXIT_FAILURE;
    }
    if (device_list("cuda", id, GPUS, &count) != SHOAL_OK || count == 0) {
        print_message("%s\n", shoal_failure_text());
        comm_close(&j.c);
        return SKIPPED;
    }
    j.own = comm_workers(j.c) <= count;
    if (comm_is_worker(j.c) &&
        device_open("cuda", comm_worker(j.c) % count, 1, &j.dev) != SHOAL_OK) {
        print_error("%s\n", shoal_failure_text());
        comm_abort(j.c, EXIT_FAILURE);
    }
#define WITH_JOB(f) cmocka_unit_test_prestate(f, &j)
    const struct CMUnitTest tests[] = {WITH_JOB(test_beside), WITH_JOB(test_mpi),
                                       WITH_JOB(test_auto), WITH_JOB(test_nccl)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) comm_abort(j.c, EXIT_FAILURE);
    device_close(&j.dev);
    comm_close(&j.c);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
