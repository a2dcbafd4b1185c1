/* plan.h - what a run will take: memory, traffic, files and time. Worked out in plan_make.c and
 * plan_speed.c, shown by plan_text.c and plan_json.c. Private to this folder. */
#pragma once
#include "config/config.h"
#include "model/params.h"
#include "worker/exchange.h"
#include "worker/memory.h"

struct plan_request {
    int workers, machines;
    bool measure; /* time real steps instead of assuming a share of the device's peak */
};

/* Token files, as far as they are there. */
struct plan_data {
    char missing[256];    /* why they cannot be counted; "": they can */
    int64_t bytes;        /* of all of them; mapped, not in any worker's memory */
    int64_t train_tokens; /* of data.train */
    int64_t judging;      /* windows that judge a member */
    int64_t evaluation;   /* windows that evaluate the best one */
};

/* What happens how often in the whole run, and the floating-point operations of it. */
struct plan_work {
    int64_t judgings, evaluations;
    double tokens;          /* all experts learn from */
    double flops_per_token; /* forward and backward */
    double train_flops, judge_flops;
};

struct plan_speed {
    bool measured;
    double core_peak;    /* FLOP/s of a core, in the run's precision */
    double utilisation;  /* share of it that training reaches */
    double step_core_s;  /* time of one core for a step of one expert */
    double judge_core_s; /* for judging one member */
};

/* A number of workers, and what follows from it. */
struct plan_layout {
    int workers, on_machine; /* all, and those on the fullest machine */
    int threads;             /* of a worker */
    int experts;             /* of the worker that has most */
    struct memory memory;    /* of that worker */
    int64_t machine_bytes;   /* all workers of the fullest machine */
    int64_t device_bytes;    /* of its GPU; 0: it has none */
    bool fits; /* into this machine, as far as that is known; GPUs are not looked at */
    struct traffic traffic;
    double data_parallel; /* bytes a step of the uncut model; of a replica where they are some */
    double step_s, run_s; /* a step of one expert; the whole run */
};

struct plan_files {
    int64_t shard_bytes, index_bytes, best_bytes;
    int64_t snapshot_bytes;  /* shards and index */
    int64_t snapshots, kept; /* written in the whole run, left at its end */
    int64_t most_bytes;      /* on the disk at any time */
};

/* What to change. */
struct plan_advice {
    int micro_batch, recompute; /* what would fit; micro_batch 0: nothing does */
    int on_machine;             /* workers of one machine that fit as it is */
    bool keep_activations;      /* recomputation is not needed */
};

struct plan {
    struct config config;
    struct plan_request request;
    struct param_table *table; /* of an expert; owned */
    struct gpt_shape uncut;
    int64_t uncut_params;
    int64_t memory_bytes, free_bytes; /* of this machine; 0: not known */
    bool gpu;                         /* workers compute on GPUs */
    int64_t gpu_bytes;                /* all memory of this machine's; 0: it has none */
    int cores;
    struct plan_data data;
    struct plan_work work;
    struct plan_speed speed;
    struct plan_layout layout;
    struct plan_files files;
    struct plan_advice advice;
};

/* c is valid for that many workers. SHOAL_ENOMEM: not enough room to measure. plan_free afterwards,
 * also on failure. */
enum shoal_status plan_make(const struct config *c, const struct plan_request *request,
                            struct plan *p);
void plan_free(struct plan *p);
/* The layout of the same run, changed to c, on another number of workers. */
struct plan_layout plan_layout_of(const struct plan *p, const struct config *c, int workers);
/* Fill p->speed. */
enum shoal_status plan_measure(struct plan *p);

/* A table for people, and one line of JSON, on stdout. */
void plan_print_text(const struct plan *p);
enum shoal_status plan_print_json(const struct plan *p);
