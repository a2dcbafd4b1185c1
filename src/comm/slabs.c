/* slabs.c - slabs among the live workers, whatever carries them. */
#define SHOAL_COMM_PRIVATE
#include <string.h>
#include "base/memory.h"
#include "comm/comm_impl.h"

void comm_set_chunk(struct comm *c, size_t bytes)
{
    c->chunk_bytes = bytes;
}

enum shoal_status comm_begin(struct comm *c, const struct comm_exchange *x)
{
    SHOAL_ASSERT(c->transport && !c->exchanging);
    const bool has_root = x->kind == COMM_BROADCAST || x->kind == COMM_MOVE;
    SHOAL_ASSERT(x->n >= 0);
    SHOAL_ASSERT(!has_root || (x->root >= 0 && x->root < c->n_workers));
    SHOAL_ASSERT(x->kind != COMM_MOVE || (x->peer >= 0 && x->peer < c->n_workers));
    SHOAL_ASSERT(x->kind != COMM_MOVE || (x->root == c->worker) != (x->peer == c->worker));
    SHOAL_CHECK(!has_root || c->live_rank[x->root] >= 0, SHOAL_EPEER,
                "worker %d has weights to send, and is lost", x->root);
    SHOAL_CHECK(x->kind != COMM_MOVE || c->live_rank[x->peer] >= 0, SHOAL_EPEER,
                "worker %d waits for weights, and is lost", x->peer);
    SHOAL_TRY(c->transport->ops->begin(c->transport, x));
    c->exchanging = true;
    return SHOAL_OK;
}

enum shoal_status comm_end(struct comm *c)
{
    SHOAL_ASSERT(c->exchanging);
    c->exchanging = false;
    return c->transport->ops->end(c->transport);
}

enum shoal_status comm_exchange(struct comm *c, const struct comm_exchange *x)
{
    SHOAL_TRY(comm_begin(c, x));
    return comm_end(c);
}

enum shoal_status comm_broadcast(struct comm *c, float *slab, int64_t n, int root)
{
    const struct comm_exchange x = {.kind = COMM_BROADCAST, .n = n, .out = slab, .root = root};
    return comm_exchange(c, &x);
}

enum shoal_status comm_move(struct comm *c, float *slab, int64_t n, int from, int to)
{
    const struct comm_exchange x = {
        .kind = COMM_MOVE, .n = n, .out = slab, .root = from, .peer = to};
    return comm_exchange(c, &x);
}

enum shoal_status comm_sum(struct comm *c, float *out, const float *const *parts, int n_parts,
                           int64_t n)
{
    const struct comm_exchange x = {
        .kind = COMM_SUM, .n = n, .out = out, .parts = parts, .n_parts = n_parts};
    return comm_exchange(c, &x);
}

enum shoal_status comm_add_own(struct comm *c, const struct comm_exchange *x)
{
    const size_t bytes = (size_t)x->n * sizeof *x->out;
    if (x->n_parts == 0) return device_zero(c->dev, x->out, bytes);
    SHOAL_TRY(device_copy(c->dev, x->out, x->parts[0], bytes));
    for (int p = 1; p < x->n_parts; p++)
        SHOAL_TRY(kernel_axpby(c->dev, x->out, x->parts[p], x->n, 1.0f, 1.0f));
    return SHOAL_OK;
}

enum shoal_status comm_sum_values(struct comm *c, double *values, int n)
{
    enum shoal_status st = SHOAL_OK;
    const size_t bytes = (size_t)n * sizeof *values;
    double *sums = NULL;
    MPI_Request request;
    if (c->n_live == 1) return SHOAL_OK;
    /* Twice n: what goes and what comes. An exchange that is abandoned may still write there. */
    SHOAL_TRY(mem_alloc(2 * bytes, "sums of values", &sums));
    memcpy(sums + n, values, bytes);
    COMM_GOTO(MPI_Iallreduce(sums + n, sums, n, MPI_DOUBLE, MPI_SUM, c->workers, &request));
    SHOAL_GOTO(comm_finish(&request, comm_slab_wait(c)));
    memcpy(values, sums, bytes);
done:
    comm_release(c, sums);
    return st;
}

enum shoal_status comm_pass(struct comm *c)
{
    MPI_Request request;
    if (!c->watch || c->n_live == 1) return SHOAL_OK;
    COMM_TRY(MPI_Ibarrier(c->workers, &request));
    return comm_finish(&request, comm_slab_wait(c));
}
