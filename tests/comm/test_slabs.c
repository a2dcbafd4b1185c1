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

/* ---- means as packed changes ---- */

enum { MOST_PARTS = 8 };

/* A mean as one processor would find it, with all parts at hand. */
struct whole {
    struct device *cpu;
    int64_t n;
    int total;
    enum packing packing;
    float *mean, *part[MOST_PARTS], *lost[MOST_PARTS], *lost_mean, *sum;
    uint8_t *packed;
};

static struct whole whole_open(enum packing packing, int total, int64_t n)
{
    struct whole m = {.n = n, .total = total, .packing = packing};
    OK(device_open("cpu", 0, 1, &m.cpu));
    m.mean = new_slab(n);
    m.lost_mean = new_slab(n);
    m.sum = new_slab(n);
    OK(mem_alloc((size_t)pack_bytes(packing, n), "packed changes", &m.packed));
    for (int64_t i = 0; i < n; i++)
        m.mean[i] = element(total, i);
    for (int p = 0; p < total; p++) {
        m.lost[p] = new_slab(n);
        m.part[p] = new_slab(n);
        for (int64_t i = 0; i < n; i++)
            m.part[p][i] = element(p, i);
    }
    return m;
}

static void whole_step(struct whole *m, bool keeps)
{
    for (int p = 0; p < m->total; p++) {
        OK(kernel_pack(m->cpu, m->packed, keeps ? m->lost[p] : NULL, m->part[p], m->mean, m->n,
                       m->packing));
        OK(kernel_unpack(m->cpu, m->sum, m->packed, m->n, m->packing, 1.0f / (float)m->total,
                         p > 0 ? 1.0f : 0.0f));
    }
    OK(kernel_pack(m->cpu, m->packed, keeps ? m->lost_mean : NULL, m->sum, NULL, m->n, m->packing));
    OK(kernel_unpack(m->cpu, m->mean, m->packed, m->n, m->packing, 1.0f, 1.0f));
}

static void whole_close(struct whole *m)
{
    for (int p = 0; p < m->total; p++) {
        mem_free(m->part[p]);
        mem_free(m->lost[p]);
    }
    mem_free(m->packed);
    mem_free(m->sum);
    mem_free(m->lost_mean);
    mem_free(m->mean);
    device_close(&m->cpu);
}

/* Three rounds of the same parts: what is lost in one comes back in the next. */
static void mean(struct comm *c, enum packing packing, int total, int64_t n, bool keeps)
{
    const int me = comm_worker(c), workers = comm_workers(c);
    const int first = evenly(me, workers, total), own = evenly(me + 1, workers, total) - first;
    const float *parts[MOST_PARTS];
    float *lost[MOST_PARTS], *there = new_there(c, total, n), *lost_mean = new_there(c, -1, n);
    int parts_of[16];
    struct whole m = whole_open(packing, total, n);
    for (int w = 0; w < workers; w++)
        parts_of[w] = evenly(w + 1, workers, total) - evenly(w, workers, total);
    for (int p = 0; p < own; p++) {
        parts[p] = new_there(c, first + p, n);
        lost[p] = new_there(c, -1, n);
    }
    const struct comm_exchange x = {.kind = COMM_MEAN,
                                    .n = n,
                                    .out = there,
                                    .parts = parts,
                                    .parts_of = total % 2 ? parts_of : NULL,
                                    .n_parts = own,
                                    .packing = packing,
                                    .lost = keeps ? lost : NULL,
                                    .lost_mean = keeps ? lost_mean : NULL};
    for (int k = 0; k < 3; k++) {
        OK(comm_exchange(c, &x));
        whole_step(&m, keeps);
    }
    float *out = bring_back(c, there, n);
    assert_memory_equal(out, m.mean, (size_t)n * sizeof *out);
    assert_true(out[n] == 77.0f);
    mem_free(out);
    for (int p = 0; p < own; p++) {
        float *kept = bring_back(c, lost[p], n);
        assert_memory_equal(kept, m.lost[first + p], (size_t)n * sizeof *kept);
        assert_true(kept[n] == 77.0f);
        mem_free(kept);
        device_free(device_of(c), (void *)(uintptr_t)parts[p]);
    }
    device_free(device_of(c), lost_mean);
    whole_close(&m);
}

void means_in_short(struct comm *c)
{
    if (!comm_is_worker(c)) return;
    for (int p = 0; p < PACKINGS; p++) {
        comm_set_chunk(c, 128);
        mean(c, (enum packing)p, 5, 1000, true);
        comm_set_chunk(c, WHOLE);
        mean(c, (enum packing)p, 3, 1000, p > 0);
    }
}

/* How parts are spread and cut is the same for every packing, and tried with one of them. */
void test_means_of_packed_changes(void **state)
{
    struct comm *c = job(state);
    if (!comm_is_worker(c)) return;
    for (int total = 1; total <= 6; total += total % 2 + 1) {
        comm_set_chunk(c, 64);
        mean(c, PACK_INT4, total, 64 * total + 3, total % 3 != 0);
        comm_set_chunk(c, 1000);
        mean(c, PACK_INT4, total, 999, total % 4 != 0);
    }
    for (int p = 0; p < PACKINGS; p++)
        mean(c, (enum packing)p, 5, 999, p > 0);
    comm_set_chunk(c, WHOLE);
    mean(c, PACK_INT4, 5, 100003, true);
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
    before = sent_by_all(c);
    mean(c, PACK_INT4, PARTS, N, true);
    const double packed = sent_by_all(c) - before;
    const double blocks_off = packed / 3 - comm_mean_traffic(PACK_INT4, workers, PARTS, N);
    assert_true(fabs(blocks_off) <= pack_block_bytes(PACK_INT4) * (PARTS + 1.0) * workers);
    assert_true(packed / 3 < 0.14 * comm_sum_traffic(workers, PARTS, N) + 1000);
    device_free(device_of(c), slab);
}
