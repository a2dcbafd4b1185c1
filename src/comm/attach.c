/* attach.c - choose and build what carries slabs.
 *
 * Every worker sends a start report, the coordinator chooses, and sends the choice back: a decision
 * has one place, and no collective that a lost worker could leave hanging. */
#define SHOAL_COMM_PRIVATE
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/memory.h"
#include "comm/comm_impl.h"

/* By enum comm_transport. */
static const struct transport_ops *const transports[] = {
    [COMM_MPI] = &mpi_transport, [COMM_NCCL] = &nccl_transport};

/* ---- the choice ---- */

static void look_for_nccl(struct comm *c, struct comm_start *me)
{
    enum shoal_status st;
    int version = 0;
    if (c->nccl) {
        st = c->nccl->get_version(&version) == 0 ? SHOAL_OK : SHOAL_ENOTSUP;
    } else {
        st = nccl_load(NULL, &c->loaded, &version);
        if (st == SHOAL_OK) c->nccl = &c->loaded;
    }
    if (st == SHOAL_OK) {
        me->nccl = version;
        return;
    }
    (void)snprintf(me->reason, sizeof me->reason, "%s", shoal_failure_text());
    shoal_failure_told(); /* whether it matters, the choice will say */
}

static void describe_self(struct comm *c, const char *wish, struct comm_start *me)
{
    memset(me, 0, sizeof *me);
    me->node = c->node_number;
    me->is_host = device_is_host(c->dev);
    (void)snprintf(me->device, sizeof me->device, "%s", device_identity(c->dev));
    if (!me->is_host && strcmp(wish, "mpi") != 0) look_for_nccl(c, me);
}

/* Coordinator of others: hear all, choose, tell all. */
static enum shoal_status choose_for_all(struct comm *c, const char *wish)
{
    enum shoal_status st = SHOAL_OK;
    struct comm_start *start = NULL;
    SHOAL_TRY(mem_alloc((size_t)c->n_workers * sizeof *start, "start reports", &start));
    for (int w = 0; w < c->n_workers; w++)
        SHOAL_GOTO(comm_await(c, w + 1, COMM_TAG_START, &start[w], sizeof *start, 0));
    c->choice = comm_choose(wish, start, c->n_workers);
    for (int w = 0; w < c->n_workers; w++)
        SHOAL_GOTO(comm_send(c, w + 1, COMM_TAG_CHOICE, &c->choice, sizeof c->choice));
done:
    mem_free(start);
    return st;
}

static enum shoal_status choose(struct comm *c, const char *wish)
{
    struct comm_start me;
    if (c->worker < 0) return choose_for_all(c, wish);
    describe_self(c, wish, &me);
    if (c->world_size == 1) {
        c->choice = comm_choose(wish, &me, 1);
        return SHOAL_OK;
    }
    SHOAL_TRY(comm_send(c, 0, COMM_TAG_START, &me, sizeof me));
    return comm_await(c, 0, COMM_TAG_CHOICE, &c->choice, sizeof c->choice, 0);
}

/* ---- the identity of a communicator ---- */

struct id_record {
    uint32_t epoch;
    int32_t well;
    struct nccl_id id;
};

/* The record of this epoch; those of epochs before may still be under way. */
static enum shoal_status await_id(struct comm *c, int rank, struct id_record *record,
                                  double deadline_s)
{
    do {
        SHOAL_TRY(comm_await(c, rank, COMM_TAG_ID, record, sizeof *record, deadline_s));
    } while (record->epoch < c->epoch);
    SHOAL_CHECK(record->epoch == c->epoch, SHOAL_EPEER, "epoch %u has begun without this rank",
                (unsigned)record->epoch);
    return SHOAL_OK;
}

enum shoal_status comm_share_id(struct comm *c, struct nccl_id *id, bool well, double deadline_s)
{
    struct id_record record = {.epoch = c->epoch, .well = well};
    if (c->world_size == 1) return SHOAL_OK;
    if (c->live_rank[c->worker] == 0) {
        record.id = *id;
        return comm_send(c, 0, COMM_TAG_ID, &record, sizeof record);
    }
    SHOAL_TRY(await_id(c, 0, &record, deadline_s));
    SHOAL_CHECK(record.well, SHOAL_EPEER, "NCCL fails on the worker that others should meet");
    *id = record.id;
    return SHOAL_OK;
}

