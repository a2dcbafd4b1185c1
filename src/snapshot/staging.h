/* staging.h - a copy of what goes into a file, taken between two steps, so that training can go on
 * while another thread writes it. */
#pragma once
#include "snapshot/shard.h"

struct staging;

/* Room in host memory for one expert. SHOAL_ENOMEM. */
enum shoal_status staging_create(const struct param_table *table, bool with_velocity,
                                 bool with_own_best, struct staging **out);
void staging_destroy(struct staging **s);
/* Bytes that staging_create takes. */
int64_t staging_bytes(const struct param_table *table, bool with_velocity, bool with_own_best);

/* Copy everything of an expert, for shard_write(path, info, e, past). Only info->config is borrowed
 * until it is written. Not while staging_write runs. */
enum shoal_status staging_take(struct staging *s, const char *path, const struct shard_info *info,
                               const struct expert *e, const struct shard_past *past);
/* The same for shard_write_weights. */
enum shoal_status staging_take_weights(struct staging *s, const char *path,
                                       const struct shard_info *info, struct device *dev,
                                       const float *weights);

/* What became of it. */
struct staged {
    int64_t bytes;
    uint64_t digest;
    double seconds;
};
/* Write what was taken, on any one thread: HDF5 is used by nobody else meanwhile. SHOAL_EIO leaves
 * an earlier file alone. */
enum shoal_status staging_write(struct staging *s, struct staged *out);
