/* comm.h - everything that crosses a rank boundary.
 *
 * World rank 0 is the coordinator; worker w is world rank w + 1. In a world of one rank coordinator
 * and worker 0 share the process: records go through a queue in memory, and `local` handles them.
 * Records are small and travel point to point; slabs travel among the workers only. Calling a
 * collective on some ranks and not on others hangs the run, so each function says who must call it.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

struct comm;

enum { COMM_MAX_RECORD = 4096 };       /* bytes of a record */
enum { COMM_CHUNK_BYTES = 256 << 20 }; /* largest message that slabs are cut into */

/* Join the job. Collective over the world. */
enum shoal_status comm_open(int *argc, char ***argv, struct comm **out);
/* Leave the job. Collective over the world. */
void comm_close(struct comm **c);
/* Take the whole job down now with this exit code. Not collective; main() only. */
void comm_abort(struct comm *c, int exit_code);

int comm_world_size(const struct comm *c);
int comm_world_rank(const struct comm *c);
bool comm_is_coordinator(const struct comm *c); /* also true when alone */
bool comm_is_worker(const struct comm *c);      /* also true when alone */
int comm_worker(const struct comm *c); /* 0-based worker number; -1 on a coordinator of others */
int comm_workers(const struct comm *c);
int comm_node_worker(const struct comm *c);  /* 0-based among this node's workers: which GPU */
int comm_node_workers(const struct comm *c); /* workers on this node: how many share its cores */
int comm_core_share(const struct comm *c);   /* cores that are this worker's: those it may run on,
                                                each divided among the workers bound to it */
uint64_t comm_bytes_sent(const struct comm *c); /* slab bytes this worker has sent so far */

/* Whether all ranks are well: returns SHOAL_OK on all when every rank passes SHOAL_OK; otherwise
 * the status of the lowest rank that failed, on all, so that all exit with the same code. *speaker:
 * whether this rank is that one, and so should print. Collective over the world. */
enum shoal_status comm_agree(struct comm *c, enum shoal_status mine, bool *speaker);
/* Whether `digest` is the same on all ranks, else SHOAL_ECONFIG on all. Collective over the world.
 */
enum shoal_status comm_same(struct comm *c, uint64_t digest, const char *what);
/* Rank 0's bytes to all. Collective over the world. */
enum shoal_status comm_share(struct comm *c, void *data, size_t bytes);

/* ---- records -----------------------------------------------------------------------------------
 */

/* In a world of one: what to do with a record sent to the coordinator. Called from comm_report. */
typedef enum shoal_status (*comm_local_fn)(void *owner, const void *record, size_t bytes);
void comm_set_local(struct comm *c, comm_local_fn hear, void *owner);

/* Worker -> coordinator. Buffered: the record may be reused at once. Not collective. */
enum shoal_status comm_report(struct comm *c, const void *record, size_t bytes);
/* Coordinator: take one report if there is one within timeout_s, sleeping meanwhile (under 1 % of a
 * core). *got says whether. record holds COMM_MAX_RECORD bytes. Not collective. */
enum shoal_status comm_hear(struct comm *c, void *record, size_t *bytes, int *worker,
                            double timeout_s, bool *got);
/* Coordinator -> every worker. Not collective. */
enum shoal_status comm_order(struct comm *c, const void *record, size_t bytes);
/* Worker: wait for the next order. bytes must agree with what was sent. Not collective. */
enum shoal_status comm_obey(struct comm *c, void *record, size_t bytes);

/* ---- slabs: collective over the workers
 * ---------------------------------------------------------- */

/* Worker `root`'s slab into everyone else's. n float32 in host memory. */
enum shoal_status comm_broadcast(struct comm *c, float *slab, int64_t n, int root);
/* out = sum of all workers' parts, added from left to right in the order worker 0's parts, worker
 * 1's, ... so that the result has the same bits for any number of workers that hold the same parts
 * in that order. parts: n_parts slabs of n float32 (n_parts may be 0 on some workers, not on all).
 * out is no part. */
enum shoal_status comm_sum(struct comm *c, float *out, const float *const *parts, int n_parts,
                           int64_t n);
/* values[i] summed over the workers, in double precision; exact where all but one are zero. */
enum shoal_status comm_sum_values(struct comm *c, double *values, int n);
/* Largest message that slabs are cut into (COMM_CHUNK_BYTES unless set); the same on all workers.
 * Not collective. */
void comm_set_chunk(struct comm *c, size_t bytes);

/* ---- what that costs, before it is done: pure --------------------------------------------------
 */

/* Bytes of buffers that comm_sum takes, and gives back, on a worker that brings n_parts of `total`
 * parts of n elements; `most`: of the worker that brings most. */
int64_t comm_sum_buffers(int workers, int n_parts, int most, int total, int64_t n);
/* Bytes that all workers together send in a comm_sum of `total` parts, or in a comm_broadcast, of n
 * elements; of a sum, but for the rounding of stripes to whole elements. */
double comm_sum_traffic(int workers, int total, double n);
double comm_broadcast_traffic(int workers, double n);
