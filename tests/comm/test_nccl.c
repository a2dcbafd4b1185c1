/* test_nccl.c - the NCCL transport against a fake NCCL. */
#include "comm/fake_nccl.h"
#include "transport_tests.h"

enum { N = 1000 };
static const double short_s = 0.3; /* patience where somebody will not answer */

struct fixture {
    struct comm *c;
    struct fake_nccl *nccl;
    struct device *dev; /* NULL on a coordinator of others */
    float *there;       /* N elements on it */
    char id[DEVICE_ID];
};

static struct far_setup own_gpu(struct fixture *f)
{
    return (struct far_setup){.identity = own_identity(f->c, f->id)};
}

static void prepare(struct fixture *f, void **state)
{
    memset(f, 0, sizeof *f);
    f->c = job(state);
    f->nccl = fake_nccl_install(f->c);
}

/* A job of workers with a GPU each, attached by NCCL. */
static void begin(struct fixture *f, void **state)
{
    prepare(f, state);
    f->dev = attach_far(f->c, "nccl", own_gpu(f));
    assert_string_equal(comm_describe(f->c), "NCCL");
    if (f->dev) OK(device_alloc(f->dev, N * sizeof(float), "a test slab", &f->there));
}

static void end(struct fixture *f)
{
    if (f->there) device_free(f->dev, f->there);
    f->c->patience_s = COMM_PATIENCE_S;
    detach_far(f->c, &f->dev);
    fake_nccl_remove(f->c);
}

/* Whole numbers, whose sums are exact in any order. */
static float value(int worker, int64_t i)
{
    return (float)((i * 3 + worker * 17) % 1009);
}

static void fill(struct fixture *f, int worker)
{
    float host[N];
    for (int64_t i = 0; i < N; i++)
        host[i] = value(worker, i);
    OK(device_upload(f->dev, f->there, host, sizeof host));
}

/* The slab is what worker `root` had; root -1: the sum of all live workers, once for each part. */
static void check(struct fixture *f, int root, int parts)
{
    float host[N];
    OK(device_download(f->dev, host, f->there, sizeof host));
    for (int64_t i = 0; i < N; i++) {
        float expected = root >= 0 ? value(root, i) : 0;
        for (int w = 0; root < 0 && w < comm_workers(f->c); w++)
            if (f->c->live_rank[w] >= 0) expected += (float)parts * value(w, i);
        assert_true(host[i] == expected);
    }
}

static void broadcast_works(struct fixture *f, int root)
{
    if (!f->dev) return;
    fill(f, comm_worker(f->c));
    OK(comm_broadcast(f->c, f->there, N, root));
    check(f, root, 0);
}

/* From worker `from` to worker `to`; the others have nothing to do with it. */
static void move_works(struct fixture *f, int from, int to)
{
    const int me = comm_worker(f->c);
    if (!f->dev) return;
    fill(f, me);
    const uint64_t before = comm_bytes_sent(f->c);
    if (me == from || me == to) OK(comm_move(f->c, f->there, N, from, to));
    assert_int_equal(comm_bytes_sent(f->c) - before, me == from ? N * sizeof(float) : 0);
    check(f, me == to ? from : me, 0);
}

static void sum_works(struct fixture *f, int parts)
{
    const float *part[3];
    float *own = NULL;
    if (!f->dev) return;
    OK(device_alloc(f->dev, N * sizeof *own, "a test slab", &own));
    fill(f, comm_worker(f->c));
    OK(device_copy(f->dev, own, f->there, N * sizeof *own));
    for (int p = 0; p < parts; p++)
        part[p] = own;
    OK(comm_sum(f->c, f->there, part, parts, N));
    check(f, -1, parts);
    device_free(f->dev, own);
}

void test_nccl_exchanges(void **state)
{
    struct fixture f;
    begin(&f, state);
    if (f.dev) {
        assert_int_equal(f.nccl->inits, 1);
        assert_int_equal(f.nccl->nranks, comm_workers(f.c));
        assert_int_equal(f.nccl->rank, comm_worker(f.c));
        /* All have got what worker 0 made. */
        char first[sizeof f.nccl->id.bytes];
        memcpy(first, f.nccl->id.bytes, sizeof first);
        assert_int_equal(MPI_Bcast(first, sizeof first, MPI_BYTE, 0, f.c->workers), MPI_SUCCESS);
        assert_string_equal(f.nccl->id.bytes, first);
        assert_memory_equal(first, "id ", 3);
    }
    for (int root = 0; root < comm_workers(f.c); root++)
        broadcast_works(&f, root);
    for (int from = 0; from < comm_workers(f.c); from++)
        for (int to = 0; to < comm_workers(f.c); to++)
            if (from != to) move_works(&f, from, to);
    sum_works(&f, 1);
    sum_works(&f, 3);
    end(&f);
    if (comm_is_worker(f.c)) {
        assert_int_equal(f.nccl->finalized, 1);
        assert_int_equal(f.nccl->destroyed, 1);
        assert_int_equal(f.nccl->aborts, 0);
    }
}

