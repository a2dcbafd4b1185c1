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
#include "kernels/kernels.h"

struct comm;

enum { COMM_MAX_RECORD = 40 << 10 };  /* bytes of a record */
enum { COMM_CHUNK_BYTES = 16 << 20 }; /* largest message that slabs are cut into */
enum { COMM_CHUNK_LIMIT = 1 << 30 };  /* it stays under, whatever is set */

/* Join the job. Collective over the world. */
enum shoal_status comm_open(int *argc, char ***argv, struct comm **out);
/* Leave the job. Collective over the world; after a loss nobody waits for anybody and MPI is left
 * as it is, so that the process must end by _exit. */
void comm_close(struct comm **c);
/* Choose and build what carries slabs between the workers' devices. dev is borrowed until
 * comm_detach; NULL on a coordinator of others. wish: "mpi", "nccl", or "auto": NCCL where every
 * worker has a GPU of its own and the library loads, else MPI, from device memory through host
 * buffers where need be. Collective over the world. SHOAL_ECONFIG on all ranks: the wish cannot be
 * met; the text says why. */
enum shoal_status comm_attach(struct comm *c, const char *wish, struct device *dev);
/* Give back what was taken of the device, before it is closed. Fine where nothing is attached. Not
 * collective, but where slabs went by NCCL it waits a while for the others to do the same. */
void comm_detach(struct comm *c);
/* "MPI from host memory", "NCCL": for people; "" while nothing is attached. Owned by c. Known to
 * the workers and the coordinator. */
const char *comm_describe(const struct comm *c);
/* Whether weights of this worker's GPU go by way of host memory, as MPI does not take them from
 * there.
 */
bool comm_is_staged(const struct comm *c);
/* Take the whole job down now with this exit code. Not collective; main() only. Under a launcher
 * that lets a job live when a rank dies, the launcher itself is told to end it: MPI_Abort would end
 * this rank only. */
void comm_abort(struct comm *c, int exit_code);
/* Whether the launcher lets the others live when a rank dies (mpirun --enable-recovery). */
bool comm_launcher_recovers(void);

int comm_world_size(const struct comm *c);
int comm_world_rank(const struct comm *c);
bool comm_is_coordinator(const struct comm *c); /* also true when alone */
bool comm_is_worker(const struct comm *c);      /* also true when alone */
int comm_worker(const struct comm *c); /* 0-based worker number; -1 on a coordinator of others */
int comm_workers(const struct comm *c);
int comm_node_worker(const struct comm *c);  /* 0-based among this node's workers: which GPU */
int comm_node_workers(const struct comm *c); /* workers on this node: how many share its cores */
int comm_node(const struct comm *c); /* lowest world rank of this machine: the same for its ranks */
int comm_node_cores(const struct comm *c); /* that the workers of this machine may run on */
int comm_core_share(const struct comm *c); /* cores that are this worker's: those it may run on,
                                              each divided among the workers bound to it */
uint64_t comm_bytes_sent(const struct comm *c); /* slab bytes this worker has sent so far */
/* Slab bytes that all live workers together have sent so far, as each of them can tell. */
uint64_t comm_bytes_moved(const struct comm *c);
/* Count bytes of a move in which this worker takes no part. */
void comm_note_moved(struct comm *c, uint64_t bytes);
/* Whether slabs may be exchanged on one thread while others exchange records. */
bool comm_may_overlap(const struct comm *c);
/* While quiet, exchanges of slabs sleep where they wait, for they run beside work that needs the
 * cores; otherwise they wait at the ready. Not collective. */
void comm_be_quiet(struct comm *c, bool quiet);

/* Whether all ranks are well: returns SHOAL_OK on all when every rank passes SHOAL_OK; otherwise
 * the status of the lowest rank that failed, on all, so that all exit with the same code. *speaker:
 * whether this rank is that one, and so should print. Collective over the world. */
enum shoal_status comm_agree(struct comm *c, enum shoal_status mine, bool *speaker);
/* Rank 0's bytes to all. Collective over the world. */
enum shoal_status comm_share(struct comm *c, void *data, size_t bytes);
/* bytes of every rank, in the order of ranks, into rank 0's all. Collective over the world. */
enum shoal_status comm_gather(struct comm *c, const void *mine, size_t bytes, void *all);

/* ---- losses ------------------------------------------------------------------------------------
 *
 * A thread of every rank sends heartbeats and listens for them, whatever the others do. Who has
 * been silent for longer than a deadline is lost: the coordinator announces that to all, and
 * whatever the workers wait for in an exchange ends there with SHOAL_EPEER. They say where they
 * are, the coordinator announces how to go on, and they connect anew (comm_renew). Buffers of an
 * exchange that ended so are never used again, because MPI may still write to them. */

enum { COMM_MAX_WORKERS = 16384 };

