/* comm_impl.h - what the files of comm share. Include only from src/comm/. */
#pragma once
#ifndef SHOAL_COMM_PRIVATE
#error "comm_impl.h is private to src/comm; use comm.h"
#endif
#include <mpi.h>
#include "comm/choose.h"
#include "comm/comm.h"
#include "comm/nccl_abi.h"
#include "kernels/kernels.h"

/* Every message of the records communicator carries one of these. COMM_TAG_GROUP + epoch: those
 * that make the workers' communicator. */
enum comm_tag {
    COMM_TAG_REPORT = 1,
    COMM_TAG_ORDER,
    COMM_TAG_START,
    COMM_TAG_CHOICE,
    COMM_TAG_ID,
    COMM_TAG_BEAT,
    COMM_TAG_NEWS,
    COMM_TAG_FAREWELL,
    COMM_TAG_GROUP
};
enum { COMM_GROUP_TAGS = 1024 };
enum { COMM_MOVE_TAG = 1 }; /* of the workers' communicator */

enum { COMM_PATIENCE_S = 120 };
enum { COMM_DESCRIBE = 3 * COMM_REASON };
enum { COMM_QUEUE = 16 }; /* orders a world of one may hold back; more is our own mistake */

/* A record on its way: MPI reads it until the request is done. */
struct comm_sent {
    struct comm_sent *next;
    MPI_Request request;
    unsigned char record[];
};

struct comm_queued {
    size_t bytes;
    unsigned char record[COMM_MAX_RECORD];
};

/* ---- transports ---- */

/* Transports put this first in their own struct. */
struct transport {
    const struct transport_ops *ops;
    struct comm *c; /* borrowed */
};

/* What a transport must supply. Arguments are checked; one exchange at a time. */
struct transport_ops {
    const char *name;
    /* For the live workers and c->dev. Collective over them. */
    enum shoal_status (*open)(struct comm *c, struct transport **out);
    void (*close)(struct transport *t);
    /* As comm_begin and comm_end. begin may leave all work to end, or do all of it. */
    enum shoal_status (*begin)(struct transport *t, const struct comm_exchange *x);
    enum shoal_status (*end)(struct transport *t);
    /* Drop what is on its way; connect the workers that are live now, waiting deadline_s at most
     * where it can. Collective over them. */
    enum shoal_status (*renew)(struct transport *t, double deadline_s);
    /* For people: "MPI from host memory". */
    const char *(*describe)(const struct transport *t);
};
extern const struct transport_ops mpi_transport;  /* mpi.c */
extern const struct transport_ops nccl_transport; /* nccl.c */

struct comm {
    MPI_Comm records; /* all ranks */
    MPI_Comm workers; /* live workers only; MPI_COMM_NULL on a coordinator of others */
    MPI_Comm node;    /* this machine's workers; MPI_COMM_NULL on a coordinator of others */
    int world_size, world_rank;
    int worker, n_workers; /* worker is -1 on a coordinator of others */
    int node_worker, node_workers, core_share;
    int node_number; /* lowest world rank of this machine */
    int node_cores;  /* that its workers may run on */
    bool staged;     /* what is attached goes by way of host memory, and need not */
    uint32_t epoch;
    int n_live;
    int *live_rank;         /* owned; n_workers: rank in `workers`, -1: lost */
    size_t chunk_bytes;     /* largest slab message */
    uint64_t bytes_sent;    /* slab bytes of this worker */
    uint64_t bytes_moved;   /* of all live workers */
    bool threads;           /* MPI may be called from several threads at a time */
    bool quiet;             /* comm_be_quiet */
    double hear_pause_s;    /* present length of comm_hear's sleep */
    struct comm_sent *sent; /* owned; newest first */
    comm_local_fn hear;     /* world of one */
    void *owner;
    struct comm_queued queue[COMM_QUEUE]; /* world of one: orders not yet obeyed */
    int queue_first, queue_count;
    struct device *dev;          /* borrowed; NULL while nothing is attached */
    struct comm_choice choice;   /* what was attached; also on the coordinator */
    struct transport *transport; /* owned */
    bool exchanging;             /* between comm_begin and comm_end */
    char describe[COMM_DESCRIBE];
    const struct nccl_api *nccl; /* borrowed; the library's functions, NULL: not needed yet */
    struct nccl_api loaded;      /* where nccl points, but in tests */
    int mpi_reads_device;        /* -1: ask MPI; 0, 1: what it would answer; for tests */
    double patience_s;   /* longest silence of other workers; COMM_PATIENCE_S but in tests */
    struct watch *watch; /* owned; NULL: nobody watches */
    bool abandoned;      /* an exchange ended in the middle: MPI may still write to its buffers */
};

