/* resolve.c - from what a person types to one expert's file. */
#include "evo/plan.h"
#include "snapshot/header.h"
#include "snapshot/index.h"

/* The expert to take from a snapshot: the best at its last judging. The recombinant would be better
 * yet, but has no shard. */
static int best_expert(const struct snapshot_index *index)
{
    int first = 0;
    while (first < index->experts - 1 && index_shard_step(index, first) < 0)
        first++;
    if (index->n_judgings == 0) return first;
    const struct judging *last = &index->judgings[index->n_judgings - 1];
    const int best = plan_best(last->fitness, index->experts, index->experts);
    return best < 0 || index_shard_step(index, best) < 0 ? first : best;
}

static enum shoal_status resolve_index(const char *path, char *shard_out)
{
    char run[SHOAL_MAX_PATH];
    struct snapshot_index index;
    SHOAL_TRY(run_of_index(run, path));
    SHOAL_TRY(index_read(path, &index));
    const int expert = best_expert(&index);
    const int64_t step = index_shard_step(&index, expert);
    index_free(&index);
    return run_find_shard(shard_out, run, expert, step);
}

static enum shoal_status resolve_run(const char *run, char *shard_out)
{
    char index[SHOAL_MAX_PATH];
    SHOAL_CHECK(run_exists(run), SHOAL_EFORMAT,
                "%s is not a run directory: it has neither config.yaml nor snapshots/", run);
    SHOAL_TRY(run_best_path(shard_out, run));
    if (path_exists(shard_out)) return SHOAL_OK;
    SHOAL_TRY(index_find_latest(run, index));
    return resolve_index(index, shard_out);
}

enum shoal_status snapshot_resolve(const char *path, char *shard_out)
{
    if (path_is_dir(path)) return resolve_run(path, shard_out);
    struct h5 h = H5_CLOSED;
    bool is_index = false;
    enum shoal_status st;
    SHOAL_GOTO(h5_open(&h, path));
    SHOAL_GOTO(header_is_index(&h, &is_index));
done:
    h5_close(&h);
    if (st != SHOAL_OK) return st;
    return is_index ? resolve_index(path, shard_out) : path_format(shard_out, "%s", path);
}
