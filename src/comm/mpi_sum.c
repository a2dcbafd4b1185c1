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
 * leaves the device and the sums of chunk k - 1 enter it. COMM_MEAN16 always goes this way, and the
 * host rounds. */
#define SHOAL_COMM_PRIVATE
#include <string.h>
#include "base/bf16.h"
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
    /* The last is where sums arrive. */
    return (c.packed + c.received + c.stripe + c.chunk) * (int64_t)sizeof(float);
}

struct comm_staging comm_sum_staging(int workers, int n_parts, int most, int total, int64_t n)
{
    const int64_t message = MPI_STAGE_BYTES / (int64_t)sizeof(float);
    const int64_t whole = comm_min(message, n); /* of a broadcast */
    const struct cut c = cut_of(workers, n_parts, most, total, n, message);
    const int64_t out = c.packed + c.chunk > whole ? c.packed + c.chunk : whole;
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
    void *received;   /* total parts of this worker's stripe, as they travel */
    void *added;      /* this worker's stripe of the sum, as it travels */
    uint16_t *sent16; /* mean16: a packed chunk, rounded */
    uint16_t *sums16; /* mean16: a chunk of the sum */
};

static bool is_narrow(const struct sum *s)
{
    return s->x->kind == COMM_MEAN16;
}

/* Bytes of an element on the wire. */
static size_t wire_bytes(const struct sum *s)
{
    return is_narrow(s) ? sizeof(uint16_t) : sizeof(float);
}

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
    if (!is_narrow(s)) return SHOAL_OK;
    return device_fetch(s->dev, s->packed[b] + s->cut.packed, s->x->base + at,
                        (size_t)n * sizeof *to, mpi_slot_out(b));
}

/* added = the received stripes of n elements from left to right, on the device or on the host. Both
 * ways round alike: a product with 1 is exact. */
static enum shoal_status add(struct sum *s, int64_t n)
{
    const float *from = s->received;
    float *const to = s->added;
    const size_t bytes = (size_t)n * sizeof *from;
    if (s->direct) {
        SHOAL_TRY(device_copy(s->dev, to, from, bytes));
        for (int p = 1; p < s->total; p++)
            SHOAL_TRY(kernel_axpby(s->dev, to, from + p * n, n, 1.0f, 1.0f));
        return device_sync(s->dev);
    }
    memcpy(to, from, bytes);
    for (int p = 1; p < s->total; p++) {
        const float *part = from + p * n;
        for (int64_t i = 0; i < n; i++)
            to[i] += part[i];
    }
    return SHOAL_OK;
}

/* The same of rounded differences. */
static void add16(struct sum *s, int64_t n)
{
    const uint16_t *from = s->received;
    uint16_t *const to = s->added;
    for (int64_t i = 0; i < n; i++) {
        float sum = bf16_to_f32(from[i]);
        for (int p = 1; p < s->total; p++)
            sum += bf16_to_f32(from[p * n + i]);
        to[i] = bf16_from_f32(sum);
    }
}

static enum shoal_status add_stripe(struct sum *s, int64_t n)
{
    if (n == 0) return SHOAL_OK;
    if (!is_narrow(s)) return add(s, n);
    add16(s, n);
    return SHOAL_OK;
}

/* sent16 = what is packed of n elements less the base, which lies behind it. */
static void narrow(struct sum *s, const float *packed, int64_t n)
{
    const float *const base = packed + s->cut.packed;
    uint16_t *to = s->sent16;
    for (int w = 0; w < s->workers; w++) {
        const int64_t begin = n * w / s->workers, end = n * (w + 1) / s->workers;
        for (int p = 0; p < s->x->n_parts; p++)
            for (int64_t i = begin; i < end; i++)
                *to++ = bf16_from_f32(*packed++ - base[i]);
    }
}

/* to = base + the mean of differences of which sums16 holds the sums. */
static void add_mean(const struct sum *s, float *to, const float *packed, int64_t n)
{
    const float *const base = packed + s->cut.packed;
    const float share = 1.0f / (float)s->total;
    for (int64_t i = 0; i < n; i++)
        to[i] = base[i] + share * bf16_to_f32(s->sums16[i]);
}

/* Every worker sends its parts of all stripes but its own, and its stripe of the sum to the others.
 */
static void count_bytes(struct sum *s, int64_t n)
{
    const uint64_t each = wire_bytes(s);
    int64_t moved = s->total * n + (s->workers - 1) * n;
    for (int w = 0; w < s->workers; w++)
        moved -= s->parts_of[w] * (int64_t)s->stripe_count[w];
    const int64_t stripe = s->stripe_count[s->me];
    const int64_t sent = s->x->n_parts * (n - stripe) + (s->workers - 1) * stripe;
    s->c->bytes_sent += (uint64_t)sent * each;
    s->c->bytes_moved += (uint64_t)moved * each;
}

