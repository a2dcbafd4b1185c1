/* loaded.h - one expert brought back from disk to be used, not trained: float32, on a device. */
#pragma once
#include "config/config.h"
#include "kernels/kernels.h"
#include "model/params.h"
#include "snapshot/shard.h"

struct loaded {
    char shard[SHOAL_MAX_PATH]; /* the file it came from */
    struct shard_info info;
    struct config config;
    struct device *dev;
    struct param_table *table;
    float *weights; /* n_params f32 on dev */
};

/* snapshot: what SNAPSHOT means on a command line (snapshot_resolve). The best device there is.
 * Starts from any content of *l. */
enum shoal_status loaded_open(const char *snapshot, struct loaded *l);
/* Accepts a zeroed struct. */
void loaded_close(struct loaded *l);
/* "expert 3", or "the recombinant". */
const char *loaded_name(const struct loaded *l, char *buffer, size_t bytes);
