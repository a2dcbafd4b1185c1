/* memory.h - what a worker holds, item by item, before anything is allocated. Pure.
 *
 * Slabs, activations and buffers are counted by the functions that allocate them; what libraries
 * take is a figure (memory.c, kernels/cuda/memory.c). Token files are left out: they are mapped,
 * shared by the workers of a machine, and given back when memory is short. */
#pragma once
#include "config/config.h"
#include "model/params.h"

enum memory_item {
    MEMORY_WEIGHTS, /* of all experts of the worker, float32; where they are parked, of PARK_SETS */
    MEMORY_MOMENTS, /* AdamW's two, likewise */
    MEMORY_VELOCITY, /* where a rule of evolution has inertia */
    MEMORY_OWN_BEST, /* where one is cognitive */
    MEMORY_GRADIENTS,
    MEMORY_WEIGHTS16, /* bf16 copy of the expert in training */
    MEMORY_ACTIVATIONS,
    MEMORY_MEAN,     /* of the experts */
    MEMORY_INBOX,    /* another worker's expert, or one of its own that is parked */
    MEMORY_OUTBOX,   /* own experts' weights while a delayed round is on its way, unless they are
                        parked, and one as the round moves it */
    MEMORY_OUTER,    /* the weights last agreed on, and a velocity, where the mean is left behind */
    MEMORY_WIRE,     /* what a narrow wire has lost of them and of the mean, and packed changes */
    MEMORY_REPLICAS, /* gradients of each expert, where they are averaged */
    MEMORY_BATCH,    /* tokens and targets, here and on their way to the device */
    MEMORY_SCRATCH,  /* of kernels */
    MEMORY_WORKSPACE, /* of a GPU's matrix products */
    MEMORY_CONTEXT,   /* what a GPU's driver takes for a process */
    MEMORY_NCCL,      /* NCCL's buffers on a GPU */
    MEMORY_PARKED,    /* all slabs of all experts of the worker, where they are parked (park.h) */
    MEMORY_STAGE,     /* between a GPU and MPI */
    MEMORY_EXCHANGE,  /* stripes of sums among workers; only while they are added */
    MEMORY_SNAPSHOT,  /* tensors on their way to a file; only while one is written */
    MEMORY_STAGING,   /* copies of experts that are written beside training; in host memory */
    MEMORY_PROGRAM,   /* code and data of the program and its libraries */
    MEMORY_ITEMS
};

struct memory {
    int64_t bytes[MEMORY_ITEMS];
    bool gpu;
};

/* One worker of several, on the CPU or a GPU. */
struct memory_place {
    int worker, workers;
    int threads;
    bool gpu;
    int64_t gpu_bytes; /* all memory of the GPU; 0: not known, then experts are not parked by
                          themselves */
};

/* How many experts the worker owns. */
int memory_own(const struct config *c, struct memory_place place);

/* Where an item lies. */
enum memory_kind { MEMORY_HOST, MEMORY_PINNED /* of the host too */, MEMORY_DEVICE };

struct memory memory_of(const struct config *c, const struct param_table *table,
                        struct memory_place place);
enum memory_kind memory_kind(const struct memory *m, enum memory_item item);
/* Of one kind; a CPU's memory is all the host's. */
int64_t memory_total(const struct memory *m, enum memory_kind kind);
/* The most there is of the host's memory at one time: exchange and snapshot take turns, unless
 * files are written beside training. */
int64_t memory_peak(const struct memory *m);
/* How many of its experts a worker copies at a time for a snapshot: all that fit into 1 GiB, but
 * one at least; 0 where files are not written beside training. */
int memory_staging_slots(const struct config *c, const struct param_table *table, int own);
/* "weights", "bf16_weights", ...: a key for machines. */
const char *memory_item_name(enum memory_item item);