/* MPI's return code as a status; `call` is the text of the call, for the message. */
enum shoal_status comm_mpi_status(int code, const char *call);
#define COMM_TRY(call)  SHOAL_TRY(comm_mpi_status((call), #call))
#define COMM_GOTO(call) SHOAL_GOTO(comm_mpi_status((call), #call))

enum comm_pace {
    COMM_WAIT_BUSY,  /* gives the core away between looks, never sleeps: slabs move while we look */
    COMM_WAIT_QUIET, /* sleeps a little between looks: slabs move beside other work */
    COMM_WAIT_SLOW /* sleeps between looks, longer and longer: start-up, where others may be slow */
};
struct comm_wait {
    enum comm_pace pace;
    struct comm *c; /* a change of its members ends the wait; NULL: nothing does */
};
#define COMM_WAIT_LAZY ((struct comm_wait){COMM_WAIT_SLOW, NULL})
/* Wait for a request without MPI_Wait, which would spin on a core that others may need.
 * SHOAL_EPEER, SHOAL_EORPHAN: see comm_look_up; the request is left as it is, and so must be its
 * buffers. */
enum shoal_status comm_finish(MPI_Request *request, struct comm_wait how);
/* How to wait for slabs now. */
struct comm_wait comm_slab_wait(struct comm *c);
/* SHOAL_EPEER where members have changed, SHOAL_EORPHAN where the coordinator is lost: nothing that
 * needs the others may be waited for. */
enum shoal_status comm_look_up(struct comm *c);
/* Between two looks at slabs on their way. */
void comm_slab_pause(const struct comm *c);
/* Free what an exchange was given, unless it was abandoned. p may be NULL. */
void comm_release(struct comm *c, void *p);
void comm_release_device(struct comm *c, void *p);
/* Wait until a slot of the device is done. */
enum shoal_status comm_await_slot(struct comm *c, int slot);

/* Number of this worker among its node's, and how many of the cores it may run on are its own.
 * Collective over the world. */
enum shoal_status comm_survey_node(struct comm *c);
/* Forget records that have arrived; `all`: wait until every one has. */
enum shoal_status comm_reap(struct comm *c, bool all);
/* A record point to point. Buffered. */
enum shoal_status comm_send(struct comm *c, int rank, enum comm_tag tag, const void *record,
                            size_t bytes);
/* Wait for one of exactly `bytes`, sleeping. deadline_s 0: as long as it takes; else SHOAL_EPEER
 * after that. */
enum shoal_status comm_await(struct comm *c, int rank, enum comm_tag tag, void *record,
                             size_t bytes, double deadline_s);

/* attach.c: the identity of a communicator, from the live worker of rank 0 to the other live ones
 * by way of the coordinator, which alone is sure to be there. well: whether that worker has one;
 * where not, the others fail. Collective over the live workers; a coordinator of others calls
 * comm_pass_id meanwhile. */
enum shoal_status comm_share_id(struct comm *c, struct nccl_id *id, bool well, double deadline_s);
enum shoal_status comm_pass_id(struct comm *c, double deadline_s);

/* members.c: take note of who is live, and on a worker make their communicator, where ranks are
 * watched in deadline_s or not at all. live NULL: all.
 * Collective over the live workers and the coordinator. */
enum shoal_status comm_make_group(struct comm *c, const uint8_t *live, double deadline_s);

static inline int64_t comm_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
/* Elements of one message, at least 1; MPI counts them as int. */
static inline int64_t comm_chunk_elements(const struct comm *c)
{
    const int64_t most = COMM_CHUNK_LIMIT / (int64_t)sizeof(float) - 1;
    const int64_t n = comm_min((int64_t)(c->chunk_bytes / sizeof(float)), most);
    return n < 1 ? 1 : n;
}
/* out = the sum of this worker's own parts, on the device; zero of none. */
enum shoal_status comm_add_own(struct comm *c, const struct comm_exchange *x);
