/* test_far.c - MPI from device memory: through the stage, and straight. */
#include "transport_tests.h"
#include "comm/mpi_impl.h"

/* What MPI_Ibcast, intercepted as MPI provides for, has seen. */
static struct {
    const struct device *dev; /* NULL: nobody looks */
    int calls, busy;          /* of them with copies on their way */
    int largest;              /* elements */
} watch;

int MPI_Ibcast(void *buffer, int count, MPI_Datatype type, int root, MPI_Comm comm,
               MPI_Request *request)
{
    if (watch.dev) {
        watch.calls++;
        watch.busy += far_pending(watch.dev) > 0;
        if (count > watch.largest) watch.largest = count;
    }
    return PMPI_Ibcast(buffer, count, type, root, comm, request);
}

/* All of test_slabs.c on the attached device. */
static void exchange_everything(struct comm *c)
{
    void *state = c;
    test_broadcast_from_every_root(&state);
    test_moves_between_all_pairs(&state);
    test_sum_is_ordered(&state);
    test_sum_with_empty_workers(&state);
    test_bytes_are_counted(&state);
    test_means_of_packed_changes(&state);
    test_traffic_is_foretold(&state);
}

void test_staged_slabs(void **state)
{
    struct comm *c = job(state);
    c->mpi_reads_device = 0;
    struct device *dev = attach_far(c, "mpi", (struct far_setup){.identity = ""});
    assert_string_equal(comm_describe(c), "MPI from device memory by way of pinned host memory");
    assert_int_equal(comm_is_staged(c), dev != NULL);
    exchange_everything(c);
    if (dev) assert_int_equal(far_pending(dev), 0);
    detach_far(c, &dev);
    assert_false(comm_is_staged(c));
}

void test_direct_slabs(void **state)
{
    struct comm *c = job(state);
    c->mpi_reads_device = 1;
    struct device *dev =
        attach_far(c, "mpi", (struct far_setup){.identity = "", .reachable = true});
    assert_string_equal(comm_describe(c), "MPI from device memory");
    assert_false(comm_is_staged(c));
    exchange_everything(c);
    detach_far(c, &dev);
    c->mpi_reads_device = -1;
}

/* Worker 0 computes on the CPU, straight out of host memory, the others go by way of the stage. */
void test_mixed_devices(void **state)
{
    struct comm *c = job(state);
    struct device *dev = NULL;
    c->mpi_reads_device = 0;
    if (comm_worker(c) == 0) OK(device_open("cpu", 0, 1, &dev));
    if (comm_worker(c) > 0) dev = far_open((struct far_setup){.identity = ""});
    OK(comm_attach(c, "auto", dev));
    if (comm_worker(c) == 0) assert_non_null(strstr(comm_describe(c), "MPI from host memory"));
    slabs_in_short(c);
    means_in_short(c);
    comm_set_chunk(c, (size_t)64 << 20); /* more than fits the stage */
    if (dev && comm_workers(c) == 2) {
        float *there = NULL;
        const int64_t n = (MPI_STAGE_BYTES / 4) + 5;
        OK(device_alloc(dev, (size_t)n * sizeof *there, "a test slab", &there));
        OK(comm_broadcast(c, there, n, 0));
        device_free(dev, there);
    }
    comm_set_chunk(c, COMM_CHUNK_BYTES);
    detach_far(c, &dev);
    c->mpi_reads_device = -1;
}

/* MPI says that it can, and what comes over is not what was sent: one worker's memory reads
 * differently, and all go by way of the stage. Alone nothing comes over. */
void test_garbled_memory_is_not_trusted(void **state)
{
    struct comm *c = job(state);
    if (comm_workers(c) == 1) return;
    const uint32_t mask = comm_worker(c) == comm_workers(c) - 1 ? 0x5a5a5a5au : 0;
    c->mpi_reads_device = 1;
    struct device *dev =
        attach_far(c, "mpi", (struct far_setup){.identity = "", .reachable = true, .mask = mask});
    assert_string_equal(comm_describe(c), "MPI from device memory by way of pinned host memory");
    assert_string_equal(shoal_failure_text(), "");
    slabs_in_short(c);
    detach_far(c, &dev);
    c->mpi_reads_device = -1;
}

/* Whole numbers, different for every worker. */
static void fill(float *host, int worker, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        host[i] = (float)((i * 3 + worker * 17) % 1009);
}

