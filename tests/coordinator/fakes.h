/* fakes.h - stand-ins for comm and snapshot's index, linked before the real ones, so that the
 * coordinator's loop runs without MPI and HDF5. One test at a time. */
#pragma once
#include "comm/comm.h"
#include "evo/protocol.h"
#include "snapshot/index.h"

enum { FAKE_MAX = 64 };

struct comm {
    int world_size;
    comm_local_fn hear; /* in a world of one */
    void *owner;
    struct order orders[FAKE_MAX]; /* sent, oldest first */
    int n_orders;
    struct report reports[FAKE_MAX]; /* what comm_hear gives, in order; then SHOAL_EPEER */
    int n_reports, n_heard;
    bool silence;          /* comm_hear first reports silence once */
    int silent;            /* one more than the worker that comm_silent names, once; 0: none */
    struct comm_news news; /* announced last */
    int n_news, n_renewed;
    bool farewell;
};

/* What index_write was called with last. */
struct fake_index {
    struct snapshot_index index;
    char run[SHOAL_MAX_PATH], config[16384];
    double fitness[FAKE_MAX][4]; /* of each judging */
    int n_written, n_pruned, n_dropped;
    int64_t keep, dropped;
    bool full; /* index_write fails */
};
/* Filled by the fakes; clear it between tests. */
struct fake_index *fake_index(void);