void test_nccl_chunks(void **state)
{
    struct fixture f;
    begin(&f, state);
    comm_set_chunk(f.c, 300 * sizeof(float));
    const uint64_t before = comm_bytes_sent(f.c);
    broadcast_works(&f, 0);
    const uint64_t others = (uint64_t)comm_workers(f.c) - 1;
    if (f.dev) {
        assert_int_equal(f.nccl->broadcasts, 4); /* 300 + 300 + 300 + 100 */
        assert_int_equal(f.nccl->largest, 300);
        assert_int_equal(comm_bytes_sent(f.c) - before,
                         comm_worker(f.c) == 0 ? others * N * sizeof(float) : 0);
    }
    comm_set_chunk(f.c, (size_t)(N / 2) * sizeof(float));
    sum_works(&f, 2);
    if (f.dev) assert_int_equal(f.nccl->sums, 2);
    /* A worker may have no part of a sum. */
    if (f.dev) {
        fill(&f, comm_worker(f.c));
        const float *part = f.there;
        float *out = NULL;
        OK(device_alloc(f.dev, N * sizeof *out, "a test slab", &out));
        OK(comm_sum(f.c, out, &part, comm_worker(f.c) == 0, N));
        OK(device_copy(f.dev, f.there, out, N * sizeof *out));
        check(&f, 0, 0);
        device_free(f.dev, out);
    }
    comm_set_chunk(f.c, COMM_CHUNK_BYTES);
    end(&f);
}

/* auto: nothing to do alone, impossible on a shared GPU, otherwise NCCL. */
void test_nccl_alone_or_shared(void **state)
{
    struct fixture f;
    prepare(&f, state);
    f.dev = attach_far(f.c, "auto", own_gpu(&f));
    assert_string_equal(comm_describe(f.c), comm_workers(f.c) > 1
                                                ? "NCCL"
                                                : "MPI from device memory by way of pinned host "
                                                  "memory");
    end(&f);
    if (comm_workers(f.c) == 1) return;
    prepare(&f, state);
    f.dev = attach_far(f.c, "auto", (struct far_setup){.identity = "GPU-one"});
    assert_non_null(strstr(comm_describe(f.c), "as workers 0 and 1 share GPU-one"));
    assert_int_equal(f.nccl->inits, 0);
    f.there = NULL;
    end(&f);
    prepare(&f, state);
    f.dev = comm_is_worker(f.c) ? far_open((struct far_setup){.identity = "GPU-one"}) : NULL;
    assert_int_equal(comm_attach(f.c, "nccl", f.dev), SHOAL_ECONFIG);
    assert_non_null(strstr(shoal_failure_text(), "share GPU-one"));
    end(&f);
}

void test_nccl_needs_gpus(void **state)
{
    struct fixture f;
    prepare(&f, state);
    if (comm_is_worker(f.c)) OK(device_open("cpu", 0, 1, &f.dev));
    assert_int_equal(comm_attach(f.c, "nccl", f.dev), SHOAL_ECONFIG);
    assert_non_null(strstr(shoal_failure_text(), "worker 0 computes on the CPU"));
    end(&f);
}

/* Attach where it must fail, on all ranks; returns the status here. */
static enum shoal_status fail_to_attach(struct fixture *f)
{
    f->c->patience_s = short_s;
    f->dev = comm_is_worker(f->c) ? far_open(own_gpu(f)) : NULL;
    return comm_attach(f->c, "nccl", f->dev);
}

/* The last worker's communicator is never ready: it gives up after its patience, and none goes on.
 */
void test_nccl_never_ready(void **state)
{
    struct fixture f;
    prepare(&f, state);
    const bool last = comm_worker(f.c) == comm_workers(f.c) - 1;
    if (last) f.nccl->stalls = FAKE_INIT;
    const enum shoal_status st = fail_to_attach(&f);
    if (!comm_is_worker(f.c)) assert_int_equal(st, SHOAL_OK); /* it knows no better */
    if (comm_is_worker(f.c)) {
        assert_int_equal(st, SHOAL_EPEER);
        assert_non_null(strstr(shoal_failure_text(),
                               last ? "ncclCommInitRankConfig: no answer" : "another worker"));
        assert_int_equal(f.nccl->aborts, last);
        assert_int_equal(f.nccl->destroyed, !last);
    }
    end(&f);
}

/* auto asks for no more than what works. */
void test_nccl_falls_back(void **state)
{
    struct fixture f;
    prepare(&f, state);
    if (comm_workers(f.c) == 1) return;
    if (comm_worker(f.c) == 0) f.nccl->fails = FAKE_INIT;
    f.c->patience_s = short_s;
    f.dev = attach_far(f.c, "auto", own_gpu(&f));
    assert_non_null(strstr(comm_describe(f.c), "MPI from device memory"));
    assert_non_null(strstr(comm_describe(f.c), "as NCCL fails"));
    assert_int_equal(f.c->choice.transport, COMM_MPI); /* on the coordinator too */
    if (f.dev) OK(device_alloc(f.dev, N * sizeof(float), "a test slab", &f.there));
    broadcast_works(&f, 0);
    end(&f);
}

