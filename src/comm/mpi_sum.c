/* mpi_sum.c - the sum of the workers' parts by MPI, in chunks.
 *
 * Each chunk is cut into one stripe per worker, every worker sends the stripes of its parts to
 * their owners (all-to-all), the owner adds them in the agreed order, and the sums are gathered.
 * With one part per worker that is the traffic of a ring all-reduce; more parts per worker travel
 * one by one, because adding a worker's own parts first would make the bits depend on how many
 * workers hold them.
 *
 * Where MPI reads the device's memory, buffers lie there and the device adds. Otherwise stripes go
 * through the stage and the host adds them: while chunk k is exchanged and added, chunk k + 1
 * leaves the device and the sums of chunk k - 1 enter it. */
#define SHOAL_COMM_PRIVATE
#include <string.h>
#include "base/memory.h"
#include "comm/mpi_impl.h"

/* ---- how a sum is cut ---- */

/* All in elements. */
struct cut {
    int64_t chunk, stripe;
    int64_t packed, received; /* buffers */
};

/* No worker sends, receives or holds more than `most_elements` of a chunk: its parts of the chunk,
 * or all parts of its stripe, whichever is more. */
static struct cut cut_of(int workers, int n_parts, int most, int total, int64_t n,
                         int64_t most_elements)
{
    const int64_t widest = most > total / workers ? most : total / workers + 1;
    const int64_t chunk = comm_min(n, most_elements / widest + 1), stripe = chunk / workers + 1;
    return (struct cut){
        .chunk = chunk, .stripe = stripe, .packed = n_parts * chunk, .received = total * stripe};
}

