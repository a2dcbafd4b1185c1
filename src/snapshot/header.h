/* header.h - the root attributes that shards and indices share. Private to this folder. */
#pragma once
#include "snapshot/h5.h"

#define SHARD_FORMAT "shoal-expert"
#define INDEX_FORMAT "shoal-snapshot"
enum { FORMAT_VERSION = 1, RUN_ID_BYTES = 40 };

/* Write format, format_version, run_id, step, config, created, shoal_version and text_checksum. */
enum shoal_status header_write(const struct h5 *h, const char *format, const char *run_id,
                               int64_t step, const char *config);
/* SHOAL_EFORMAT: not this format, another version, something missing, or damaged text. run_id holds
 * RUN_ID_BYTES; *config: mem_free. */
enum shoal_status header_read(const struct h5 *h, const char *format, char *run_id, int64_t *step,
                              char **config);
/* Which of the formats a file has. SHOAL_EFORMAT: neither. */
enum shoal_status header_is_index(const struct h5 *h, bool *is_index);
