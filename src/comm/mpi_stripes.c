/* mpi_stripes.c - see mpi_stripes.h. */
#define SHOAL_COMM_PRIVATE
#include "comm/mpi_stripes.h"
#include "base/memory.h"

struct mpi_cut mpi_cut_of(int workers, int n_parts, int most, int total, int64_t n,
                          int64_t most_units)
{
    const int64_t widest = most > total / workers ? most : total / workers + 1;
    const int64_t chunk = comm_min(n, most_units / widest + 1), stripe = chunk / workers + 1;
    return (struct mpi_cut){
        .chunk = chunk, .stripe = stripe, .packed = n_parts * chunk, .received = total * stripe};
}

/* How many parts each live worker brings. */
static enum shoal_status ask_parts(struct mpi_stripes *s)
{
    MPI_Request request;
    COMM_TRY(
        MPI_Iallgather(&s->n_parts, 1, MPI_INT, s->parts_of, 1, MPI_INT, s->c->workers, &request));
    return comm_finish(&request, comm_slab_wait(s->c));
}

static enum shoal_status count_parts(struct mpi_stripes *s, const int *parts_of)
{
    const struct comm *const c = s->c;
    if (!parts_of) SHOAL_TRY(ask_parts(s));
    for (int w = 0; parts_of && w < c->n_workers; w++)
        if (c->live_rank[w] >= 0) s->parts_of[c->live_rank[w]] = parts_of[w];
    for (int w = 0; w < s->workers; w++) {
        s->total += s->parts_of[w];
        if (s->parts_of[w] > s->most) s->most = s->parts_of[w];
    }
    SHOAL_ASSERT(s->total > 0);
    return SHOAL_OK;
}

enum shoal_status mpi_stripes_open(const struct mpi_transport *t, size_t unit,
                                   struct mpi_stripes *s)
{
    struct comm *const c = t->base.c;
    int *table = NULL;
    *s = (struct mpi_stripes){.c = c,
                              .unit = (int64_t)unit,
                              .me = c->live_rank[c->worker],
                              .workers = c->n_live,
                              .n_parts = t->now.n_parts};
    SHOAL_TRY(mem_alloc(7 * (size_t)s->workers * sizeof *table, "the layout of a sum", &table));
    int **rows[] = {&s->parts_of,   &s->send_bytes,   &s->send_at,  &s->receive_bytes,
                    &s->receive_at, &s->stripe_bytes, &s->stripe_at};
    for (int i = 0; i < 7; i++)
        *rows[i] = table + i * s->workers;
    const enum shoal_status st = count_parts(s, t->now.parts_of);
    if (st != SHOAL_OK) mpi_stripes_close(s);
    return st;
}

void mpi_stripes_close(struct mpi_stripes *s)
{
    comm_release(s->c, s->parts_of);
    s->parts_of = NULL;
}

/* Both sides of the all-to-all of a chunk of n units. */
static void lay_out(struct mpi_stripes *s, int64_t n)
{
    for (int w = 0; w < s->workers; w++) {
        const int64_t begin = mpi_stripe_begin(s, n, w), end = mpi_stripe_begin(s, n, w + 1);
        s->stripe_at[w] = (int)(begin * s->unit);
        s->stripe_bytes[w] = (int)((end - begin) * s->unit);
    }
    for (int w = 0, send = 0, receive = 0; w < s->workers; w++) {
        s->send_at[w] = send;
        s->send_bytes[w] = s->n_parts * s->stripe_bytes[w];
        s->receive_at[w] = receive;
        s->receive_bytes[w] = s->parts_of[w] * s->stripe_bytes[s->me];
        send += s->send_bytes[w];
        receive += s->receive_bytes[w];
    }
}

/* Every worker sends its parts of all stripes but its own, and its stripe of the sum to the others.
 */
static void count_bytes(struct mpi_stripes *s, int64_t n)
{
    const int64_t whole = n * s->unit, stripe = s->stripe_bytes[s->me];
    int64_t moved = s->total * whole + (s->workers - 1) * whole;
    for (int w = 0; w < s->workers; w++)
        moved -= s->parts_of[w] * (int64_t)s->stripe_bytes[w];
    s->c->bytes_sent += (uint64_t)(s->n_parts * (whole - stripe) + (s->workers - 1) * stripe);
    s->c->bytes_moved += (uint64_t)moved;
}

enum shoal_status mpi_stripes_scatter(struct mpi_stripes *s, const void *packed, void *received,
                                      int64_t n)
{
    MPI_Request request;
    lay_out(s, n);
    COMM_TRY(MPI_Ialltoallv(packed, s->send_bytes, s->send_at, MPI_BYTE, received, s->receive_bytes,
                            s->receive_at, MPI_BYTE, s->c->workers, &request));
    return comm_finish(&request, comm_slab_wait(s->c));
}

enum shoal_status mpi_stripes_gather(struct mpi_stripes *s, const void *added, void *out, int64_t n)
{
    MPI_Request request;
    COMM_TRY(MPI_Iallgatherv(added, s->stripe_bytes[s->me], MPI_BYTE, out, s->stripe_bytes,
                             s->stripe_at, MPI_BYTE, s->c->workers, &request));
    SHOAL_TRY(comm_finish(&request, comm_slab_wait(s->c)));
    count_bytes(s, n);
    return SHOAL_OK;
}
