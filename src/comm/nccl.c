/* nccl.c - slabs by NCCL, from GPU to GPU.
 *
 * The communicator does not block: calls come back at once and are polled until they have taken
 * effect, so that a worker that is lost costs a deadline and not the run. What goes wrong leaves no
 * communicator behind; comm_renew makes the next one. Work is queued on the device's stream beside
 * computing, and the host waits for it in `end`, looking for errors meanwhile: a kernel that waits
 * for a lost worker would never end.
 *
 * Own parts are added on the device first, so a sum has the same bits for the same number of
 * workers, not for any. */
#define SHOAL_COMM_PRIVATE
#include <sched.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "comm/comm_impl.h"

enum { NCCL_SLOT = 0 }; /* of the device */

struct nccl_transport {
    struct transport base;
    const struct nccl_api *api; /* borrowed */
    void *comm;                 /* ncclComm_t; NULL: none */
    void *stream;
};

static struct nccl_transport *nccl_of(struct transport *t)
{
    return (struct nccl_transport *)t;
}

/* ---- calls ---- */

static enum shoal_status call_status(const struct nccl_transport *t, int result, const char *call)
{
    if (result == NCCL_SUCCESS) return SHOAL_OK;
    return SHOAL_FAIL(result == NCCL_REMOTE_ERROR ? SHOAL_EPEER : SHOAL_ECOMM, "%s failed: %s: %s",
                      call, t->api->get_error_string(result), t->api->get_last_error(t->comm));
}

/* Drop the communicator and whatever it does. */
static void give_up(struct nccl_transport *t)
{
    void *const comm = t->comm;
    t->comm = NULL;
    if (!comm) return;
    const int result = t->api->comm_abort(comm);
    if (result != NCCL_SUCCESS && result != NCCL_IN_PROGRESS)
        log_warn("ncclCommAbort failed: %s", t->api->get_error_string(result));
}

/* What the communicator is about: a call that has returned may still be under way. */
static enum shoal_status look(const struct nccl_transport *t, int *state)
{
    return call_status(t, t->api->comm_get_async_error(t->comm, state), "ncclCommGetAsyncError");
}

/* See a call through: until it has taken effect, nothing else may be asked of the communicator. */
static enum shoal_status settle(const struct nccl_transport *t, int result, const char *call,
                                double patience_s)
{
    const double give_up_s = clock_now_s() + patience_s, longest_s = 5e-3;
    double pause_s = 20e-6;
    while (result == NCCL_IN_PROGRESS) {
        SHOAL_TRY(look(t, &result));
        if (result != NCCL_IN_PROGRESS) break;
        SHOAL_CHECK(clock_now_s() < give_up_s, SHOAL_EPEER,
                    "%s: no answer from the other workers for %g s", call, patience_s);
        clock_sleep_s(pause_s);
        pause_s = pause_s * 2 < longest_s ? pause_s * 2 : longest_s;
    }
    return call_status(t, result, call);
}

/* ---- the communicator ---- */

/* The identity comes from the live worker of rank 0, which waits for the others there. */
static enum shoal_status find_each_other(struct nccl_transport *t, struct nccl_id *id,
                                         double patience_s)
{
    struct comm *const c = t->base.c;
    enum shoal_status st = SHOAL_OK;
    if (c->live_rank[c->worker] == 0)
        st = call_status(t, t->api->get_unique_id(id), "ncclGetUniqueId");
    const enum shoal_status shared = comm_share_id(c, id, st == SHOAL_OK, patience_s);
    return st != SHOAL_OK ? st : shared;
}

static enum shoal_status connect(struct nccl_transport *t, double patience_s)
{
    const struct comm *const c = t->base.c;
    struct nccl_id id = {{0}};
    struct nccl_config config = {.size = sizeof config,
                                 .magic = NCCL_MAGIC,
                                 .version = NCCL_OLDEST,
                                 .blocking = 0,
                                 .cga_cluster_size = NCCL_UNDEFINED,
                                 .min_ctas = NCCL_UNDEFINED,
                                 .max_ctas = NCCL_UNDEFINED,
                                 .net_name = NULL,
                                 .split_share = NCCL_UNDEFINED};
    SHOAL_TRY(find_each_other(t, &id, patience_s));
    const int result =
        t->api->comm_init_rank_config(&t->comm, c->n_live, id, c->live_rank[c->worker], &config);
    const enum shoal_status st = settle(t, result, "ncclCommInitRankConfig", patience_s);
    if (st != SHOAL_OK) give_up(t);
    return st;
}

/* Leave together with the others, or at least leave. */
static void disconnect(struct nccl_transport *t)
{
    const double longest_s = 10, limit_s = t->base.c->patience_s;
    const double patience_s = limit_s < longest_s ? limit_s : longest_s;
    if (!t->comm) return;
    const enum shoal_status st =
        settle(t, t->api->comm_finalize(t->comm), "ncclCommFinalize", patience_s);
    if (st != SHOAL_OK) {
        log_warn("%s", shoal_failure_text());
        shoal_failure_told();
        give_up(t);
        return;
    }
    const int result = t->api->comm_destroy(t->comm);
    if (result != NCCL_SUCCESS)
        log_warn("ncclCommDestroy failed: %s", t->api->get_error_string(result));
    t->comm = NULL;
}

/* ---- exchanges ---- */

