/* test_slabs.c - slabs on whatever device is attached: broadcast and ordered sum, whole and in tiny
 * chunks. */
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

/* A slab of n + 1 on the device, of part p; the element after it is a guard. */
static float *new_there(struct comm *c, int p, int64_t n)
{
    const size_t bytes = (size_t)(n + 1) * sizeof(float);
    float *there = NULL, *host = new_slab(n);
    for (int64_t i = 0; p >= 0 && i < n; i++)
        host[i] = element(p, i);
    host[n] = 77.0f;
    OK(device_alloc(device_of(c), bytes, "a test slab", &there));
    OK(device_upload(device_of(c), there, host, bytes));
    OK(device_sync(device_of(c)));
    mem_free(host);
    return there;
}

/* Back from the device; freed there. */
static float *bring_back(struct comm *c, float *there, int64_t n)
{
    float *host = new_slab(n);
    OK(device_download(device_of(c), host, there, (size_t)(n + 1) * sizeof *host));
    OK(device_sync(device_of(c)));
    device_free(device_of(c), there);
    return host;
}

static void broadcast(struct comm *c, int root, int64_t n)
{
    float *there = new_there(c, comm_worker(c) == root ? root : -1, n);
    OK(comm_broadcast(c, there, n, root));
    float *slab = bring_back(c, there, n);
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

/* All workers go through the same list of moves; each takes part in its own. */
static void move(struct comm *c, int from, int to, int64_t n)
{
    const int me = comm_worker(c);
    float *there = new_there(c, me, n);
    const uint64_t before = comm_bytes_sent(c);
    if (me == from || me == to) OK(comm_move(c, there, n, from, to));
    assert_int_equal(comm_bytes_sent(c) - before,
                     me == from ? (uint64_t)n * sizeof(float) : (uint64_t)0);
    float *slab = bring_back(c, there, n);
    for (int64_t i = 0; i < n; i++)
        assert_true(slab[i] == element(me == to ? from : me, i));
    assert_true(slab[n] == 77.0f);
    mem_free(slab);
}

void test_moves_between_all_pairs(void **state)
{
    struct comm *c = job(state);
    if (!comm_is_worker(c)) return;
    const int workers = comm_workers(c);
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        comm_set_chunk(c, chunks[chunk]);
        for (int from = 0; from < workers; from++)
            for (int to = 0; to < workers; to++)
                if (from != to) move(c, from, to, 103);
    }
    comm_set_chunk(c, WHOLE);
    if (workers > 1) move(c, workers - 1, 0, 1000003);
    if (workers > 1) move(c, 0, workers - 1, 0);
}

/* Sum `total` parts, worker w holding parts [first_of(w), first_of(w + 1)), and compare with the
 * plain loop bit for bit. */
static void sum(struct comm *c, int total, int (*first_of)(int w, int workers, int total),
                int64_t n)
{
    const int me = comm_worker(c), workers = comm_workers(c);
    const int first = first_of(me, workers, total), end = first_of(me + 1, workers, total);
    const float *parts[16];
    float *there = new_there(c, -1, n);
    for (int p = first; p < end; p++)
        parts[p - first] = new_there(c, p, n);
    OK(comm_sum(c, there, parts, end - first, n));
    float *out = bring_back(c, there, n);
    for (int64_t i = 0; i < n; i++) {
        float expected = element(0, i);
        for (int p = 1; p < total; p++)
            expected += element(p, i);
        assert_memory_equal(&out[i], &expected, sizeof expected);
    }
    assert_true(out[n] == 77.0f);
    for (int p = first; p < end; p++)
        device_free(device_of(c), (void *)(uintptr_t)parts[p - first]);
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

void slabs_in_short(struct comm *c)
{
    if (!comm_is_worker(c)) return;
    comm_set_chunk(c, 64);
    for (int root = 0; root < comm_workers(c); root++)
        broadcast(c, root, 103);
    sum(c, 1, evenly, 103);
    sum(c, 6, evenly, 103);
    sum(c, 3, at_the_end, 103);
    comm_set_chunk(c, WHOLE);
}

/* To eight significant bits, ties to even, by way of the C library. */
static float rounded(double x)
{
    int exponent;
    const double mantissa = frexp(x, &exponent);
    return (float)ldexp(nearbyint(ldexp(mantissa, 8)), exponent - 8);
}

/* The mean of `total` parts as differences from a base. */
static void mean16(struct comm *c, int total, int64_t n, bool tells)
{
    const int me = comm_worker(c), workers = comm_workers(c);
    const int first = evenly(me, workers, total), end = evenly(me + 1, workers, total);
    const float *parts[16];
    int parts_of[16];
    for (int w = 0; w < workers; w++)
        parts_of[w] = evenly(w + 1, workers, total) - evenly(w, workers, total);
    float *there = new_there(c, total, n);
    for (int p = first; p < end; p++)
        parts[p - first] = new_there(c, p, n);
    const struct comm_exchange x = {.kind = COMM_MEAN16,
                                    .n = n,
                                    .out = there,
                                    .base = there,
                                    .parts = parts,
                                    .parts_of = tells ? parts_of : NULL,
                                    .n_parts = end - first};
    OK(comm_exchange(c, &x));
    float *out = bring_back(c, there, n);
    for (int64_t i = 0; i < n; i++) {
        const float base = element(total, i);
        float sum = 0;
        for (int p = 0; p < total; p++)
            sum += rounded(element(p, i) - base);
        const float expected = base + 1.0f / (float)total * rounded(sum);
        assert_true(out[i] == expected);
    }
    assert_true(out[n] == 77.0f);
    for (int p = first; p < end; p++)
        device_free(device_of(c), (void *)(uintptr_t)parts[p - first]);
    mem_free(out);
}

void test_means_of_rounded_differences(void **state)
{
    struct comm *c = job(state);
    if (!comm_is_worker(c)) return;
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        comm_set_chunk(c, chunks[chunk]);
        for (int total = 1; total <= 6; total++)
            mean16(c, total, 103, total % 2 == 0);
    }
    comm_set_chunk(c, WHOLE);
    mean16(c, 5, 100003, true);
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
    float *slab = new_there(c, 0, 100);
    const uint64_t before = comm_bytes_sent(c);
    OK(comm_broadcast(c, slab, 100, 0));
    const uint64_t expected = comm_worker(c) == 0 ? 400u * (uint64_t)(comm_workers(c) - 1) : 0;
    assert_int_equal(comm_bytes_sent(c) - before, expected);
    device_free(device_of(c), slab);
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
    float *slab = new_there(c, 0, N);
    const double moved = (double)comm_bytes_moved(c), sent = sent_by_all(c);
    double before = sent;
    OK(comm_broadcast(c, slab, N, workers - 1));
    assert_true(sent_by_all(c) - before == comm_broadcast_traffic(workers, N));
    before = sent_by_all(c);
    sum(c, PARTS, evenly, N);
    assert_true(fabs((double)comm_bytes_moved(c) - moved - (sent_by_all(c) - sent)) < 0.5);
    const double off = (sent_by_all(c) - before) - comm_sum_traffic(workers, PARTS, N);
    assert_true(fabs(off) <=
                4.0 * PARTS * workers); /* a stripe is rounded by one element at most */
    device_free(device_of(c), slab);
}