/* The packed chunk of n elements to its adders, and its sum to everyone. */
static enum shoal_status exchange(struct sum *s, void *out, const void *packed, int64_t n)
{
    const MPI_Datatype type = is_narrow(s) ? MPI_UINT16_T : MPI_FLOAT;
    MPI_Request request;
    lay_out(s, n);
    COMM_TRY(MPI_Ialltoallv(packed, s->send_count, s->send_at, type, s->received, s->receive_count,
                            s->receive_at, type, s->c->workers, &request));
    SHOAL_TRY(comm_finish(&request, comm_slab_wait(s->c)));
    const int64_t stripe = s->stripe_count[s->me];
    SHOAL_TRY(add_stripe(s, stripe));
    COMM_TRY(MPI_Iallgatherv(s->added, (int)stripe, type, out, s->stripe_count, s->stripe_at, type,
                             s->c->workers, &request));
    SHOAL_TRY(comm_finish(&request, comm_slab_wait(s->c)));
    count_bytes(s, n);
    return SHOAL_OK;
}

/* A packed chunk out and its sum in, on the host. */
static enum shoal_status exchange_staged(struct sum *s, float *out, const float *packed, int64_t n)
{
    if (!is_narrow(s)) return exchange(s, out, packed, n);
    narrow(s, packed, n);
    SHOAL_TRY(exchange(s, s->sums16, s->sent16, n));
    add_mean(s, out, packed, n);
    return SHOAL_OK;
}

/* ---- straight out of the device's memory ---- */

static enum shoal_status run_direct(struct sum *s, struct mpi_transport *t)
{
    const bool lands = s->c->watch != NULL;
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
    enum shoal_status st = alloc_direct(s);
    if (st == SHOAL_OK) st = run_direct(s, t);
    comm_release_device(s->c, s->added);
    comm_release_device(s->c, s->received);
    comm_release_device(s->c, s->packed[0]);
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
        SHOAL_TRY(exchange_staged(s, stage->in[b], stage->out[b], n));
        SHOAL_TRY(device_store(s->dev, s->x->out + chunk_begin(s, k), stage->in[b],
                               (size_t)n * sizeof(float), mpi_slot_in(b)));
    }
    return SHOAL_OK;
}

static enum shoal_status sum_staged(struct sum *s, struct mpi_transport *t)
{
    enum shoal_status st = SHOAL_OK;
    const size_t each = wire_bytes(s);
    const int64_t base = is_narrow(s) ? s->cut.chunk : 0;
    SHOAL_TRY(mpi_stage_reserve(t, s->cut.packed + base, s->cut.chunk));
    for (int b = 0; b < 2; b++)
        s->packed[b] = t->stage.out[b];
    SHOAL_GOTO(mem_alloc((size_t)s->cut.received * each, "stripes to add", &s->received));
    SHOAL_GOTO(mem_alloc((size_t)s->cut.stripe * each, "a stripe of the sum", &s->added));
    if (is_narrow(s)) {
        SHOAL_GOTO(mem_alloc((size_t)s->cut.packed * each, "stripes to send", &s->sent16));
        SHOAL_GOTO(mem_alloc((size_t)s->cut.chunk * each, "a chunk of the sum", &s->sums16));
    }
    SHOAL_GOTO(run_staged(s, &t->stage));
    SHOAL_GOTO(mpi_stage_settle(t));
done:
    comm_release(s->c, s->sums16);
    comm_release(s->c, s->sent16);
    comm_release(s->c, s->added);
    comm_release(s->c, s->received);
    return st;
}

/* ---- mpi_impl.h ---- */

/* How many parts each live worker brings. */
static enum shoal_status ask_parts(struct sum *s)
{
    MPI_Request request;
    COMM_TRY(MPI_Iallgather(&s->x->n_parts, 1, MPI_INT, s->parts_of, 1, MPI_INT, s->c->workers,
                            &request));
    return comm_finish(&request, comm_slab_wait(s->c));
}

static enum shoal_status count_parts(struct sum *s)
{
    const struct comm *const c = s->c;
    if (!s->x->parts_of) SHOAL_TRY(ask_parts(s));
    for (int w = 0; s->x->parts_of && w < c->n_workers; w++)
        if (c->live_rank[w] >= 0) s->parts_of[c->live_rank[w]] = s->x->parts_of[w];
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
                    .direct = t->direct && t->now.kind == COMM_SUM,
                    .me = c->live_rank[c->worker],
                    .workers = c->n_live};
    int *table = NULL;
    if (c->n_live == 1 && !is_narrow(&s)) return comm_add_own(c, &t->now);
    SHOAL_TRY(mem_alloc(7 * (size_t)s.workers * sizeof *table, "the layout of a sum", &table));
    int **rows[] = {&s.parts_of,   &s.send_count,   &s.send_at,  &s.receive_count,
                    &s.receive_at, &s.stripe_count, &s.stripe_at};
    for (int i = 0; i < 7; i++)
        *rows[i] = table + i * s.workers;
    SHOAL_GOTO(count_parts(&s));
    s.cut = cut_of(s.workers, s.x->n_parts, s.most, s.total, s.x->n, mpi_message_elements(t));
    SHOAL_GOTO(s.direct ? sum_direct(&s, t) : sum_staged(&s, t));
done:
    comm_release(c, table);
    return st;
}
