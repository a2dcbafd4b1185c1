/* mpi.c - slabs by MPI: out of host memory, out of a device's memory where MPI can, else through
 * pinned host memory.
 *
 * All work happens in `end`: MPI moves nothing while nobody calls it. */
#define SHOAL_COMM_PRIVATE
#include <stdio.h>
#include "base/memory.h"
#include "comm/mpi_impl.h"

static struct mpi_transport *mpi_of(struct transport *t)
{
    return (struct mpi_transport *)t;
}

/* ---- the stage ---- */

static enum shoal_status regrow(struct device *dev, float *buffer[2], int64_t *room, int64_t wanted)
{
    if (wanted <= *room) return SHOAL_OK;
    *room = 0;
    for (int b = 0; b < 2; b++) {
        device_free_pinned(dev, buffer[b]);
        buffer[b] = NULL;
        SHOAL_TRY(device_alloc_pinned(dev, (size_t)wanted * sizeof(float),
                                      "weights on their way between device and network",
                                      &buffer[b]));
    }
    *room = wanted;
    return SHOAL_OK;
}

enum shoal_status mpi_stage_reserve(struct mpi_transport *t, int64_t out, int64_t in)
{
    SHOAL_TRY(regrow(t->base.c->dev, t->stage.out, &t->stage.out_room, out));
    return regrow(t->base.c->dev, t->stage.in, &t->stage.in_room, in);
}

enum shoal_status mpi_stage_settle(struct mpi_transport *t)
{
    for (int b = 0; b < 2; b++) {
        SHOAL_TRY(comm_await_slot(t->base.c, mpi_slot_out(b)));
        SHOAL_TRY(comm_await_slot(t->base.c, mpi_slot_in(b)));
    }
    return SHOAL_OK;
}

enum shoal_status mpi_land(struct mpi_transport *t, int64_t n)
{
    if (n <= t->landing_room) return SHOAL_OK;
    if (t->landing) device_free(t->base.c->dev, t->landing);
    t->landing = NULL;
    t->landing_room = 0;
    SHOAL_TRY(device_alloc(t->base.c->dev, (size_t)n * sizeof *t->landing, "weights as they arrive",
                           &t->landing));
    t->landing_room = n;
    return SHOAL_OK;
}

/* ---- one worker's slab to all, or to one ---- */

/* n elements of what is exchanged now, out of `chunk` or into it. */
static enum shoal_status carry_chunk(struct mpi_transport *t, float *chunk, int64_t n)
{
    struct comm *const c = t->base.c;
    const struct comm_exchange *const x = &t->now;
    const int root = c->live_rank[x->root], count = (int)n;
    MPI_Request request;
    if (x->kind == COMM_BROADCAST) {
        COMM_TRY(MPI_Ibcast(chunk, count, MPI_FLOAT, root, c->workers, &request));
    } else if (x->root == c->worker) {
        COMM_TRY(MPI_Isend(chunk, count, MPI_FLOAT, c->live_rank[x->peer], COMM_MOVE_TAG,
                           c->workers, &request));
    } else {
        COMM_TRY(MPI_Irecv(chunk, count, MPI_FLOAT, root, COMM_MOVE_TAG, c->workers, &request));
    }
    return comm_finish(&request, comm_slab_wait(c));
}

static enum shoal_status carry_direct(struct mpi_transport *t, bool is_root)
{
    struct comm *const c = t->base.c;
    const struct comm_exchange *const x = &t->now;
    const int64_t step = mpi_message_elements(t);
    const bool lands = c->watch && !is_root;
    if (lands) SHOAL_TRY(mpi_land(t, comm_min(step, x->n)));
    SHOAL_TRY(device_sync(c->dev));
    for (int64_t begin = 0; begin < x->n; begin += step) {
        const int64_t n = comm_min(step, x->n - begin);
        SHOAL_TRY(carry_chunk(t, lands ? t->landing : x->out + begin, n));
        if (!lands) continue;
        SHOAL_TRY(device_copy(c->dev, x->out + begin, t->landing, (size_t)n * sizeof *x->out));
        SHOAL_TRY(device_sync(c->dev));
    }
    return SHOAL_OK;
}

/* Chunk k is on the wire while chunk k + 1 leaves the root's device, or k - 1 enters another's.
 */
