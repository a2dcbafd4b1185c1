/* shard.h - one expert on disk: HDF5, format "shoal-expert" version 1 (README, "Files").
 *
 * Root attributes say what it is; /params holds the weights under Hugging Face's GPT-2 names ('.'
 * becomes
 * '/') and shapes; /optim/m, /optim/v, /evo, /state and /history what a resumed run needs. Every
 * dataset is chunked with a Fletcher32 checksum. Files appear whole or not at all. */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "model/expert.h"

/* Per-expert history kept by its worker: one row per judging. */
struct history_row {
    int64_t step;
    double fitness, train_loss, time_s;
};

struct shard_info {
    char run_id[40];
    int expert; /* number; K for the recombinant (only in best.h5) */
    int worker;
    int64_t step; /* optimiser steps */
    int64_t tokens;
    double fitness;
    int parent;
    const char
        *config; /* YAML text, 0-terminated; borrowed when writing, owned (mem_free) when read */
};

/* Write a whole expert. *bytes: size of the file. Not collective. SHOAL_EIO leaves an earlier file
 * alone. */
enum shoal_status shard_write(const char *path, const struct shard_info *info,
                              const struct expert *e, const struct history_row *history,
                              int64_t n_history, int64_t *bytes);
/* Write weights only (best.h5): self-contained, what inference needs. weights: n_params f32 on dev.
 */
enum shoal_status shard_write_weights(const char *path, const struct shard_info *info,
                                      const struct param_table *table, struct device *dev,
                                      const float *weights, int64_t *bytes);
/* Attributes only. SHOAL_EFORMAT: not a shard, or another version. shard_info_free afterwards. */
enum shoal_status shard_read_info(const char *path, struct shard_info *info);
void shard_info_free(struct shard_info *info);
/* The configuration in a shard. */
enum shoal_status shard_read_config(const char *path, struct config *out);
/* Weights into n_params f32 on dev. SHOAL_EFORMAT: missing dataset, wrong shape, checksum error;
 * the text says which dataset, what was expected and what was found. */
enum shoal_status shard_read_weights(const char *path, const struct param_table *table,
                                     struct device *dev, float *weights);
/* Everything back into e (created with the same table). History into a mem_alloc'ed array. */
enum shoal_status shard_read(const char *path, struct expert *e, struct history_row **history,
                             int64_t *n_history);
