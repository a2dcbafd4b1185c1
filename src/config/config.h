/* config.h - one run, described in numbers. Plain data: no pointers, no handles.
 *
 * Every field is one row of the option table (options.c): key, type, range, default, help. Reading
 * YAML, --set, --help, validation and the resolved config.yaml all walk that table. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "base/files.h"
#include "base/status.h"

enum { CONFIG_NAME = 64, SHOAL_MAX_EXPERTS = 16384, SHOAL_MAX_SKIP_WINDOW = 1024 };

enum precision { PRECISION_F32, PRECISION_BF16 };
enum schedule { SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_CONSTANT, SCHEDULE_WSD };
enum init_mode { INIT_SAME, INIT_DIFFERENT };
enum population_mode {
    POPULATION_EVOLVE,       /* experts train alone and meet in rounds */
    POPULATION_DATA_PARALLEL /* replicas of one expert that share every gradient */
};
/* Whether experts wait in host memory for their turn on the device; auto: where a GPU cannot hold
 * them all. */
enum parking { PARK_AUTO, PARK_ON, PARK_OFF };
enum grow_mode { GROW_CLONE, GROW_INIT };
enum arch { ARCH_GPT2, ARCH_LLAMA };
enum tied { TIED_AUTO, TIED_TRUE, TIED_FALSE }; /* auto: as the architecture has it */
/* What the backward pass computes again instead of finding it in memory: nothing, the inside of
 * each feed-forward, or all inside each block. */
enum recompute { RECOMPUTE_NONE, RECOMPUTE_MLP, RECOMPUTE_BLOCK };

/* Shape of one expert: config_shape makes it, with every default filled in. */
struct gpt_shape {
    int layers;       /* L, of this expert */
    int heads;        /* NH; width is a multiple of it */
    int width;        /* C */
    int context;      /* T_max, tokens */
    int vocab;        /* V, tokens that exist */
    int vocab_pad;    /* Vp, V rounded up to a multiple of 128; the extra rows are zero */
    int arch;         /* enum arch */
    int kv_heads;     /* NK, heads of keys and values; heads is a multiple of it, and it in gpt2 */
    int ffn;          /* F, width inside the feed-forward */
    bool tied;        /* the head is the token embedding; always so in gpt2 */
    float rope_theta; /* of rotary positions; no meaning in gpt2 */
};

enum attractor {
    ATTRACT_NONE, /* the group does not evolve */
    ATTRACT_BEST, /* the best member at the last judging (the recombinant is a member) */
    ATTRACT_MEAN, /* always the mean of the live experts */
    ATTRACT_LAST, /* experts in turn, one a round: the reference code's "trained last" */
    ATTRACT_TOP,  /* after a judging, for each of the worst experts one of the best */
    ATTRACT_PAIR  /* after a judging, for the worse of each random pair the better one */
};
enum draw_by { DRAW_CONSTANT, DRAW_EXPERT, DRAW_TENSOR, DRAW_ROW, DRAW_ELEMENT };
enum draw_law {
    LAW_UNIFORM, /* uniform in [0, 1) */
    LAW_KOIFISH  /* clip((N(0,1) + 3) / 6, 0, 1) */
};
enum moments { MOMENTS_KEEP, MOMENTS_ZERO, MOMENTS_INHERIT };
/* How the experts' mean travels between judgings: as it is, or as packed changes. */
enum wire { WIRE_F32, WIRE_BF16, WIRE_INT8, WIRE_INT4, WIRE_INT1 };
enum scope { SCOPE_ALL, SCOPE_MATRICES }; /* every tensor of the group, or only 2-D ones */

/* How one group of tensors evolves in a round. See evo/operators.h for the formulas. */
struct evo_rule {
    int attractor;        /* enum attractor */
    int tensors;          /* enum scope */
    float inertia;        /* of the velocity, [0, 1) */
    float cognitive;      /* pull toward the expert's own best, [0, 4] */
    float social;         /* pull toward the attractor, [0, 4] */
    int draw;             /* enum draw_by: r1, r2 are 1 (constant) or drawn once per ... */
    int law;              /* enum draw_law of r1, r2 */
    float crossover;      /* probability that a value is the attractor's, [0, 1] */
    int crossover_by;     /* enum draw_by: tensor, row or element */
    float mutation;       /* probability per element, [0, 1] */
    float mutation_scale; /* standard deviation in units of lr * |m_hat| / (sqrt(v_hat) + eps) */
    int moments;          /* enum moments, of experts that moved */
};

