/* fake_nccl.h - plays NCCL for one process: the same functions, carried out by MPI between far
 * devices, with faults on demand. Calls come back unfinished, as NCCL's do on communicators that do
 * not block. */
#pragma once
#include "comm/comm_tests.h"

enum fake_call {
    FAKE_NONE,
    FAKE_ID,
    FAKE_INIT,
    FAKE_BROADCAST,
    FAKE_ALL_REDUCE,
    FAKE_SEND,
    FAKE_RECV,
    FAKE_FINALIZE
};

struct fake_nccl {
    struct comm *c;        /* whose live workers take part */
    int polls;             /* how often a call is still in progress when asked; -1: for ever */
    enum fake_call fails;  /* this call returns ncclRemoteError */
    enum fake_call stalls; /* this one takes for ever */
    bool breaks;           /* errors are reported while an exchange is under way */
    int inits, aborts, finalized, destroyed, broadcasts, sums, moves;
    int nranks, rank;
    size_t largest; /* elements */
    struct nccl_id id;
};

/* A fresh one, and its functions where c looks for the library's. */
struct fake_nccl *fake_nccl_install(struct comm *c);
/* Back to the system's library. */
void fake_nccl_remove(struct comm *c);
