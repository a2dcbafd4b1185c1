/* index.h - a snapshot is an index that points at the shards of one step. Written last: its
 * appearance is the commit. Scalars only; never looks at tensors.
 *
 *   RUN/experts/0003/step-00001000.h5   shards
 *   RUN/snapshots/step-00001000.h5      index: attributes, /ledger tables, and /experts/0003, a
 * link to the shard relative to the index, so that runs can move RUN/best.h5 weights of the
 * all-time best member RUN/latest                          link to the newest committed index */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "evo/ledger.h"

/* A shard as it was when the snapshot was taken. */
struct shard_mark {
    int32_t expert;
    int64_t bytes;   /* of the file */
    uint64_t digest; /* XXH64 of what its seal covers */
    int64_t age; /* steps by which it is older than the snapshot, because the expert's worker was
                    lost; -1: it was never written, and there is none */
};

/* An expert that was not there from the start. */
struct joined_row {
    int64_t step;   /* where the others stood */
    int32_t expert; /* its number */
    int32_t parent; /* whose copy it began as; -1: it began anew */
};

struct snapshot_index {
    char run_id[40];
    int experts, members;
    int stored;    /* experts that have shards: all of them, until index_grow */
    int workers;   /* world's workers when it was written */
    double time_s; /* run time so far, all sessions */
    struct standing standing;
    int64_t n_judgings;
    struct judging
        *judgings; /* owned, with their fitness arrays, when read; borrowed when writing */
    struct shard_mark *shards; /* of every expert; owned when read; NULL: not recorded */
    struct joined_row *joined; /* in the order of their numbers; owned when read */
    int64_t n_joined;
    char *config; /* YAML text; owned when read */
};

/* Step of the shard that a snapshot has of an expert: its own, but where the expert's worker was
 * lost before; -1: it has none. */
int64_t index_shard_step(const struct snapshot_index *index, int expert);

/* Paths inside a run directory; out holds SHOAL_MAX_PATH bytes. */
enum shoal_status run_shard_path(char *out, const char *run, int expert, int64_t step);
/* The same for a shard that is to be read: it lies in the run, wherever links in the run lead.
 * SHOAL_EFORMAT: it does not. A shard that is not there passes. */
enum shoal_status run_find_shard(char *out, const char *run, int expert, int64_t step);
enum shoal_status run_index_path(char *out, const char *run, int64_t step);
enum shoal_status run_best_path(char *out, const char *run);
/* Whether `dir` holds a run (config.yaml or snapshots/). */
bool run_exists(const char *dir);
/* Make RUN, RUN/snapshots, RUN/experts/NNNN and sweep what killed writers left there; SHOAL_EIO
 * when it cannot be written. Before anybody writes, also on resume. */
enum shoal_status run_make(const char *dir, int experts);
/* The run directory that an index lies in, symbolic links resolved. SHOAL_EIO. */
enum shoal_status run_of_index(char *out, const char *index_path);
/* Steps of the indices in RUN/snapshots, newest first, whether they are good or not. *steps:
 * mem_free. */
enum shoal_status run_snapshots(const char *run, int64_t **steps, int64_t *n);

/* Write RUN/snapshots/step-N.h5, then RUN/latest. Coordinator only. */
enum shoal_status index_write(const char *run, const struct snapshot_index *index, int64_t *bytes);
/* About how many bytes that file will have. */
int64_t index_file_bytes(int experts, int members, int64_t judgings);
/* Read one index. SHOAL_EFORMAT when it is not one. index_free afterwards. */
enum shoal_status index_read(const char *path, struct snapshot_index *out);
void index_free(struct snapshot_index *index);
/* grow.c: make an index that was read that of a run that goes on with c->population.experts, which
 * are at least as many. What joins gets a row of its own in `joined`, and as population.grow says a
 * parent: the experts in the order of their fitness, best first, as often as it takes. The mean,
 * which is numbered after all experts, is renumbered throughout; in the ledger new experts have no
 * fitness, but clones their parent's of the last judging. */
enum shoal_status index_grow(struct snapshot_index *index, const struct config *c);
/* The row of an expert that has no shard yet; NULL: it has one. */
const struct joined_row *index_beginner(const struct snapshot_index *index, int expert);
/* Whether an index reads back and its shards exist, open and are of this run, step and expert (not
 * whether every tensor reads back). SHOAL_OK, or what is wrong. */
enum shoal_status index_check(const char *path);
/* The newest index of a run that index_check finds good; others are skipped with a warning.
 * SHOAL_EIO: there is none. path_out: SHOAL_MAX_PATH bytes. */
enum shoal_status index_find_latest(const char *run, char *path_out);
/* The same among those of steps below `step`. */
enum shoal_status index_find_before(const char *run, int64_t step, char *path_out);
/* Mark a snapshot to be kept (a file RUN/snapshots/step-N.keep), or no longer. SHOAL_EIO: there is
 * none of this step. */
enum shoal_status index_mark(const char *run, int64_t step, bool keep);
/* Remove all but the newest `keep` good snapshots, the one nearest to the step at which the best
 * of all was found, and those that are marked (indices first, then their shards), and the shards
 * of no snapshot older than the newest; 0 keeps all snapshots. Nothing newer than the newest good
 * snapshot is touched. Coordinator only. */
enum shoal_status index_prune(const char *run, int64_t keep);
/* Remove what there is of a snapshot that cannot be completed: its index, then its shards.
 * Coordinator only. */
enum shoal_status index_drop(const char *run, int64_t step, int experts);
/* What SNAPSHOT on a command line means: a shard is itself; a run directory gives its best.h5, or
 * while it has none, what its newest good index gives; an index gives the shard of its best expert
 * (the recombinant has none). SHOAL_EIO, SHOAL_EFORMAT. shard_out: SHOAL_MAX_PATH bytes. */
enum shoal_status snapshot_resolve(const char *path, char *shard_out);
