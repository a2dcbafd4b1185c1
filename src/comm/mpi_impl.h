/* mpi_impl.h - what the files of the MPI transport share. Include only from src/comm/mpi*. */
#pragma once
#include "comm/comm_impl.h"

/* Pinned host memory between a device and MPI: two buffers each way, so that one is copied while
 * the other is on the wire. Outgoing buffer b belongs to slot b of the device, incoming buffer b to
 * slot 2 + b. */
struct mpi_stage {
    float *out[2], *in[2];     /* owned */
    int64_t out_room, in_room; /* elements of each; grow at first use of a size, never shrink */
};

/* More does not make the wire faster, and pinned memory is scarce. */
enum { MPI_STAGE_BYTES = 32 << 20 };

struct mpi_transport {
    struct transport base;
    bool direct; /* MPI reads and writes the device's memory; else by way of the stage */
    bool staged; /* some worker goes by way of the stage, so all cut messages to fit it */
    struct mpi_stage stage;
    /* Where MPI writes instead of the device's slabs, while an exchange may have to be abandoned.
     */
    float *landing; /* owned; on the device */
    int64_t landing_room;
    struct comm_exchange now;
    char describe[64];
};

/* Room for so many elements in every buffer of either direction. */
enum shoal_status mpi_stage_reserve(struct mpi_transport *t, int64_t out, int64_t in);
/* The landing for so many elements. */
enum shoal_status mpi_land(struct mpi_transport *t, int64_t n);
/* Wait until nothing moves between stage and device. */
enum shoal_status mpi_stage_settle(struct mpi_transport *t);
static inline int mpi_slot_out(int b)
{
    return b;
}
static inline int mpi_slot_in(int b)
{
    return 2 + b;
}

/* Elements of one message; the same on all workers. */
static inline int64_t mpi_message_elements(const struct mpi_transport *t)
{
    const int64_t most = comm_chunk_elements(t->base.c);
    return t->staged ? comm_min(most, MPI_STAGE_BYTES / (int64_t)sizeof(float)) : most;
}

/* Carry out t->now: a broadcast or a move, a sum, and a mean. Collective over the workers that take
 * part. */
enum shoal_status mpi_carry(struct mpi_transport *t);
enum shoal_status mpi_sum(struct mpi_transport *t);
enum shoal_status mpi_mean(struct mpi_transport *t);

/* *all: whether `mine` is true on all live workers. Collective over them. */
enum shoal_status mpi_all_agree(struct comm *c, bool mine, bool *all);
/* Whether MPI says that it takes pointers to GPU memory, and an exchange between all live workers
 * bears it out; the same answer on all. Collective over them, those without a GPU included. */
enum shoal_status mpi_try_direct(struct mpi_transport *t, bool *works);