/* What the coordinator says of the members, newest first: a later epoch takes the place of those
 * before. */
struct comm_news {
    uint32_t epoch;
    int32_t ready;  /* nonzero: all of them have said where they are, so connect and go on */
    int64_t passed; /* once ready: how far the furthest of them is */
    int32_t best;   /* once ready: the member that leads while the one that led is lost */
    int32_t reserved;
    uint64_t live[COMM_MAX_WORKERS / 64]; /* a bit per worker */
};

/* Called on a worker that was declared lost while it stood still: the others go on without it, so
 * that nothing it still writes may count. It must not return. */
typedef void (*comm_out_fn)(void);
/* Begin to watch each other, until comm_unwatch; four heartbeats or more in a deadline. Nobody does
 * where deadline_s is 0, in a world of one, or where MPI bears one thread only. Collective over the
 * world; the end is not. */
enum shoal_status comm_watch(struct comm *c, double heartbeat_s, double deadline_s,
                             comm_out_fn out);
void comm_unwatch(struct comm *c);
bool comm_watches(const struct comm *c);
/* Coordinator: a worker that has been silent for too long, and for how long; -1: none is. */
int comm_silent(struct comm *c, double *silent_s);
/* Coordinator: tell all workers, those that are lost included. Not collective. */
enum shoal_status comm_announce(struct comm *c, const struct comm_news *news);
/* Coordinator: the run is over, nobody needs to beat any more. Worker: whether that has been said,
 * or nobody is there to say it; always where nobody watches. Not collective. */
enum shoal_status comm_bid_farewell(struct comm *c);
bool comm_is_dismissed(const struct comm *c);
/* Worker: whether members have changed since the present epoch began, and what is known of it (out
 * may be NULL). */
bool comm_changed(struct comm *c, struct comm_news *out);
/* Worker: whether the coordinator has been silent for too long. */
bool comm_is_orphan(const struct comm *c);
/* The present epoch, the same on all workers that exchange anything; 0: nobody has been lost. */
uint32_t comm_epoch(const struct comm *c);
/* Worker without a coordinator: wait until all others have come here too, but no longer than
 * deadline_s; the first of them then ends the launcher, which would report success. */
void comm_gather_orphans(struct comm *c, double deadline_s);
/* Whether somebody was lost, so that not all ranks are there to leave together. */
bool comm_has_lost(const struct comm *c);
/* All live workers are here, and this one knows: whoever returns SHOAL_OK knows that everybody has
 * come as far. Collective over the live workers. */
enum shoal_status comm_pass(struct comm *c);
bool comm_lives(const struct comm *c, int worker);
/* Rank of this worker among the live ones; the one of rank 0 speaks for all. */
int comm_live_rank(const struct comm *c);

/* ---- records -----------------------------------------------------------------------------------
 */

/* In a world of one: what to do with a record sent to the coordinator. Called from comm_report, and
 * from comm_poll with none. */
typedef enum shoal_status (*comm_local_fn)(void *owner, const void *record, size_t bytes);
void comm_set_local(struct comm *c, comm_local_fn hear, void *owner);

/* Worker -> coordinator. Buffered: the record may be reused at once. Not collective. */
enum shoal_status comm_report(struct comm *c, const void *record, size_t bytes);
/* Let what was reported go its way. Not collective. */
enum shoal_status comm_flush(struct comm *c);
/* Coordinator: take one report if there is one within timeout_s, sleeping meanwhile (under 1 % of a
 * core). *got says whether. record holds COMM_MAX_RECORD bytes. Not collective. */
enum shoal_status comm_hear(struct comm *c, void *record, size_t *bytes, int *worker,
                            double timeout_s, bool *got);
/* Coordinator -> every worker. Not collective. */
enum shoal_status comm_order(struct comm *c, const void *record, size_t bytes);
/* Worker: wait for the next order. bytes must agree with what was sent. Not collective. */
enum shoal_status comm_obey(struct comm *c, void *record, size_t bytes);
/* Worker: take an order if there is one. In a world of one the local handler is called first, with
 * no record (NULL, 0 bytes), so that it may give one. Not collective. */
enum shoal_status comm_poll(struct comm *c, void *record, size_t bytes, bool *got);

/* ---- slabs: collective over the live workers ---------------------------------------------------
 */

enum comm_kind {
    COMM_BROADCAST, /* out of worker `root` into everyone else's */
    COMM_SUM,       /* out = sum of all workers' parts */
    COMM_MOVE,      /* out of worker `root` into worker `peer`'s, and only these two take part */
    COMM_MEAN       /* out += mean of all parts' differences from it, packed; by MPI only */
};

/* One exchange: n float32 in the memory of the attached device. A sum is added from left to right
 * in the order worker 0's parts, worker 1's, ..., so that MPI gives the same bits for any number of
 * workers that hold the same parts in that order. NCCL gives the same bits for the same number of
 * workers. */