/* Whoever should make the identity cannot: the others hear of it, and do not wait. */
void test_nccl_without_identity(void **state)
{
    struct fixture f;
    prepare(&f, state);
    if (comm_worker(f.c) == 0) f.nccl->fails = FAKE_ID;
    const enum shoal_status st = fail_to_attach(&f);
    if (comm_is_worker(f.c)) {
        const bool first = comm_worker(f.c) == 0;
        assert_int_equal(st, SHOAL_EPEER);
        assert_non_null(strstr(shoal_failure_text(),
                               first ? "ncclGetUniqueId failed: remote process exited: made up"
                                     : "NCCL fails on the worker"));
        assert_int_equal(f.nccl->inits, 0);
    }
    end(&f);
}

/* After a failure there is no communicator, and then a new one. */
static void recover(struct fixture *f)
{
    uint8_t live[64];
    memset(live, 1, sizeof live);
    f->nccl->fails = f->nccl->stalls = FAKE_NONE;
    f->nccl->breaks = false;
    if (f->dev) {
        far_block_slot(f->dev, -1);
        assert_int_equal(f->nccl->aborts, 1);
        assert_int_equal(comm_broadcast(f->c, f->there, N, 0), SHOAL_EPEER);
        assert_non_null(strstr(shoal_failure_text(), "lost each other"));
    }
    f->c->patience_s = COMM_PATIENCE_S;
    OK(comm_renew(f->c, f->c->epoch + 1, live, 10));
    broadcast_works(f, comm_workers(f->c) - 1);
    sum_works(f, 2);
    if (f->dev) assert_int_equal(f->nccl->inits, 2);
    if (f->dev) assert_int_equal(f->nccl->aborts, 1);
}

void test_nccl_fails_at_once(void **state)
{
    struct fixture f;
    begin(&f, state);
    f.nccl->fails = FAKE_BROADCAST;
    if (f.dev) {
        assert_int_equal(comm_broadcast(f.c, f.there, N, 0), SHOAL_EPEER);
        assert_string_equal(shoal_failure_text(),
                            "ncclBroadcast failed: remote process exited: made up for a test");
    }
    recover(&f);
    end(&f);
    begin(&f, state);
    f.nccl->stalls = FAKE_ALL_REDUCE;
    f.c->patience_s = short_s;
    if (f.dev) {
        const float *part = f.there;
        float *out = NULL;
        OK(device_alloc(f.dev, N * sizeof *out, "a test slab", &out));
        assert_int_equal(comm_sum(f.c, out, &part, 1, N), SHOAL_EPEER);
        assert_string_equal(shoal_failure_text(),
                            "ncclAllReduce: no answer from the other workers for 0.3 s");
        device_free(f.dev, out);
    }
    recover(&f);
    end(&f);
}

/* Queued well, and then it breaks, or nothing more is heard of it. */
void test_nccl_fails_under_way(void **state)
{
    struct fixture f;
    for (int silent = 0; silent <= 1; silent++) {
        begin(&f, state);
        if (f.dev) {
            const struct comm_exchange x = {
                .kind = COMM_BROADCAST, .n = N, .out = f.there, .root = 0};
            f.c->patience_s = short_s;
            OK(comm_begin(f.c, &x));
            far_block_slot(f.dev, 0);
            f.nccl->breaks = !silent;
            assert_int_equal(comm_end(f.c), SHOAL_EPEER);
            assert_non_null(
                strstr(shoal_failure_text(), silent ? "no answer from the other workers"
                                                    : "failed: remote process exited: made up"));
        }
        recover(&f);
        end(&f);
    }
}

/* The last worker is gone; the others go on. Then all are there again. */
void test_nccl_loses_a_worker(void **state)
{
    struct fixture f;
    uint8_t live[64];
    bool speaker = false;
    begin(&f, state);
    const int workers = comm_workers(f.c), last = workers - 1;
    const uint32_t epoch = f.c->epoch + 1;
    memset(live, 1, sizeof live);
    if (workers > 1) live[0] = 0;
    const bool stays = !comm_is_worker(f.c) || live[comm_worker(f.c)];
    if (stays) {
        OK(comm_renew(f.c, epoch, live, 10));
        broadcast_works(&f, last);
        sum_works(&f, 1);
        assert_int_equal(comm_live(f.c), workers > 1 ? workers - 1 : 1);
        if (f.dev) assert_int_equal(f.nccl->nranks, comm_live(f.c));
    } else {
        assert_int_equal(comm_renew(f.c, epoch, live, 10), SHOAL_EPEER);
    }
    OK(comm_agree(f.c, SHOAL_OK, &speaker));
    live[0] = 1;
    OK(comm_renew(f.c, epoch + 1, live, 10));
    broadcast_works(&f, 0);
    if (f.dev) assert_int_equal(f.nccl->nranks, workers);
    end(&f);
}
