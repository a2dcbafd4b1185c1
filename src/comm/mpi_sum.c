/* mpi_sum.c - the sum of the workers' parts by MPI, in chunks.
 *
 * The worker that a stripe of a chunk goes to (mpi_stripes.h) adds all parts of it in the agreed
 * order. With one part per worker that is the traffic of a ring all-reduce; more parts per worker
 * travel one by one, because adding a worker's own parts first would make the bits depend on how
 * many workers hold them.
 *
 * Where MPI reads the device's memory, buffers lie there and the device adds. Otherwise stripes go
 * through the stage and the host adds them: while chunk k is exchanged and added, chunk k + 1
 * leaves the device and the sums of chunk k - 1 enter it. */
#define SHOAL_COMM_PRIVATE
#include <string.h>
#include "base/memory.h"
#include "comm/mpi_stripes.h"

/* ---- what it takes ---- */

int64_t comm_sum_buffers(int workers, int n_parts, int most, int total, int64_t n)
{
    if (workers == 1) return 0;
    const struct mpi_cut c =
        mpi_cut_of(workers, n_parts, most, total, n, COMM_CHUNK_BYTES / (int64_t)sizeof(float));
    /* The last is where sums arrive. */
    return (c.packed + c.received + c.stripe + c.chunk) * (int64_t)sizeof(float);
}

struct comm_staging comm_sum_staging(int workers, int n_parts, int most, int total, int64_t n)
{
    const int64_t message = MPI_STAGE_BYTES / (int64_t)sizeof(float);
    const int64_t whole = comm_min(message, n); /* of a broadcast */
    const struct mpi_cut c = mpi_cut_of(workers, n_parts, most, total, n, message);
    const int64_t out = c.packed > whole ? c.packed : whole;
    const int64_t in = c.chunk > whole ? c.chunk : whole;
    if (workers == 1) return (struct comm_staging){0, 0};
    return (struct comm_staging){.pinned = 2 * (out + in) * (int64_t)sizeof(float),
                                 .host = (c.received + c.stripe) * (int64_t)sizeof(float)};
}

double comm_sum_traffic(int workers, int total, double n)
{
    return (double)sizeof(float) * n * (workers - 1) * ((double)total / workers + 1);
}

double comm_broadcast_traffic(int workers, double n)
{
    return (double)sizeof(float) * n * (workers - 1);
}

/* ---- one sum in progress ---- */

struct sum {
    struct device *dev;
    const struct comm_exchange *x;
    bool direct;
    struct mpi_stripes stripes;
    struct mpi_cut cut;
    float *packed[2]; /* n_parts stripes for worker 0, for worker 1, ...; [1] only with a stage */
    float *received;  /* total parts of this worker's stripe */
    float *added;     /* this worker's stripe of the sum */
};

static int64_t chunk_begin(const struct sum *s, int64_t k)
{
    return k * s->cut.chunk;
}

/* Elements of chunk k; at most 0: there is none. */
static int64_t chunk_count(const struct sum *s, int64_t k)
{
    return comm_min(s->cut.chunk, s->x->n - chunk_begin(s, k));
}

/* Chunk k of this worker's parts, stripe by stripe, into packed[b]; with a stage it is on its way
 * until the slot is done. */
static enum shoal_status pack(struct sum *s, int64_t k, int b)
{
    const int64_t at = chunk_begin(s, k), n = chunk_count(s, k);
    float *to = s->packed[b];
    for (int w = 0; w < s->stripes.workers; w++) {
        const int64_t begin = mpi_stripe_begin(&s->stripes, n, w);
        const int64_t count = mpi_stripe_begin(&s->stripes, n, w + 1) - begin;
        const size_t bytes = (size_t)count * sizeof *to;
        for (int p = 0; p < s->x->n_parts && bytes > 0; p++) {
            const float *from = s->x->parts[p] + at + begin;
            SHOAL_TRY(s->direct ? device_copy(s->dev, to, from, bytes)
                                : device_fetch(s->dev, to, from, bytes, mpi_slot_out(b)));
            to += count;
        }
    }
    return SHOAL_OK;
}

/* added = the received stripes of n elements from left to right, on the device or on the host. Both
 * ways round alike: a product with 1 is exact. */
static enum shoal_status add(struct sum *s, int64_t n)
{
    const float *const from = s->received;
    float *const to = s->added;
    const size_t bytes = (size_t)n * sizeof *from;
    if (n == 0) return SHOAL_OK;
    if (s->direct) {
        SHOAL_TRY(device_copy(s->dev, to, from, bytes));
        for (int p = 1; p < s->stripes.total; p++)
            SHOAL_TRY(kernel_axpby(s->dev, to, from + p * n, n, 1.0f, 1.0f));
        return device_sync(s->dev);
    }
    memcpy(to, from, bytes);
    for (int p = 1; p < s->stripes.total; p++) {
        const float *part = from + p * n;
        for (int64_t i = 0; i < n; i++)
            to[i] += part[i];
    }
    return SHOAL_OK;
}