enum shoal_status comm_pass_id(struct comm *c, double deadline_s)
{
    struct id_record record;
    int first = 0;
    while (c->live_rank[first] != 0)
        first++;
    SHOAL_TRY(await_id(c, first + 1, &record, deadline_s));
    for (int w = first + 1; w < c->n_workers; w++)
        if (c->live_rank[w] > 0)
            SHOAL_TRY(comm_send(c, w + 1, COMM_TAG_ID, &record, sizeof record));
    return SHOAL_OK;
}

/* ---- building it ---- */

static void close_transport(struct comm *c)
{
    if (c->transport) c->transport->ops->close(c->transport);
    c->transport = NULL;
}

static enum shoal_status open_transport(struct comm *c)
{
    return transports[c->choice.transport]->open(c, &c->transport);
}

/* Whether NCCL came up on all workers. Where not, MPI will do if it may. */
static enum shoal_status settle_for_less(struct comm *c, enum shoal_status mine)
{
    const int well = mine == SHOAL_OK;
    int all_well = 0;
    MPI_Request request;
    COMM_TRY(MPI_Iallreduce(&well, &all_well, 1, MPI_INT, MPI_MIN, c->workers, &request));
    SHOAL_TRY(comm_finish(&request, COMM_WAIT_LAZY));
    if (all_well) return SHOAL_OK;
    close_transport(c);
    if (!c->choice.may_fall_back) {
        return well ? SHOAL_FAIL(SHOAL_EPEER, "another worker could not join NCCL") : mine;
    }
    if (!well) {
        log_warn("weights travel by MPI, as NCCL fails: %s", shoal_failure_text());
        shoal_failure_told();
    }
    c->choice.transport = COMM_MPI;
    (void)snprintf(c->choice.why, sizeof c->choice.why, "NCCL fails");
    return open_transport(c);
}

/* How it went, from worker 0 to the coordinator, which must know whether to pass on identities. */
struct outcome {
    struct comm_choice choice;
    char describe[COMM_DESCRIBE];
};

static enum shoal_status tell_outcome(struct comm *c)
{
    struct outcome o = {.choice = c->choice};
    if (c->world_size == 1 || c->worker != 0) return SHOAL_OK;
    memcpy(o.describe, c->describe, sizeof o.describe);
    return comm_send(c, 0, COMM_TAG_CHOICE, &o, sizeof o);
}

static enum shoal_status hear_outcome(struct comm *c)
{
    struct outcome o;
    if (c->choice.transport == COMM_NCCL) SHOAL_TRY(comm_pass_id(c, c->patience_s));
    SHOAL_TRY(comm_await(c, 1, COMM_TAG_CHOICE, &o, sizeof o, 0));
    c->choice = o.choice;
    memcpy(c->describe, o.describe, sizeof c->describe);
    return SHOAL_OK;
}

static void describe(struct comm *c)
{
    const char *why = c->choice.why;
    (void)snprintf(c->describe, sizeof c->describe, "%s%s%s",
                   c->transport->ops->describe(c->transport), why[0] ? ", as " : "", why);
}

enum shoal_status comm_attach(struct comm *c, const char *wish, struct device *dev)
{
    SHOAL_ASSERT(!c->dev && (dev != NULL) == (c->worker >= 0));
    c->dev = dev;
    SHOAL_TRY(choose(c, wish));
    SHOAL_CHECK(!c->choice.impossible, SHOAL_ECONFIG, "%s", c->choice.why);
    if (c->worker < 0) return hear_outcome(c);
    enum shoal_status st = open_transport(c);
    if (c->choice.transport == COMM_NCCL) st = settle_for_less(c, st);
    if (st == SHOAL_OK) describe(c);
    const enum shoal_status told = tell_outcome(c);
    return st != SHOAL_OK ? st : told;
}

void comm_detach(struct comm *c)
{
    close_transport(c);
    c->dev = NULL;
    c->staged = false;
    c->describe[0] = 0;
}
