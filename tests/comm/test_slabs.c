/* test_slabs.c - slabs: broadcast and ordered sum, whole and in tiny chunks. */
#include "comm_tests.h"

enum { WHOLE = 256 << 20 };
static const size_t chunks[] = {4, 28, 64, 1000, WHOLE};
enum { CHUNKS = sizeof chunks / sizeof *chunks };

/* Element i of part p: magnitudes so different that the order of additions shows. */
static float element(int part, int64_t i)
{
    const uint32_t h = ((uint32_t)part * 2654435761u) ^ ((uint32_t)i * 40503u + 12345u);
    const float scale[] = {1e-6f, 1.0f, 3e7f, 1e-2f};
    return scale[h % 4] * ((float)(h >> 8) - 8e6f);
}

static float *new_slab(int64_t n)
{
    float *slab = NULL;
    assert_int_equal(mem_alloc((size_t)(n + 1) * sizeof *slab, "a test slab", &slab), SHOAL_OK);
    return slab;
}

static void broadcast(struct comm *c, int root, int64_t n)
{
    float *slab = new_slab(n);
    slab[n] = 77.0f;
    if (comm_worker(c) == root)
        for (int64_t i = 0; i < n; i++)
            slab[i] = element(root, i);
    assert_int_equal(comm_broadcast(c, slab, n, root), SHOAL_OK);
    for (int64_t i = 0; i < n; i++)
        assert_true(slab[i] == element(root, i));
    assert_true(slab[n] == 77.0f);
    mem_free(slab);
}

void test_broadcast_from_every_root(void **state)
{
    struct comm *c = job(state);
    if (!comm_is_worker(c)) return;
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        comm_set_chunk(c, chunks[chunk]);
        for (int root = 0; root < comm_workers(c); root++)
            broadcast(c, root, 103);
    }
    comm_set_chunk(c, WHOLE);
    broadcast(c, comm_workers(c) - 1, 1000003);
    broadcast(c, 0, 0);
}

/* Sum `total` parts, worker w holding parts [first_of(w), first_of(w + 1)), and compare with the
 * plain loop bit for bit. */
static void sum(struct comm *c, int total, int (*first_of)(int w, int workers, int total),
                int64_t n)
{
    const int me = comm_worker(c), workers = comm_workers(c);
    const int first = first_of(me, workers, total), end = first_of(me + 1, workers, total);
    const float *parts[16];
    float *out = new_slab(n);
    out[n] = 77.0f;
    for (int p = first; p < end; p++) {
        float *part = new_slab(n);
        for (int64_t i = 0; i < n; i++)
            part[i] = element(p, i);
        parts[p - first] = part;
    }
    assert_int_equal(comm_sum(c, out, parts, end - first, n), SHOAL_OK);
    for (int64_t i = 0; i < n; i++) {
        float expected = element(0, i);
        for (int p = 1; p < total; p++)
            expected += element(p, i);
        assert_memory_equal(&out[i], &expected, sizeof expected);
    }
    assert_true(out[n] == 77.0f);
    for (int p = first; p < end; p++)
        mem_free((void *)(uintptr_t)parts[p - first]);
    mem_free(out);
}

static int evenly(int w, int workers, int total)
{
    return w * total / workers;
}

/* All parts at the last worker. */
static int at_the_end(int w, int workers, int total)
{
    return w == workers ? total : 0;
}

void test_sum_is_ordered(void **state)
{
    struct comm *c = job(state);
    if (!comm_is_worker(c)) return;
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        comm_set_chunk(c, chunks[chunk]);
        for (int total = 1; total <= 6; total++)
            sum(c, total, evenly, 103);
        sum(c, 5, evenly, 1);
        sum(c, 5, evenly, 2);
    }
    comm_set_chunk(c, WHOLE);
    sum(c, 6, evenly, 100003);
}

void test_sum_with_empty_workers(void **state)
{
    struct comm *c = job(state);
    if (!comm_is_worker(c)) return;
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        comm_set_chunk(c, chunks[chunk]);
        sum(c, 3, at_the_end, 103);
    }
    comm_set_chunk(c, WHOLE);
}

void test_sum_values_keep_what_is_not_finite(void **state)
{
    struct comm *c = job(state);
    if (!comm_is_worker(c)) return;
    const int me = comm_worker(c), workers = comm_workers(c);
    double values[8] = {0}; /* value i belongs to worker i mod W */
    const double own[8] = {1.0 / 3, NAN, INFINITY, -INFINITY, 1e-300, 5, 0.1, 1e300};
    for (int i = 0; i < 8; i++)
        if (i % workers == me) values[i] = own[i];
    assert_int_equal(comm_sum_values(c, values, 8), SHOAL_OK);
    for (int i = 0; i < 8; i++) {
        if (isnan(own[i])) assert_true(isnan(values[i]));
        if (!isnan(own[i])) assert_true(values[i] == own[i]);
    }
}

void test_bytes_are_counted(void **state)
{
    struct comm *c = job(state);
    if (!comm_is_worker(c)) return;
    float *slab = new_slab(100);
    const uint64_t before = comm_bytes_sent(c);
    assert_int_equal(comm_broadcast(c, slab, 100, 0), SHOAL_OK);
    const uint64_t expected = comm_worker(c) == 0 ? 400u * (uint64_t)(comm_workers(c) - 1) : 0;
    assert_int_equal(comm_bytes_sent(c) - before, expected);
    mem_free(slab);
}

/* What all workers together have sent so far. */
static double sent_by_all(struct comm *c)
{
    double sent = (double)comm_bytes_sent(c);
    assert_int_equal(comm_sum_values(c, &sent, 1), SHOAL_OK);
    return sent;
}

void test_traffic_is_foretold(void **state)
{
    struct comm *c = job(state);
    if (!comm_is_worker(c)) return;
    enum { N = 100003, PARTS = 5 };
    const int workers = comm_workers(c);
    float *slab = new_slab(N);
    double before = sent_by_all(c);
    assert_int_equal(comm_broadcast(c, slab, N, workers - 1), SHOAL_OK);
    assert_true(sent_by_all(c) - before == comm_broadcast_traffic(workers, N));
    before = sent_by_all(c);
    sum(c, PARTS, evenly, N);
    const double off = (sent_by_all(c) - before) - comm_sum_traffic(workers, PARTS, N);
    assert_true(fabs(off) <=
                4.0 * PARTS * workers); /* a stripe is rounded by one element at most */
    mem_free(slab);
}