/* An exchange may end long after it has begun, its description gone. */
void test_begin_and_end(void **state)
{
    enum { N = 1000 };
    struct comm *c = job(state);
    struct device *dev = attach_far(c, "mpi", (struct far_setup){.identity = ""});
    float *there = NULL, host[N], expected[N];
    const int root = comm_workers(c) - 1;
    if (dev) {
        OK(device_alloc(dev, sizeof host, "a test slab", &there));
        fill(host, comm_worker(c), N);
        OK(device_upload(dev, there, host, sizeof host));
        struct comm_exchange x = {.kind = COMM_BROADCAST, .n = N, .out = there, .root = root};
        OK(comm_begin(c, &x));
        memset(&x, 0xff, sizeof x);
        OK(comm_end(c));
        OK(device_download(dev, host, there, sizeof host));
        fill(expected, root, N);
        assert_memory_equal(host, expected, sizeof host);
        device_free(dev, there);
    }
    detach_far(c, &dev);
}

/* A slab is cut into messages of at most the size that is set, of less than 1 GiB in any case, and
 * into whole elements. */
void test_long_slab_is_cut(void **state)
{
    struct comm *c = job(state);
    struct mpi_transport t = {.base = {.c = c}};
    for (int staged = 0; staged <= 1; staged++) {
        t.staged = staged != 0;
        comm_set_chunk(c, (size_t)3 << 30);
        assert_int_equal(mpi_message_elements(&t), staged ? MPI_STAGE_BYTES / 4 : (1 << 28) - 1);
        comm_set_chunk(c, (size_t)1 << 30);
        assert_true(4 * mpi_message_elements(&t) < 1 << 30);
        comm_set_chunk(c, 7);
        assert_int_equal(mpi_message_elements(&t), 1);
    }
    comm_set_chunk(c, COMM_CHUNK_BYTES);
    /* Counts that MPI takes as int stay in range for slabs of any length. */
    for (int workers = 2; workers <= 1024; workers *= 2) {
        const int64_t bytes = comm_sum_buffers(workers, 8, 8, 8 * workers, (int64_t)1 << 40);
        assert_true(bytes > 0 && bytes < (int64_t)3 * COMM_CHUNK_BYTES);
    }
}

/* While a chunk is on the wire the root's next leaves its device, and the others' last one enters
 * theirs: all chunks but one meet another on its way. */
void test_stage_overlaps(void **state)
{
    enum { N = 45, CHUNK = 10, CHUNKS = 5 };
    struct comm *c = job(state);
    if (comm_workers(c) == 1) return;
    struct device *dev = attach_far(c, "mpi", (struct far_setup){.identity = ""});
    comm_set_chunk(c, CHUNK * sizeof(float));
    if (dev) {
        float *there = NULL;
        OK(device_alloc(dev, N * sizeof *there, "a test slab", &there));
        memset(&watch, 0, sizeof watch);
        watch.dev = dev;
        OK(comm_broadcast(c, there, N, 0));
        watch.dev = NULL;
        assert_int_equal(watch.calls, CHUNKS);
        assert_int_equal(watch.busy, CHUNKS - 1);
        assert_int_equal(watch.largest, CHUNK);
        assert_int_equal(far_pending(dev), 0);
        device_free(dev, there);
    }
    comm_set_chunk(c, COMM_CHUNK_BYTES);
    detach_far(c, &dev);
}

/* Without the last worker, which goes on elsewhere, and then with it again. */
void test_renewed_by_mpi(void **state)
{
    enum { N = 100 };
    struct comm *c = job(state);
    const int workers = comm_workers(c), last = workers - 1;
    uint8_t live[64];
    bool speaker = false;
    struct device *dev = attach_far(c, "mpi", (struct far_setup){.identity = ""});
    memset(live, 1, sizeof live);
    if (workers > 1) live[last] = 0;
    const uint32_t epoch = c->epoch + 1;
    const bool stays = !comm_is_worker(c) || live[comm_worker(c)];
    if (stays) OK(comm_renew(c, epoch, live, 10));
    if (stays) assert_int_equal(comm_live(c), workers > 1 ? workers - 1 : 1);
    if (dev && stays) {
        float *there = NULL, host[N] = {0};
        OK(device_alloc(dev, sizeof host, "a test slab", &there));
        const float *part = there;
        for (int i = 0; i < N; i++)
            host[i] = 1;
        OK(device_upload(dev, there, host, sizeof host));
        OK(comm_broadcast(c, there, N, 0));
        float *out = NULL;
        OK(device_alloc(dev, sizeof host, "a test slab", &out));
        OK(comm_sum(c, out, &part, 1, N));
        OK(device_download(dev, host, out, sizeof host));
        for (int i = 0; i < N; i++)
            assert_true(host[i] == (float)comm_live(c));
        device_free(dev, out);
        if (workers > 1) assert_int_equal(comm_broadcast(c, there, N, last), SHOAL_EPEER);
        device_free(dev, there);
    }
    if (stays) assert_int_equal(comm_renew(c, epoch, live, 10), SHOAL_EARG);
    OK(comm_agree(c, SHOAL_OK, &speaker));
    live[last] = 1;
    OK(comm_renew(c, epoch + 1, live, 10));
    slabs_in_short(c);
    detach_far(c, &dev);
}
