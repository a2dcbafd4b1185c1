/* shard.h - one expert on disk: HDF5, format "shoal-expert" version 1 (README, "Files").
 *
 * Root attributes say what it is; /params holds the weights under Hugging Face's names ('.' becomes
 * '/') and shapes; /optim/m, /optim/v, /evo, /state and /history what a resumed run needs. Every
 * dataset is chunked with a Fletcher32 checksum. Files appear whole or not at all. */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "evo/ledger.h"
#include "model/expert.h"
#include "optim/outlier.h"
#include "snapshot/norms.h"

/* Per-expert history kept by its worker: one row per judging. */
struct history_row {
    int64_t step;
    double fitness, train_loss, time_s;
};

/* What outer steps need (evo/operators.h), the same for the whole population; in the shard of
 * expert 0. */
struct shard_outer {
    float *agreed, *velocity; /* n_params f32 on the device */
};

/* What an expert has behind it. */
struct shard_past {
    struct history_row *judgings; /* borrowed when writing, owned (mem_free) when read; as is */
    int64_t n_judgings;
    struct lineage_row *lineage; /* this one */
    int64_t n_lineage;
    struct norms norms; /* and this */
    struct outlier outlier;
    double loss_sum;          /* of the training losses since the last judging, */
    int64_t losses;           /* so many; and */
    double last_loss;         /* of the last training step; NAN where its gradient was not finite */
    struct shard_outer outer; /* borrowed; written unless NULL, never read */
};

/* What a merged expert is made of. */
struct shard_parent {
    int32_t expert;
    int64_t step;
    double share;
    uint64_t digest; /* of its file; 0: unknown */
};

struct shard_info {
    char run_id[40];
    int expert; /* number; K for the recombinant (only in best.h5) */
    int worker;
    int64_t step; /* optimiser steps */
    int64_t tokens;
    double fitness;
    int parent;
    double lr_scale; /* when read; 1 where the file says nothing. Written as the expert has it */
    const struct shard_parent *parents; /* borrowed when writing, NULL when read */
    int n_parents;
    const char
        *config; /* YAML text, 0-terminated; borrowed when writing, owned (mem_free) when read */
};

/* Write a whole expert. *bytes: size of the file. Not collective. SHOAL_EIO leaves an earlier file
 * alone. */
enum shoal_status shard_write(const char *path, const struct shard_info *info,
                              const struct expert *e, const struct shard_past *past,
                              int64_t *bytes);
/* Write weights only (best.h5): self-contained, what inference needs. weights: n_params f32 on dev.
 */
enum shoal_status shard_write_weights(const char *path, const struct shard_info *info,
                                      const struct param_table *table, struct device *dev,
                                      const float *weights, int64_t *bytes);
/* Attributes only. SHOAL_EFORMAT: not a shard, or another version. shard_info_free afterwards. */
enum shoal_status shard_read_info(const char *path, struct shard_info *info);
void shard_info_free(struct shard_info *info);
/* The configuration in a shard. SHOAL_EFORMAT also for a model that the file has no room for. */
enum shoal_status shard_read_config(const char *path, struct config *out);
/* Weights into n_params f32 on dev. SHOAL_EFORMAT: missing dataset, wrong shape, checksum error;
 * the text says which dataset, what was expected and what was found. */
enum shoal_status shard_read_weights(const char *path, const struct param_table *table,
                                     struct device *dev, float *weights);
/* Everything back into e (created with the same table) and past, whose tables want
 * shard_past_free.
 * Files of versions that did not skip outliers or keep a lineage have none behind them. */
enum shoal_status shard_read(const char *path, struct expert *e, struct shard_past *past);
/* Let go of the tables; none are left. */
void shard_past_free(struct shard_past *past);
/* Only this, into slabs on dev. SHOAL_EFORMAT also where there is none. */
enum shoal_status shard_read_outer(const char *path, const struct param_table *table,
                                   struct device *dev, struct shard_outer *outer);
/* Only its lineage, oldest first; *rows: mem_free. None in files of versions that kept none, and
 * where there are only weights. */
enum shoal_status shard_read_lineage(const char *path, struct lineage_row **rows, int64_t *n);
/* Everything about a file but what its numbers mean: every dataset reads back, and those that its
 * own configuration asks for are there with their shapes. SHOAL_EFORMAT. */
enum shoal_status shard_check(const char *path);
/* The digest that identifies a shard's contents (XXH64 of all bytes behind its seal), as written.
 * SHOAL_EFORMAT: it has none. */
enum shoal_status shard_digest(const char *path, uint64_t *digest);
/* Sizes of the files shard_write (with or without the slabs that a rule of evolution needs) and
 * shard_write_weights will write, within a per cent, and of the host memory that writing and
 * reading take meanwhile, from slabs that lie there or elsewhere. */
int64_t shard_bytes(const struct param_table *table, bool with_velocity, bool with_own_best);
/* By how much the shard of expert 0 is larger where outer steps are taken. */
int64_t shard_outer_bytes(const struct param_table *table);
int64_t shard_weights_bytes(const struct param_table *table);
int64_t shard_buffer_bytes(const struct param_table *table, bool on_host);
