/* mpi_stripes.h - how parts that lie on all workers are added by all: every chunk of them is cut
 * into one stripe per worker, the stripes of all parts go to their worker (scatter), which adds
 * them, and the sums of all stripes go to everyone (gather). Private to src/comm/mpi*.
 *
 * Counted in units: elements, or blocks of packed numbers. */
#pragma once
#include "comm/mpi_impl.h"

/* The sizes of one exchange, in units. */
struct mpi_cut {
    int64_t chunk, stripe;
    int64_t packed, received; /* buffers */
};

/* No worker sends, receives or holds more than `most_units` of a chunk: its parts of the chunk, or
 * all parts of its stripe, whichever is more. n: units of a part; most: parts of the worker with
 * most. Pure. */
struct mpi_cut mpi_cut_of(int workers, int n_parts, int most, int total, int64_t n,
                          int64_t most_units);

struct mpi_stripes {
    struct comm *c;
    int64_t unit;              /* bytes */
    int me, workers;           /* rank among the live workers, and their number */
    int n_parts;               /* of this worker */
    int *parts_of;             /* of each worker; owns the table of all rows that follow */
    int *send_bytes, *send_at; /* all-to-all */
    int *receive_bytes, *receive_at;
    int *stripe_bytes, *stripe_at; /* inside the present chunk */
    int total, most;               /* parts of all workers, of the one with most */
};

/* For what t->now exchanges. Collective over the live workers. */
enum shoal_status mpi_stripes_open(const struct mpi_transport *t, size_t unit,
                                   struct mpi_stripes *s);
void mpi_stripes_close(struct mpi_stripes *s);
/* First unit of worker w's stripe of a chunk of n; w = workers: n. */
static inline int64_t mpi_stripe_begin(const struct mpi_stripes *s, int64_t n, int w)
{
    return n * w / s->workers;
}
/* A chunk of n units: `packed` holds every stripe in the order of the workers, each of all own
 * parts; `received` is then this worker's stripe of all parts, in their order. Collective. */
enum shoal_status mpi_stripes_scatter(struct mpi_stripes *s, const void *packed, void *received,
                                      int64_t n);
/* Then: this worker's stripe of the sum to all, and out is all of it. Collective. */
enum shoal_status mpi_stripes_gather(struct mpi_stripes *s, const void *added, void *out,
                                     int64_t n);
