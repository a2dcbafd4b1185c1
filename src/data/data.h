/* data.h - token shards in, sequences out. Host memory only; shards are memory-mapped.
 *
 * Shards are llm.c's: 256 little-endian int32 {20240520, 1, n_tokens, 0...}, then n uint16. */
#pragma once
#include <stdint.h>
#include "base/status.h"

struct data;

enum { DATA_MAGIC = 20240520, DATA_VERSION = 1, DATA_HEADER_BYTES = 1024 };

/* Open and validate every shard matching `glob` (sorted by name; a plain path is a glob).
 * SHOAL_EIO: nothing matches. SHOAL_EFORMAT: wrong magic or version, size that disagrees with the
 * header, shard shorter than context + 1 tokens, or a token >= vocab (all tokens are looked at when
 * there are at most 2^28; otherwise each when it is used). `key` names the option in messages. */
enum shoal_status data_open(const char *key, const char *glob, int context, int vocab,
                            struct data **out);
void data_close(struct data **d);
int64_t data_tokens(const struct data *d); /* of all shards */
int data_shards(const struct data *d);

/* ---- training: each expert has its own endless stream ------------------------------------------
 */

/* Sequences in one epoch, the same in every epoch. An epoch cuts each shard into non-overlapping
 * windows of `context` inputs starting at an offset in [0, context) drawn per (seed, epoch), the
 * same for all experts; a shard of n tokens gives floor((n - context) / context) of them, at
 * least 1. */
int64_t data_epoch_sequences(const struct data *d);
/* Sequence number `position` (0, 1, ...) of `expert`'s stream: a pure function of (seed, expert,
 * position). Within an epoch every window comes exactly once, in an order drawn per (seed, expert,
 * epoch). tokens, targets: `context` int32 each; targets[t] == the token after tokens[t]. */
enum shoal_status data_sample(const struct data *d, uint64_t seed, int expert, int64_t position,
                              int32_t *tokens, int32_t *targets);

/* ---- judging: windows from the start --------------------------------------------------------- */

/* Non-overlapping windows of `context` inputs from the start of each shard in turn. */
int64_t data_windows(const struct data *d);
/* Window `index` of them. SHOAL_EARG past the end. */
enum shoal_status data_window(const struct data *d, int64_t index, int32_t *tokens,
                              int32_t *targets);