struct comm_exchange {
    enum comm_kind kind;
    int64_t n;
    float *out;                /* of the root it is only read */
    int root;                  /* broadcast, move: a live worker */
    int peer;                  /* move: another one */
    const float *const *parts; /* sum, mean: n_parts slabs; none of them is out */
    int n_parts;               /* may be 0 on some workers, not on all */
    const int *parts_of;       /* n_parts of every worker, where all know them; else NULL */
    /* Of a mean; out holds the last one, the same on all workers, and is no part either. */
    enum packing packing;
    float *const *lost; /* n_parts slabs: what packing has kept of each part; NULL: nothing does */
    float *lost_mean;   /* likewise of the mean, in the stripes that this worker adds; or NULL */
};

/* COMM_MEAN packs each part's difference from the last mean (kernel_pack), adds what the packed
 * ones say in float32 in the same order, and packs their mean, which all add to the last one: the
 * same bits for any number of workers. Experts that meet every few steps differ little, so that a
 * few bits of the difference say more than many bits of a weight would; and what they do not say is
 * kept and said the next time. */

/* Begin an exchange: what is queued on the device so far is waited for, by the device. Until
 * comm_end has returned nobody may touch the slabs, and nothing else may begin. x may go, its slabs
 * and the list of parts may not. */
enum shoal_status comm_begin(struct comm *c, const struct comm_exchange *x);
/* End it: what is queued on the device from now on finds the result. SHOAL_EPEER: another worker
 * did not answer; comm_renew goes on with those that do. */
enum shoal_status comm_end(struct comm *c);
/* Both at once. */
enum shoal_status comm_exchange(struct comm *c, const struct comm_exchange *x);
/* The usual ones, float32 on the wire. */
enum shoal_status comm_broadcast(struct comm *c, float *slab, int64_t n, int root);
enum shoal_status comm_sum(struct comm *c, float *out, const float *const *parts, int n_parts,
                           int64_t n);
/* n elements from worker `from` to worker `to`. Called by these two only; where workers have
 * several such moves, each goes through its own in an order that all agree on. */
enum shoal_status comm_move(struct comm *c, float *slab, int64_t n, int from, int to);
/* values[i] summed over the workers, in double precision; exact where all but one are zero. */
enum shoal_status comm_sum_values(struct comm *c, double *values, int n);
/* Largest message that slabs are cut into (COMM_CHUNK_BYTES unless set); the same on all workers.
 * Not collective. */
void comm_set_chunk(struct comm *c, size_t bytes);

/* From now on the workers w with live[w] take part, and are epoch `epoch`, higher than any before.
 * What was on its way between workers is dropped, and its slabs hold anything. Nobody waits for the
 * others longer than deadline_s where the transport can help it. Collective over these workers and
 * the coordinator, after comm_attach. */
enum shoal_status comm_renew(struct comm *c, uint32_t epoch, const uint8_t *live,
                             double deadline_s);
/* Number of workers that take part. */
int comm_live(const struct comm *c);
/* bytes of every live worker of this machine, in the order of their numbers, into all; they are
 * comm_node_workers. Collective over the workers of the machine, before any comm_renew. */
enum shoal_status comm_gather_node(struct comm *c, const void *mine, size_t bytes, void *all);

/* ---- what that costs, before it is done: pure --------------------------------------------------
 */

/* Bytes of buffers that comm_sum takes from a device in host memory, and gives back, on a worker
 * that brings n_parts of `total` parts of n elements; `most`: of the worker that brings most. */
int64_t comm_sum_buffers(int workers, int n_parts, int most, int total, int64_t n);
/* The same for a device whose memory MPI cannot read: page-locked memory, kept once taken, for the
 * larger of that sum and a broadcast of n elements; and the host's. */
struct comm_staging {
    int64_t pinned, host;
};
struct comm_staging comm_sum_staging(int workers, int n_parts, int most, int total, int64_t n);
/* Bytes that all workers together send in a comm_sum of `total` parts, or in a comm_broadcast, of n
 * elements; of a sum, but for the rounding of stripes to whole elements. */
double comm_sum_traffic(int workers, int total, double n);
double comm_broadcast_traffic(int workers, double n);
/* The same of a COMM_MEAN, but for the rounding of stripes to whole blocks. */
double comm_mean_traffic(enum packing p, int workers, int total, double n);
/* Bytes of buffers that a COMM_MEAN takes from the device and gives back, as comm_sum_buffers; and
 * from the host, for a device whose memory MPI cannot read. */
struct comm_mean_buffers {
    int64_t device, host;
};
struct comm_mean_buffers comm_mean_buffers(enum packing p, int workers, int n_parts, int most,
                                           int total, int64_t n);
