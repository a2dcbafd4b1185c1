/* records.c - small records point to point: reports up, orders down.
 *
 * Sends are MPI_Isend from a copy that lives until it has arrived, so that nobody waits for a slow
 * reader. Waiting is MPI_Iprobe and sleep: MPI's blocking receive would keep a core busy. */
#define SHOAL_COMM_PRIVATE
#include <string.h>
#include <sched.h>
#include "base/clock.h"
#include "base/memory.h"
#include "comm/comm_impl.h"

static const double hear_shortest_s = 0.5e-3, hear_longest_s = 20e-3;

void comm_set_local(struct comm *c, comm_local_fn hear, void *owner)
{
    c->hear = hear;
    c->owner = owner;
}

enum shoal_status comm_reap(struct comm *c, bool all)
{
    struct comm_sent **at = &c->sent;
    while (*at) {
        struct comm_sent *s = *at;
        int done = 0;
        if (all) SHOAL_TRY(comm_finish(&s->request, COMM_WAIT_LAZY));
        if (!all) COMM_TRY(MPI_Test(&s->request, &done, MPI_STATUS_IGNORE));
        if (all || done) {
            *at = s->next;
            mem_free(s);
        } else {
            at = &s->next;
        }
    }
    return SHOAL_OK;
}

enum shoal_status comm_send(struct comm *c, int rank, enum comm_tag tag, const void *record,
                            size_t bytes)
{
    enum shoal_status st = SHOAL_OK;
    struct comm_sent *s = NULL;
    SHOAL_TRY(comm_reap(c, false));
    SHOAL_TRY(mem_alloc(sizeof *s + bytes, "a record", &s));
    memcpy(s->record, record, bytes);
    COMM_GOTO(MPI_Isend(s->record, (int)bytes, MPI_BYTE, rank, (int)tag, c->records, &s->request));
    s->next = c->sent;
    c->sent = s;
    s = NULL;
done:
    mem_free(s);
    return st;
}

enum shoal_status comm_flush(struct comm *c)
{
    return comm_reap(c, false);
}

enum shoal_status comm_report(struct comm *c, const void *record, size_t bytes)
{
    SHOAL_ASSERT(bytes <= COMM_MAX_RECORD);
    if (c->world_size > 1) return comm_send(c, 0, COMM_TAG_REPORT, record, bytes);
    SHOAL_ASSERT(c->hear);
    return c->hear(c->owner, record, bytes);
}

/* Take the waiting message that `status` describes. */
static enum shoal_status receive(struct comm *c, void *record, size_t room, MPI_Status *status,
                                 size_t *bytes)
{
    int count = 0;
    COMM_TRY(MPI_Get_count(status, MPI_BYTE, &count));
    SHOAL_CHECK(count >= 0 && (size_t)count <= room, SHOAL_EPEER,
                "rank %d sent a record of %d bytes where at most %zu fit: start all ranks from "
                "the same build",
                status->MPI_SOURCE, count, room);
    COMM_TRY(MPI_Recv(record, count, MPI_BYTE, status->MPI_SOURCE, status->MPI_TAG, c->records,
                      MPI_STATUS_IGNORE));
    *bytes = (size_t)count;
    return SHOAL_OK;
}

enum shoal_status comm_hear(struct comm *c, void *record, size_t *bytes, int *worker,
                            double timeout_s, bool *got)
{
    const double deadline_s = clock_now_s() + timeout_s;
    *got = false;
    if (c->world_size == 1) return SHOAL_OK; /* reports went to the local handler */
    for (;;) {
        int waiting = 0;
        MPI_Status status;
        COMM_TRY(MPI_Iprobe(MPI_ANY_SOURCE, COMM_TAG_REPORT, c->records, &waiting, &status));
        if (waiting) {
            c->hear_pause_s = hear_shortest_s;
            SHOAL_TRY(receive(c, record, COMM_MAX_RECORD, &status, bytes));
            *worker = status.MPI_SOURCE - 1;
            *got = true;
            return SHOAL_OK;
        }
        const double left_s = deadline_s - clock_now_s();
        if (left_s <= 0) return comm_reap(c, false);
        if (c->hear_pause_s < hear_shortest_s) c->hear_pause_s = hear_shortest_s;
        clock_sleep_s(c->hear_pause_s < left_s ? c->hear_pause_s : left_s);
        c->hear_pause_s =
            c->hear_pause_s * 1.5 < hear_longest_s ? c->hear_pause_s * 1.5 : hear_longest_s;
    }
}