static enum shoal_status queue_chunk(struct nccl_transport *t, const struct comm_exchange *x,
                                     float *at, size_t count)
{
    const struct comm *const c = t->base.c;
    if (x->kind == COMM_BROADCAST) {
        const int root = c->live_rank[x->root];
        return settle(t, t->api->broadcast(at, at, count, NCCL_FLOAT32, root, t->comm, t->stream),
                      "ncclBroadcast", c->patience_s);
    }
    if (x->kind == COMM_MOVE && x->root == c->worker)
        return settle(
            t, t->api->send(at, count, NCCL_FLOAT32, c->live_rank[x->peer], t->comm, t->stream),
            "ncclSend", c->patience_s);
    if (x->kind == COMM_MOVE)
        return settle(
            t, t->api->recv(at, count, NCCL_FLOAT32, c->live_rank[x->root], t->comm, t->stream),
            "ncclRecv", c->patience_s);
    return settle(t, t->api->all_reduce(at, at, count, NCCL_FLOAT32, NCCL_SUM, t->comm, t->stream),
                  "ncclAllReduce", c->patience_s);
}

static enum shoal_status queue(struct nccl_transport *t, const struct comm_exchange *x)
{
    struct comm *const c = t->base.c;
    const int64_t step = comm_chunk_elements(c);
    if (x->kind == COMM_SUM) SHOAL_TRY(comm_add_own(c, x));
    SHOAL_TRY(device_beside_begin(c->dev));
    for (int64_t begin = 0; begin < x->n; begin += step)
        SHOAL_TRY(queue_chunk(t, x, x->out + begin, (size_t)comm_min(step, x->n - begin)));
    return device_note(c->dev, NCCL_SLOT);
}

/* Bytes of rank 0 .. n_live - 1 in a ring: a broadcast's are counted at its root, a sum's rounded
 * down. */
static void count_bytes(struct comm *c, const struct comm_exchange *x)
{
    const uint64_t bytes = (uint64_t)x->n * sizeof(float), others = (uint64_t)(c->n_live - 1);
    if (x->kind == COMM_SUM) c->bytes_sent += 2 * bytes * others / (uint64_t)c->n_live;
    c->bytes_moved += x->kind == COMM_MOVE ? bytes : (x->kind == COMM_SUM ? 2 : 1) * bytes * others;
    if (x->kind == COMM_BROADCAST && x->root == c->worker) c->bytes_sent += bytes * others;
    if (x->kind == COMM_MOVE && x->root == c->worker) c->bytes_sent += bytes;
}

static enum shoal_status nccl_begin(struct transport *transport, const struct comm_exchange *x)
{
    struct nccl_transport *const t = nccl_of(transport);
    SHOAL_CHECK(t->comm, SHOAL_EPEER, "the workers have lost each other");
    SHOAL_CHECK(x->kind != COMM_MEAN, SHOAL_ENOTSUP, "NCCL carries float32 only");
    const enum shoal_status st = queue(t, x);
    if (st != SHOAL_OK) give_up(t);
    if (st == SHOAL_OK) count_bytes(t->base.c, x);
    return st;
}

/* Until all that is queued is done. */
static enum shoal_status await_queued(const struct nccl_transport *t)
{
    struct comm *const c = t->base.c;
    const double give_up_s = clock_now_s() + c->patience_s;
    for (;;) {
        bool done = false;
        int state = NCCL_SUCCESS;
        SHOAL_TRY(device_slot_done(c->dev, NCCL_SLOT, &done));
        if (done) return SHOAL_OK;
        SHOAL_TRY(comm_look_up(c));
        SHOAL_TRY(look(t, &state));
        if (state != NCCL_IN_PROGRESS) SHOAL_TRY(call_status(t, state, "an exchange by NCCL"));
        SHOAL_CHECK(clock_now_s() < give_up_s, SHOAL_EPEER,
                    "an exchange by NCCL: no answer from the other workers for %g s",
                    c->patience_s);
        comm_slab_pause(c);
    }
}

static enum shoal_status nccl_end(struct transport *transport)
{
    struct nccl_transport *const t = nccl_of(transport);
    const enum shoal_status st = await_queued(t);
    if (st != SHOAL_OK) {
        give_up(t);
        return st;
    }
    return device_beside_end(t->base.c->dev);
}

/* ---- the transport ---- */

static void nccl_close(struct transport *transport)
{
    struct nccl_transport *const t = nccl_of(transport);
    disconnect(t);
    mem_free(t);
}

static enum shoal_status nccl_open(struct comm *c, struct transport **out)
{
    struct nccl_transport *t = NULL;
    SHOAL_TRY(mem_alloc(sizeof *t, "the NCCL transport", &t));
    t->base.ops = &nccl_transport;
    t->base.c = c;
    t->api = c->nccl;
    t->stream = device_beside_stream(c->dev);
    const enum shoal_status st = connect(t, c->patience_s);
    if (st == SHOAL_OK)
        *out = &t->base;
    else
        nccl_close(&t->base);
    return st;
}

static enum shoal_status nccl_renew(struct transport *transport, double deadline_s)
{
    give_up(nccl_of(transport));
    return connect(nccl_of(transport), deadline_s);
}

static const char *nccl_describe(const struct transport *transport)
{
    (void)transport;
    return "NCCL";
}

const struct transport_ops nccl_transport = {.name = "nccl",
                                             .open = nccl_open,
                                             .close = nccl_close,
                                             .begin = nccl_begin,
                                             .end = nccl_end,
                                             .renew = nccl_renew,
                                             .describe = nccl_describe};