/* The packed chunk of n elements to its adders, and its sum to everyone. */
static enum shoal_status exchange(struct sum *s, float *out, const float *packed, int64_t n)
{
    struct mpi_stripes *const stripes = &s->stripes;
    SHOAL_TRY(mpi_stripes_scatter(stripes, packed, s->received, n));
    SHOAL_TRY(add(s, mpi_stripe_begin(stripes, n, stripes->me + 1) -
                         mpi_stripe_begin(stripes, n, stripes->me)));
    return mpi_stripes_gather(stripes, s->added, out, n);
}

/* ---- straight out of the device's memory ---- */

static enum shoal_status run_direct(struct sum *s, struct mpi_transport *t)
{
    const bool lands = t->base.c->watch != NULL;
    if (lands) SHOAL_TRY(mpi_land(t, s->cut.chunk));
    for (int64_t k = 0; chunk_count(s, k) > 0; k++) {
        float *const out = s->x->out + chunk_begin(s, k);
        const int64_t n = chunk_count(s, k);
        SHOAL_TRY(pack(s, k, 0));
        SHOAL_TRY(device_sync(s->dev));
        SHOAL_TRY(exchange(s, lands ? t->landing : out, s->packed[0], n));
        if (lands) SHOAL_TRY(device_copy(s->dev, out, t->landing, (size_t)n * sizeof *out));
    }
    return SHOAL_OK;
}

static enum shoal_status alloc_direct(struct sum *s)
{
    const size_t one = sizeof(float);
    SHOAL_TRY(device_alloc(s->dev, (size_t)s->cut.packed * one, "stripes to send", &s->packed[0]));
    SHOAL_TRY(device_alloc(s->dev, (size_t)s->cut.received * one, "stripes to add", &s->received));
    return device_alloc(s->dev, (size_t)s->cut.stripe * one, "a stripe of the sum", &s->added);
}

static enum shoal_status sum_direct(struct sum *s, struct mpi_transport *t)
{
    struct comm *const c = t->base.c;
    enum shoal_status st = alloc_direct(s);
    if (st == SHOAL_OK) st = run_direct(s, t);
    comm_release_device(c, s->added);
    comm_release_device(c, s->received);
    comm_release_device(c, s->packed[0]);
    return st;
}

/* ---- by way of the stage ---- */

static enum shoal_status run_staged(struct sum *s, struct mpi_stage *stage)
{
    struct comm *const c = s->stripes.c;
    SHOAL_TRY(pack(s, 0, 0));
    for (int64_t k = 0; chunk_count(s, k) > 0; k++) {
        const int b = (int)(k % 2);
        const int64_t n = chunk_count(s, k);
        SHOAL_TRY(comm_await_slot(c, mpi_slot_out(b)));
        if (chunk_count(s, k + 1) > 0) SHOAL_TRY(pack(s, k + 1, !b));
        SHOAL_TRY(comm_await_slot(c, mpi_slot_in(b)));
        SHOAL_TRY(exchange(s, stage->in[b], stage->out[b], n));
        SHOAL_TRY(device_store(s->dev, s->x->out + chunk_begin(s, k), stage->in[b],
                               (size_t)n * sizeof(float), mpi_slot_in(b)));
    }
    return SHOAL_OK;
}

static enum shoal_status sum_staged(struct sum *s, struct mpi_transport *t)
{
    enum shoal_status st = SHOAL_OK;
    const size_t one = sizeof(float);
    SHOAL_TRY(mpi_stage_reserve(t, s->cut.packed, s->cut.chunk));
    for (int b = 0; b < 2; b++)
        s->packed[b] = t->stage.out[b];
    SHOAL_GOTO(mem_alloc((size_t)s->cut.received * one, "stripes to add", &s->received));
    SHOAL_GOTO(mem_alloc((size_t)s->cut.stripe * one, "a stripe of the sum", &s->added));
    SHOAL_GOTO(run_staged(s, &t->stage));
    SHOAL_GOTO(mpi_stage_settle(t));
done:
    comm_release(t->base.c, s->added);
    comm_release(t->base.c, s->received);
    return st;
}

/* ---- mpi_impl.h ---- */

enum shoal_status mpi_sum(struct mpi_transport *t)
{
    struct comm *const c = t->base.c;
    struct sum s = {.dev = c->dev, .x = &t->now, .direct = t->direct};
    if (c->n_live == 1) return comm_add_own(c, &t->now);
    SHOAL_TRY(mpi_stripes_open(t, sizeof(float), &s.stripes));
    s.cut = mpi_cut_of(s.stripes.workers, s.x->n_parts, s.stripes.most, s.stripes.total, s.x->n,
                       mpi_message_elements(t));
    const enum shoal_status st = s.direct ? sum_direct(&s, t) : sum_staged(&s, t);
    mpi_stripes_close(&s.stripes);
    return st;
}
