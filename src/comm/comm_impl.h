/* comm_impl.h - what the files of comm share. Include only from src/comm/. */
#pragma once
#ifndef SHOAL_COMM_PRIVATE
#error "comm_impl.h is private to src/comm; use comm.h"
#endif
#include <mpi.h>
#include "comm/comm.h"

/* Every message of the records communicator carries one of these. */
enum comm_tag { COMM_TAG_REPORT = 1, COMM_TAG_ORDER, COMM_TAG_GROUP };

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

struct comm {
    MPI_Comm records; /* all ranks */
    MPI_Comm workers; /* workers only; MPI_COMM_NULL on a coordinator of others */
    int world_size, world_rank;
    int worker, n_workers; /* worker is -1 on a coordinator of others */
    int node_worker, node_workers, core_share;
    size_t chunk_bytes;     /* largest slab message */
    uint64_t bytes_sent;    /* slab bytes */
    double hear_pause_s;    /* present length of comm_hear's sleep */
    struct comm_sent *sent; /* owned; newest first */
    comm_local_fn hear;     /* world of one */
    void *owner;
    struct comm_queued queue[COMM_QUEUE]; /* world of one: orders not yet obeyed */
    int queue_first, queue_count;
};

/* MPI's return code as a status; `call` is the text of the call, for the message. */
enum shoal_status comm_mpi_status(int code, const char *call);
#define COMM_TRY(call)  SHOAL_TRY(comm_mpi_status((call), #call))
#define COMM_GOTO(call) SHOAL_GOTO(comm_mpi_status((call), #call))

enum comm_wait {
    COMM_WAIT_BUSY, /* gives the core away between looks, never sleeps: slabs move while we look */
    COMM_WAIT_LAZY /* sleeps between looks, longer and longer: start-up, where others may be slow */
};
/* Wait for a request without MPI_Wait, which would spin on a core that others may need. */
enum shoal_status comm_finish(MPI_Request *request, enum comm_wait how);

/* Number of this worker among its node's, and how many of the cores it may run on are its own.
 * Collective over the world. */
enum shoal_status comm_survey_node(struct comm *c);
/* Forget records that have arrived; `all`: wait until every one has. */
enum shoal_status comm_reap(struct comm *c, bool all);