static enum shoal_status queue_order(struct comm *c, const void *record, size_t bytes)
{
    SHOAL_CHECK(c->queue_count < COMM_QUEUE, SHOAL_EPEER,
                "%d orders wait for the only worker: it does not listen", COMM_QUEUE);
    struct comm_queued *q = &c->queue[(c->queue_first + c->queue_count++) % COMM_QUEUE];
    memcpy(q->record, record, bytes);
    q->bytes = bytes;
    return SHOAL_OK;
}

enum shoal_status comm_order(struct comm *c, const void *record, size_t bytes)
{
    SHOAL_ASSERT(bytes <= COMM_MAX_RECORD);
    if (c->world_size == 1) return queue_order(c, record, bytes);
    for (int worker = 0; worker < c->n_workers; worker++)
        if (c->live_rank[worker] >= 0)
            SHOAL_TRY(comm_send(c, worker + 1, COMM_TAG_ORDER, record, bytes));
    return SHOAL_OK;
}

static enum shoal_status take_queued(struct comm *c, void *record, size_t room, size_t *bytes)
{
    SHOAL_CHECK(c->queue_count > 0, SHOAL_EPEER,
                "the worker waits for an order, and nobody is there to give one");
    const struct comm_queued *q = &c->queue[c->queue_first];
    SHOAL_ASSERT(q->bytes <= room);
    memcpy(record, q->record, q->bytes < room ? q->bytes : room);
    *bytes = q->bytes;
    c->queue_first = (c->queue_first + 1) % COMM_QUEUE;
    c->queue_count--;
    return SHOAL_OK;
}

/* Wait for an order, shortly awake at first: training stands still meanwhile. */
static enum shoal_status await_order(struct comm *c, void *record, size_t room, size_t *bytes)
{
    const int yields = 200;
    const double longest_s = 1e-3;
    double pause_s = 50e-6;
    for (int looks = 0;; looks += looks < yields) {
        int waiting = 0;
        MPI_Status status;
        COMM_TRY(MPI_Iprobe(0, COMM_TAG_ORDER, c->records, &waiting, &status));
        if (waiting) return receive(c, record, room, &status, bytes);
        SHOAL_TRY(comm_look_up(c));
        if (looks < yields) {
            sched_yield();
            continue;
        }
        clock_sleep_s(pause_s);
        pause_s = pause_s * 2 < longest_s ? pause_s * 2 : longest_s;
    }
}

enum shoal_status comm_await(struct comm *c, int rank, enum comm_tag tag, void *record,
                             size_t bytes, double deadline_s)
{
    const double give_up_s = clock_now_s() + deadline_s, longest_s = 5e-3;
    double pause_s = 50e-6;
    size_t came = 0;
    for (;;) {
        int waiting = 0;
        MPI_Status status;
        COMM_TRY(MPI_Iprobe(rank, tag, c->records, &waiting, &status));
        if (waiting) {
            SHOAL_TRY(receive(c, record, bytes, &status, &came));
            break;
        }
        SHOAL_CHECK(deadline_s <= 0 || clock_now_s() < give_up_s, SHOAL_EPEER,
                    "rank %d has not answered for %g s", rank, deadline_s);
        clock_sleep_s(pause_s);
        pause_s = pause_s * 2 < longest_s ? pause_s * 2 : longest_s;
    }
    SHOAL_CHECK(came == bytes, SHOAL_EPEER,
                "rank %d sent a record of %zu bytes where %zu were expected: start all ranks from "
                "the same build",
                rank, came, bytes);
    return SHOAL_OK;
}

static enum shoal_status check_size(size_t came, size_t expected)
{
    SHOAL_CHECK(came == expected, SHOAL_EPEER,
                "an order of %zu bytes came where %zu were expected: start all ranks from the "
                "same build",
                came, expected);
    return SHOAL_OK;
}

enum shoal_status comm_obey(struct comm *c, void *record, size_t bytes)
{
    size_t came = 0;
    SHOAL_TRY(comm_reap(c, false));
    if (c->world_size == 1) {
        SHOAL_TRY(take_queued(c, record, bytes, &came));
    } else {
        SHOAL_TRY(await_order(c, record, bytes, &came));
    }
    return check_size(came, bytes);
}

enum shoal_status comm_poll(struct comm *c, void *record, size_t bytes, bool *got)
{
    size_t came = 0;
    int waiting = 0;
    MPI_Status status;
    *got = false;
    if (c->world_size == 1) {
        SHOAL_TRY(c->hear(c->owner, NULL, 0));
        if (c->queue_count == 0) return SHOAL_OK;
        SHOAL_TRY(take_queued(c, record, bytes, &came));
    } else {
        COMM_TRY(MPI_Iprobe(0, COMM_TAG_ORDER, c->records, &waiting, &status));
        if (!waiting) return SHOAL_OK;
        SHOAL_TRY(receive(c, record, bytes, &status, &came));
    }
    *got = true;
    return check_size(came, bytes);
}
