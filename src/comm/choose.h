/* choose.h - which transport carries the slabs, from what the workers say of themselves. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "kernels/kernels.h"

enum comm_transport { COMM_MPI, COMM_NCCL };

enum { COMM_REASON = 256 };

/* A worker's start report. Sent as bytes. */
struct comm_start {
    int32_t node;             /* the same for workers of one machine only */
    int32_t is_host;          /* nonzero: its device computes in host memory */
    int32_t nccl;             /* version of the library, like 22809; 0: it cannot be used */
    char device[DEVICE_ID];   /* device_identity */
    char reason[COMM_REASON]; /* why nccl is 0 */
};

struct comm_choice {
    int32_t transport;         /* enum comm_transport */
    int32_t impossible;        /* nonzero: the wish cannot be met */
    int32_t may_fall_back;     /* nonzero: MPI will do where NCCL fails after all */
    char why[2 * COMM_REASON]; /* why NCCL is not possible; "" where it is, or nobody asked */
};

/* wish: "auto", "mpi" or "nccl"; start: n workers. */
struct comm_choice comm_choose(const char *wish, const struct comm_start *start, int n);