int64_t comm_sum_buffers(int workers, int n_parts, int most, int total, int64_t n)
{
    if (workers == 1) return 0;
    const struct cut c =
        cut_of(workers, n_parts, most, total, n, COMM_CHUNK_BYTES / (int64_t)sizeof(float));
    return (c.packed + c.received + c.stripe) * (int64_t)sizeof(float);
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
    struct comm *c;
    struct device *dev;
    const struct comm_exchange *x;
    bool direct;
    int me, workers;           /* rank among the live workers, and their number */
    int *parts_of;             /* of each worker */
    int *send_count, *send_at; /* all-to-all, elements */
    int *receive_count, *receive_at;
    int *stripe_count, *stripe_at; /* inside the present chunk */
    int total, most;               /* parts of all workers, of the one with most */
    struct cut cut;
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

/* Lay out both sides of the all-to-all of a chunk of n elements. */
static void lay_out(struct sum *s, int64_t n)
{
    for (int w = 0; w < s->workers; w++) {
        const int64_t begin = n * w / s->workers, end = n * (w + 1) / s->workers;
        s->stripe_at[w] = (int)begin;
        s->stripe_count[w] = (int)(end - begin);
    }
    for (int w = 0, send = 0, receive = 0; w < s->workers; w++) {
        s->send_at[w] = send;
        s->send_count[w] = s->x->n_parts * s->stripe_count[w];
        s->receive_at[w] = receive;
        s->receive_count[w] = s->parts_of[w] * s->stripe_count[s->me];
        send += s->send_count[w];
        receive += s->receive_count[w];
    }
}

/* Chunk k of this worker's parts, stripe by stripe, into packed[b]; with a stage it is on its way
 * until the slot is done. */
static enum shoal_status pack(struct sum *s, int64_t k, int b)
{
    const int64_t at = chunk_begin(s, k), n = chunk_count(s, k);
    float *to = s->packed[b];
    for (int w = 0; w < s->workers; w++) {
        const int64_t begin = n * w / s->workers, end = n * (w + 1) / s->workers;
        const size_t bytes = (size_t)(end - begin) * sizeof *to;
        for (int p = 0; p < s->x->n_parts && bytes > 0; p++) {
            const float *from = s->x->parts[p] + at + begin;
            SHOAL_TRY(s->direct ? device_copy(s->dev, to, from, bytes)
                                : device_fetch(s->dev, to, from, bytes, mpi_slot_out(b)));
            to += end - begin;
        }
    }
    return SHOAL_OK;
}

/* added = the received stripes of n elements from left to right, on the device or on the host. Both
 * ways round alike: a product with 1 is exact. */
static enum shoal_status add(struct sum *s, int64_t n)
{
    const float *from = s->received;
    const size_t bytes = (size_t)n * sizeof *from;
    if (n == 0) return SHOAL_OK;
    if (s->direct) {
        SHOAL_TRY(device_copy(s->dev, s->added, from, bytes));
        for (int p = 1; p < s->total; p++)
            SHOAL_TRY(kernel_axpby(s->dev, s->added, from + p * n, n, 1.0f, 1.0f));
        return device_sync(s->dev);
    }
    memcpy(s->added, from, bytes);
    for (int p = 1; p < s->total; p++) {
        const float *part = from + p * n;
        for (int64_t i = 0; i < n; i++)
            s->added[i] += part[i];
    }
    return SHOAL_OK;
}

/* The packed chunk of n elements to its adders, and its sum to everyone. */
static enum shoal_status exchange(struct sum *s, float *out, const float *packed, int64_t n)
{
    MPI_Request request;
    lay_out(s, n);
    COMM_TRY(MPI_Ialltoallv(packed, s->send_count, s->send_at, MPI_FLOAT, s->received,
                            s->receive_count, s->receive_at, MPI_FLOAT, s->c->workers, &request));
    SHOAL_TRY(comm_finish(&request, COMM_WAIT_BUSY));
    const int64_t stripe = s->stripe_count[s->me];
    SHOAL_TRY(add(s, stripe));
    COMM_TRY(MPI_Iallgatherv(s->added, (int)stripe, MPI_FLOAT, out, s->stripe_count, s->stripe_at,
                             MPI_FLOAT, s->c->workers, &request));
    SHOAL_TRY(comm_finish(&request, COMM_WAIT_BUSY));
    const int64_t sent = s->x->n_parts * (n - stripe) + (s->workers - 1) * stripe;
    s->c->bytes_sent += (uint64_t)sent * sizeof *out;
    return SHOAL_OK;
}

/* ---- straight out of the device's memory ---- */

static enum shoal_status run_direct(struct sum *s)
{
    for (int64_t k = 0; chunk_count(s, k) > 0; k++) {
        SHOAL_TRY(pack(s, k, 0));
        SHOAL_TRY(device_sync(s->dev));
        SHOAL_TRY(exchange(s, s->x->out + chunk_begin(s, k), s->packed[0], chunk_count(s, k)));
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

static enum shoal_status sum_direct(struct sum *s)
{
    enum shoal_status st = alloc_direct(s);
    if (st == SHOAL_OK) st = run_direct(s);
    device_free(s->dev, s->added);
    device_free(s->dev, s->received);
    device_free(s->dev, s->packed[0]);
    return st;
}

/* ---- by way of the stage ---- */

static enum shoal_status run_staged(struct sum *s, struct mpi_stage *stage)
{
    SHOAL_TRY(pack(s, 0, 0));
    for (int64_t k = 0; chunk_count(s, k) > 0; k++) {
        const int b = (int)(k % 2);
        const int64_t n = chunk_count(s, k);
        SHOAL_TRY(comm_await_slot(s->c, mpi_slot_out(b)));
        if (chunk_count(s, k + 1) > 0) SHOAL_TRY(pack(s, k + 1, !b));
        SHOAL_TRY(comm_await_slot(s->c, mpi_slot_in(b)));
        SHOAL_TRY(exchange(s, stage->in[b], stage->out[b], n));
        SHOAL_TRY(device_store(s->dev, s->x->out + chunk_begin(s, k), stage->in[b],
                               (size_t)n * sizeof(float), mpi_slot_in(b)));
    }
    return SHOAL_OK;
}

static enum shoal_status sum_staged(struct sum *s, struct mpi_transport *t)
{
    enum shoal_status st = SHOAL_OK;
    SHOAL_TRY(mpi_stage_reserve(t, s->cut.packed, s->cut.chunk));
    for (int b = 0; b < 2; b++)
        s->packed[b] = t->stage.out[b];
    SHOAL_GOTO(mem_alloc((size_t)s->cut.received * sizeof(float), "stripes to add", &s->received));
    SHOAL_GOTO(mem_alloc((size_t)s->cut.stripe * sizeof(float), "a stripe of the sum", &s->added));
    SHOAL_GOTO(run_staged(s, &t->stage));
    SHOAL_GOTO(mpi_stage_settle(t));
done:
    mem_free(s->added);
    mem_free(s->received);
    return st;
}

/* ---- mpi_impl.h ---- */

/* How many parts each worker brings. */
static enum shoal_status count_parts(struct sum *s)
{
    MPI_Request request;
    COMM_TRY(MPI_Iallgather(&s->x->n_parts, 1, MPI_INT, s->parts_of, 1, MPI_INT, s->c->workers,
                            &request));
    SHOAL_TRY(comm_finish(&request, COMM_WAIT_BUSY));
    for (int w = 0; w < s->workers; w++) {
        s->total += s->parts_of[w];
        if (s->parts_of[w] > s->most) s->most = s->parts_of[w];
    }
    SHOAL_ASSERT(s->total > 0);
    return SHOAL_OK;
}

enum shoal_status mpi_sum(struct mpi_transport *t)
{
    enum shoal_status st = SHOAL_OK;
    struct comm *const c = t->base.c;
    struct sum s = {.c = c,
                    .dev = c->dev,
                    .x = &t->now,
                    .direct = t->direct,
                    .me = c->live_rank[c->worker],
                    .workers = c->n_live};
    int *table = NULL;
    if (c->n_live == 1) return comm_add_own(c, &t->now);
    SHOAL_TRY(mem_alloc(7 * (size_t)s.workers * sizeof *table, "the layout of a sum", &table));
    int **rows[] = {&s.parts_of,   &s.send_count,   &s.send_at,  &s.receive_count,
                    &s.receive_at, &s.stripe_count, &s.stripe_at};
    for (int i = 0; i < 7; i++)
        *rows[i] = table + i * s.workers;
    SHOAL_GOTO(count_parts(&s));
    s.cut = cut_of(s.workers, s.x->n_parts, s.most, s.total, s.x->n, mpi_message_elements(t));
    SHOAL_GOTO(s.direct ? sum_direct(&s) : sum_staged(&s, t));
done:
    mem_free(table);
    return st;
}
