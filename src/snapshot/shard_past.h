/* shard_past.h - the tables of a shard. Private to this folder. */
#pragma once
#include "snapshot/h5.h"
#include "snapshot/shard.h"

/* /state/outlier and /history. */
enum shoal_status past_write(const struct h5 *h, const struct param_table *table,
                             const struct shard_past *past);
/* The same back. Versions that had not all of it left nothing behind there. shard_past_free, on
 * failure too. */
enum shoal_status past_read(const struct h5 *h, const struct param_table *table,
                            struct shard_past *past);
/* Of it, /history/lineage alone; *rows: mem_free. */
enum shoal_status past_read_lineage(const struct h5 *h, struct lineage_row **rows, int64_t *n);
/* About what that takes in a file after the first judging, beside tables that are nearly empty. */
int64_t past_bytes(const struct param_table *table);