struct config {
    struct {
        char name[CONFIG_NAME];
        char out[SHOAL_MAX_PATH]; /* run directory */
        int64_t seed;
        int64_t steps;  /* optimiser steps of every expert */
        double minutes; /* stop at the first judging after this; 0: no limit */
        double margin;  /* minutes before the end of a batch job at which to stop */
        int64_t log;    /* steps between two "step" records of an expert */
    } run;
    struct {
        char preset[CONFIG_NAME]; /* "" or the name of a released model */
        int arch;                 /* enum arch */
        int layers; /* of the uncut model; 0 when population.layers_per_expert is set */
        int width, heads, context, vocab;
        int kv_heads;      /* 0: heads */
        int ffn;           /* 0: the architecture's default */
        double rope_theta; /* llama only */
        int tied;          /* enum tied */
    } model;
    struct {
        int experts;           /* K */
        int layers_per_expert; /* 0: model.layers / experts */
        int init;              /* enum init_mode */
        int mode;              /* enum population_mode */
        int park;              /* enum parking */
        int grow;              /* enum grow_mode: what experts begin as that join on resume */
        double lr_spread;      /* first learning rates: train.lr / this .. train.lr * this */
    } population;
    struct {
        char train[SHOAL_MAX_PATH]; /* glob of token shards */
        char val[SHOAL_MAX_PATH];
        char tokenizer[CONFIG_NAME]; /* "bytes", "gpt2" or "none": what tokens mean as text */
        char vocab[SHOAL_MAX_PATH];  /* gpt2's vocabulary files; "": beside the shards of train */
    } data;
    struct {
        int batch;        /* sequences per optimiser step and expert */
        int micro_batch;  /* sequences per forward/backward; 0: batch */
        double lr;        /* peak */
        double lr_final;  /* last learning rate as a fraction of the peak */
        int64_t warmup;   /* steps */
        int schedule;     /* enum schedule */
        double wsd_decay; /* share of run.steps in which the wsd schedule falls */
        double decay;     /* decoupled weight decay, 2-D tensors only */
        double beta1, beta2, eps;
        double clip;     /* global gradient norm; 0: off */
        double skip;     /* standard deviations above which a step is skipped; 0: off */
        int skip_window; /* accepted steps that say what is usual */
        int precision;   /* enum precision */
        int recompute;   /* enum recompute */
        bool graph;      /* passes are queued as CUDA graphs */
    } train;
    struct {
        char preset[CONFIG_NAME];
        int64_t every;       /* steps between rounds; 0: as many as the budget asks for */
        int64_t judge;       /* steps between judgings, a multiple of every */
        bool recombine;      /* the mean of the live experts is judged as one more member */
        double budget;       /* share of time that rounds may take where every is 0 */
        int64_t delay;       /* steps from a round's beginning to its application */
        int64_t fragments;   /* parts of the weights that are exchanged in turn */
        int wire;            /* enum wire */
        int fitness_batches; /* batches of train.batch windows in the held-out slice */
        double top;          /* share of the experts that ATTRACT_TOP calls best, and worst */
        bool inherit_lr;     /* who takes weights by ATTRACT_TOP or _PAIR takes the learning rate */
        double perturb_lr;   /* and multiplies or divides it by this */
        struct {
            double lr, momentum; /* of a Nesterov step along the way of the mean; 1, 0: none */
        } outer;
        struct evo_rule body, io;
    } evolution;
    struct {
        int64_t every;   /* steps between evaluations, a multiple of evolution.judge; 0: none */
        int64_t windows; /* of held-out text; 0: all that do not judge */
    } eval;
    struct {
        int64_t
            every;    /* steps between snapshots, a multiple of evolution.judge; 0: only the last */
        int64_t keep; /* newest snapshots kept; 0: all */
        bool async;   /* files are written beside training, from copies in host memory */
    } snapshot;
    struct {
        double heartbeat; /* seconds between signs of life */
        double deadline;  /* of silence after which a rank is lost; 0: nobody watches */
    } faults;
    char device[CONFIG_NAME];    /* auto | cpu | cuda */
    char transport[CONFIG_NAME]; /* auto | mpi | nccl */
    int threads;                 /* OpenMP threads per worker; 0: cores of the node / its workers */
};

/* Fill c with the defaults of the option table. */
void config_defaults(struct config *c);
/* Load a YAML file over the defaults, then apply overrides ("key=value") in order, presets first:
 * model.preset and evolution.preset, from wherever they are set last, are expanded before any
 * explicit key. What cannot be combined (see config_validate, but for missing data) is refused here
 * too, because only here the line is known. SHOAL_EIO; SHOAL_ECONFIG names file, line, key and the
 * nearest valid key. path NULL: defaults and overrides only. */
enum shoal_status config_load(struct config *c, const char *path, const char *const *overrides,
                              int n_overrides);
/* The same from YAML text in memory, without overrides; `name` stands for the file in messages. */
enum shoal_status config_parse(struct config *c, const char *text, const char *name);
/* Reject impossible combinations (width % heads, layers % experts, judge % every, more workers than
 * experts when n_workers > 0, ...). SHOAL_ECONFIG names the keys and what would do. */
enum shoal_status config_validate(const struct config *c, int n_workers);
/* The shape of one expert of a validated configuration. */
struct gpt_shape config_shape(const struct config *c);
/* Write every option as YAML that config_load reads back to the same struct. */
enum shoal_status config_print(const struct config *c, FILE *to);
/* The same into a malloc'ed string (mem_free). */
enum shoal_status config_text(const struct config *c, char **out);
/* Every option with type, range, default and help, from the same table. */
void config_help(FILE *to);
/* Whether this rank's configuration and rank 0's agree in all options in which ranks must: run.out,
 * run.log, device and threads may be others. Where not, out is "train.lr is '0.1', on rank 0
 * '0.2'". */
bool config_same(const struct config *here, const struct config *there, char *out, size_t room);
/* Compare with the configuration a run was started with. Keys that may change on resume (run.steps,
 * run.minutes, run.margin, run.log, run.out, population.park, population.grow, data.vocab,
 * train.wsd_decay, train.skip*, train.recompute, train.graph, eval.*, snapshot.*, faults.*,
 * device, transport, threads) are ignored; population.experts may be more, as long as an expert's
 * depth stays, however it is said; any other difference is SHOAL_ECONFIG naming key, old and new
 * value.
 */
enum shoal_status config_check_resume(const struct config *now, const struct config *then);
