/* slabs.c - slabs among the workers, collectively, in chunks.
 *
 * A sum is made by stripes: each chunk is cut into one stripe per worker, every worker sends the
 * stripes of its parts to their owners (all-to-all), the owner adds them in the agreed order, and
 * the sums are gathered. With one part per worker that is the traffic of a ring all-reduce; more
 * parts per worker travel one by one, because adding a worker's own parts first would make the bits
 * depend on how many workers hold them. */
#define SHOAL_COMM_PRIVATE
#include <string.h>
#include "base/memory.h"
#include "comm/comm_impl.h"

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Elements of one message, at least 1. */
static int64_t chunk_elements(const struct comm *c)
{
    const int64_t n = (int64_t)(c->chunk_bytes / sizeof(float));
    return n < 1 ? 1 : n;
}

enum shoal_status comm_broadcast(struct comm *c, float *slab, int64_t n, int root)
{
    if (c->n_workers == 1) return SHOAL_OK;
    for (int64_t begin = 0; begin < n;) {
        const int64_t count = min_i64(chunk_elements(c), n - begin);
        MPI_Request request;
        COMM_TRY(MPI_Ibcast(slab + begin, (int)count, MPI_FLOAT, root, c->workers, &request));
        SHOAL_TRY(comm_finish(&request, COMM_WAIT_BUSY));
        begin += count;
    }
    if (c->worker == root)
        c->bytes_sent += (uint64_t)n * sizeof *slab * (uint64_t)(c->n_workers - 1);
    return SHOAL_OK;
}