static enum shoal_status carry_staged(struct mpi_transport *t, bool is_root)
{
    struct comm *const c = t->base.c;
    const struct comm_exchange *const x = &t->now;
    const int64_t step = mpi_message_elements(t);
    struct mpi_stage *const s = &t->stage;
    SHOAL_TRY(mpi_stage_reserve(t, comm_min(step, x->n), comm_min(step, x->n)));
    for (int64_t begin = 0, k = 0; begin < x->n; begin += step, k++) {
        const int b = (int)(k % 2);
        const int64_t n = comm_min(step, x->n - begin), after = begin + step;
        const size_t bytes = (size_t)n * sizeof *x->out;
        if (!is_root) {
            SHOAL_TRY(comm_await_slot(c, mpi_slot_in(b)));
            SHOAL_TRY(carry_chunk(t, s->in[b], n));
            SHOAL_TRY(device_store(c->dev, x->out + begin, s->in[b], bytes, mpi_slot_in(b)));
            continue;
        }
        if (k == 0) SHOAL_TRY(device_fetch(c->dev, s->out[0], x->out, bytes, mpi_slot_out(0)));
        SHOAL_TRY(comm_await_slot(c, mpi_slot_out(b)));
        if (after < x->n)
            SHOAL_TRY(device_fetch(c->dev, s->out[!b], x->out + after,
                                   (size_t)comm_min(step, x->n - after) * sizeof *x->out,
                                   mpi_slot_out(!b)));
        SHOAL_TRY(carry_chunk(t, s->out[b], n));
    }
    return mpi_stage_settle(t);
}

enum shoal_status mpi_carry(struct mpi_transport *t)
{
    struct comm *const c = t->base.c;
    const bool is_root = t->now.root == c->worker;
    if (c->n_live == 1) return SHOAL_OK;
    SHOAL_TRY(t->direct ? carry_direct(t, is_root) : carry_staged(t, is_root));
    const int others = t->now.kind == COMM_MOVE ? 1 : c->n_live - 1;
    const uint64_t bytes = (uint64_t)t->now.n * sizeof(float) * (uint64_t)others;
    if (is_root) c->bytes_sent += bytes;
    c->bytes_moved += bytes;
    return SHOAL_OK;
}

/* ---- the transport ---- */

static void mpi_close(struct transport *transport)
{
    struct mpi_transport *const t = mpi_of(transport);
    if (t->landing) device_free(t->base.c->dev, t->landing);
    for (int b = 0; b < 2; b++) {
        device_free_pinned(t->base.c->dev, t->stage.out[b]);
        device_free_pinned(t->base.c->dev, t->stage.in[b]);
    }
    mem_free(t);
}

/* A job may mix GPUs and CPUs: each worker has its own path, and all cut messages alike. */
static enum shoal_status choose_path(struct mpi_transport *t)
{
    const bool is_host = device_is_host(t->base.c->dev);
    bool all_direct = false;
    SHOAL_TRY(mpi_all_agree(t->base.c, is_host, &all_direct));
    if (!all_direct) SHOAL_TRY(mpi_try_direct(t, &all_direct));
    t->direct = is_host || all_direct;
    t->staged = !all_direct;
    t->base.c->staged = !t->direct;
    (void)snprintf(t->describe, sizeof t->describe, "MPI from %s",
                   is_host     ? "host memory"
                   : t->direct ? "device memory"
                               : "device memory by way of pinned host memory");
    return SHOAL_OK;
}

static enum shoal_status mpi_open(struct comm *c, struct transport **out)
{
    struct mpi_transport *t = NULL;
    SHOAL_TRY(mem_alloc(sizeof *t, "the MPI transport", &t));
    t->base.ops = &mpi_transport;
    t->base.c = c;
    const enum shoal_status st = choose_path(t);
    if (st == SHOAL_OK)
        *out = &t->base;
    else
        mpi_close(&t->base);
    return st;
}

static enum shoal_status mpi_begin(struct transport *transport, const struct comm_exchange *x)
{
    mpi_of(transport)->now = *x;
    return device_beside_begin(transport->c->dev);
}

static enum shoal_status mpi_end(struct transport *transport)
{
    struct mpi_transport *const t = mpi_of(transport);
    const enum comm_kind kind = t->now.kind;
    SHOAL_TRY(kind == COMM_SUM ? mpi_sum(t) : kind == COMM_MEAN ? mpi_mean(t) : mpi_carry(t));
    return device_beside_end(transport->c->dev);
}

/* The communicator is new already. MPI may still write what is left of an abandoned exchange, so
 * its buffers are left alone for ever. */
static enum shoal_status mpi_renew(struct transport *transport, double deadline_s)
{
    struct mpi_transport *const t = mpi_of(transport);
    (void)deadline_s;
    SHOAL_TRY(mpi_stage_settle(t));
    if (!t->base.c->abandoned) return SHOAL_OK;
    t->landing = NULL;
    t->landing_room = 0;
    t->stage = (struct mpi_stage){.out_room = 0};
    return SHOAL_OK;
}

static const char *mpi_describe(const struct transport *transport)
{
    return ((const struct mpi_transport *)transport)->describe;
}

const struct transport_ops mpi_transport = {.name = "mpi",
                                            .open = mpi_open,
                                            .close = mpi_close,
                                            .begin = mpi_begin,
                                            .end = mpi_end,
                                            .renew = mpi_renew,
                                            .describe = mpi_describe};