/* out (+)= part over n elements; the first part is copied. */
static void add_part(float *out, const float *part, int64_t n, bool first)
{
    if (first) {
        memcpy(out, part, (size_t)n * sizeof *out);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        out[i] += part[i];
}

/* One sum in progress. */
struct sum {
    struct comm *c;
    const float *const *parts;
    int n_parts;               /* of this worker */
    int *parts_of;             /* of each worker */
    int *send_count, *send_at; /* all-to-all, elements */
    int *receive_count, *receive_at;
    int *stripe_count, *stripe_at; /* inside the present chunk */
    int total, most;               /* parts of all workers, of the one with most */
    float *packed;                 /* n_parts stripes for worker 0, for worker 1, ... */
    float *received;               /* total parts of this worker's stripe */
    float *added;                  /* this worker's stripe of the sum */
};

/* Cut a chunk of n elements into stripes and lay out both sides of the all-to-all. */
static void lay_out(struct sum *s, int64_t n)
{
    const int workers = s->c->n_workers, me = s->c->worker;
    for (int w = 0; w < workers; w++) {
        const int64_t begin = n * w / workers, end = n * (w + 1) / workers;
        s->stripe_at[w] = (int)begin;
        s->stripe_count[w] = (int)(end - begin);
    }
    for (int w = 0, send = 0, receive = 0; w < workers; w++) {
        s->send_at[w] = send;
        s->send_count[w] = s->n_parts * s->stripe_count[w];
        s->receive_at[w] = receive;
        s->receive_count[w] = s->parts_of[w] * s->stripe_count[me];
        send += s->send_count[w];
        receive += s->receive_count[w];
    }
}

static void pack(struct sum *s, int64_t begin)
{
    float *to = s->packed;
    for (int w = 0; w < s->c->n_workers; w++) {
        for (int p = 0; p < s->n_parts; p++) {
            memcpy(to, s->parts[p] + begin + s->stripe_at[w],
                   (size_t)s->stripe_count[w] * sizeof *to);
            to += s->stripe_count[w];
        }
    }
}

static enum shoal_status sum_chunk(struct sum *s, float *out, int64_t begin, int64_t n)
{
    const int me = s->c->worker;
    MPI_Request request;
    lay_out(s, n);
    pack(s, begin);
    COMM_TRY(MPI_Ialltoallv(s->packed, s->send_count, s->send_at, MPI_FLOAT, s->received,
                            s->receive_count, s->receive_at, MPI_FLOAT, s->c->workers, &request));
    SHOAL_TRY(comm_finish(&request, COMM_WAIT_BUSY));
    const int64_t stripe = s->stripe_count[me];
    for (int p = 0; p < s->total; p++)
        add_part(s->added, s->received + p * stripe, stripe, p == 0);
    COMM_TRY(MPI_Iallgatherv(s->added, (int)stripe, MPI_FLOAT, out + begin, s->stripe_count,
                             s->stripe_at, MPI_FLOAT, s->c->workers, &request));
    SHOAL_TRY(comm_finish(&request, COMM_WAIT_BUSY));
    const int64_t sent = s->n_parts * (n - stripe) + (s->c->n_workers - 1) * stripe;
    s->c->bytes_sent += (uint64_t)sent * sizeof *out;
    return SHOAL_OK;
}

/* How many parts each worker brings. */
static enum shoal_status count_parts(struct sum *s)
{
    MPI_Request request;
    COMM_TRY(
        MPI_Iallgather(&s->n_parts, 1, MPI_INT, s->parts_of, 1, MPI_INT, s->c->workers, &request));
    SHOAL_TRY(comm_finish(&request, COMM_WAIT_BUSY));
    for (int w = 0; w < s->c->n_workers; w++) {
        s->total += s->parts_of[w];
        if (s->parts_of[w] > s->most) s->most = s->parts_of[w];
    }
    SHOAL_ASSERT(s->total > 0);
    return SHOAL_OK;
}

/* How a sum of n elements is cut, all in elements. */
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
    const int64_t chunk = min_i64(n, most_elements / widest + 1), stripe = chunk / workers + 1;
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

static enum shoal_status sum_striped(struct sum *s, float *out, int64_t n)
{
    enum shoal_status st = SHOAL_OK;
    const size_t workers = (size_t)s->c->n_workers;
    int *table = NULL;
    SHOAL_TRY(mem_alloc(7 * workers * sizeof *table, "the layout of a sum", &table));
    int **rows[] = {&s->parts_of,   &s->send_count,   &s->send_at,  &s->receive_count,
                    &s->receive_at, &s->stripe_count, &s->stripe_at};
    for (size_t i = 0; i < 7; i++)
        *rows[i] = table + i * workers;
    SHOAL_GOTO(count_parts(s));
    const struct cut cut =
        cut_of((int)workers, s->n_parts, s->most, s->total, n, chunk_elements(s->c));
    SHOAL_GOTO(mem_alloc((size_t)cut.packed * sizeof(float), "stripes to send", &s->packed));
    SHOAL_GOTO(mem_alloc((size_t)cut.received * sizeof(float), "stripes to add", &s->received));
    SHOAL_GOTO(mem_alloc((size_t)cut.stripe * sizeof(float), "a stripe of the sum", &s->added));
    for (int64_t begin = 0; begin < n; begin += cut.chunk)
        SHOAL_GOTO(sum_chunk(s, out, begin, min_i64(cut.chunk, n - begin)));
done:
    mem_free(s->added);
    mem_free(s->received);
    mem_free(s->packed);
    mem_free(table);
    return st;
}

enum shoal_status comm_sum(struct comm *c, float *out, const float *const *parts, int n_parts,
                           int64_t n)
{
    if (c->n_workers == 1) {
        for (int p = 0; p < n_parts; p++)
            add_part(out, parts[p], n, p == 0);
        return SHOAL_OK;
    }
    struct sum s = {.c = c, .parts = parts, .n_parts = n_parts};
    return sum_striped(&s, out, n);
}

enum shoal_status comm_sum_values(struct comm *c, double *values, int n)
{
    MPI_Request request;
    if (c->n_workers == 1) return SHOAL_OK;
    COMM_TRY(MPI_Iallreduce(MPI_IN_PLACE, values, n, MPI_DOUBLE, MPI_SUM, c->workers, &request));
    return comm_finish(&request, COMM_WAIT_BUSY);
}
