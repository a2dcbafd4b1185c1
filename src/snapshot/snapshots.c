/* snapshots.c - which snapshots of a run are good, which is the newest, which may go.
 *
 * A snapshot without its index does not exist: pruning removes the index first, so that a kill in
 * between leaves shards without an index, never an index without its shards. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/memory.h"
#include "snapshot/run.h"
#include "snapshot/shard.h"

static enum shoal_status check_shard(const char *path, const struct snapshot_index *index,
                                     int expert)
{
    struct shard_info info;
    SHOAL_TRY(shard_read_info(path, &info));
    shard_info_free(&info);
    SHOAL_CHECK(strcmp(info.run_id, index->run_id) == 0, SHOAL_EFORMAT,
                "%s is of run %s, the snapshot of run %s", path, info.run_id, index->run_id);
    SHOAL_CHECK(info.expert == expert && info.step == index_shard_step(index, expert),
                SHOAL_EFORMAT,
                "%s holds expert %d at step %" PRId64 ", the snapshot expert %d at step %" PRId64,
                path, info.expert, info.step, expert, index_shard_step(index, expert));
    return SHOAL_OK;
}

enum shoal_status index_check(const char *path)
{
    char run[SHOAL_MAX_PATH], shard[SHOAL_MAX_PATH];
    struct snapshot_index index;
    enum shoal_status st;
    SHOAL_TRY(index_read(path, &index));
    SHOAL_GOTO(run_of_index(run, path));
    for (int k = 0; k < index.experts; k++) {
        if (index_shard_step(&index, k) < 0) continue;
        SHOAL_GOTO(run_find_shard(shard, run, k, index_shard_step(&index, k)));
        SHOAL_GOTO(check_shard(shard, &index, k));
    }
done:
    index_free(&index);
    return st;
}

enum shoal_status index_find_latest(const char *run, char *path_out)
{
    return index_find_before(run, INT64_MAX, path_out);
}

enum shoal_status index_find_before(const char *run, int64_t step, char *path_out)
{
    int64_t *steps = NULL, n = 0;
    SHOAL_TRY(run_snapshots(run, &steps, &n));
    enum shoal_status st = SHOAL_EIO;
    for (int64_t i = 0; st != SHOAL_OK && i < n; i++) {
        if (steps[i] >= step) continue;
        st = run_index_path(path_out, run, steps[i]);
        if (st == SHOAL_OK) st = index_check(path_out);
        if (st != SHOAL_OK)
            log_warn("skipping the snapshot of step %" PRId64 ": %s", steps[i],
                     shoal_failure_text());
    }
    mem_free(steps);
    if (st == SHOAL_OK) return st;
    return SHOAL_FAIL(SHOAL_EIO, "%s: %s", run,
                      n > 0 ? "none of its snapshots can be read" : "it has no snapshot yet");
}

/* ---- pruning --------------------------------------------------------------------------------- */

static enum shoal_status remove_file(const char *path)
{
    SHOAL_CHECK(unlink(path) == 0 || errno == ENOENT, SHOAL_EIO, "%s: cannot be removed: %s", path,
                strerror(errno));
    return SHOAL_OK;
}

enum shoal_status index_drop(const char *run, int64_t step, int experts)
{
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(run_index_path(path, run, step));
    SHOAL_TRY(remove_file(path));
    for (int k = 0; k < experts; k++) {
        SHOAL_TRY(run_shard_path(path, run, k, step));
        SHOAL_TRY(remove_file(path));
    }
    return SHOAL_OK;
}

/* ---- marks ----------------------------------------------------------------------------------- */

static enum shoal_status mark_path(char *out, const char *run, int64_t step)
{
    return path_format(out, "%s/snapshots/step-%08" PRId64 ".keep", run, step);
}

static bool is_marked(const char *run, int64_t step)
{
    char path[SHOAL_MAX_PATH];
    return mark_path(path, run, step) == SHOAL_OK && path_exists(path);
}

enum shoal_status index_mark(const char *run, int64_t step, bool keep)
{
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(run_index_path(path, run, step));
    SHOAL_CHECK(path_exists(path), SHOAL_EIO,
                "%s has no snapshot of step %" PRId64 "; shoal inspect %s lists them", run, step,
                run);
    SHOAL_TRY(mark_path(path, run, step));
    return keep ? file_write(path, "", 0) : remove_file(path);
}

/* ---- what goes ------------------------------------------------------------------------------- */

/* What stays. */
struct retained {
    const char *run;
    int64_t newest, oldest; /* steps of the good snapshots that stay; INT64_MIN: none is good */
    int64_t nearest;        /* step of the one nearest to the best of all; INT64_MIN: none */
    const int64_t *steps;   /* every index there was, newest first */
    int64_t n;
    struct elder *elders; /* owned; shards that snapshots that stay have of lost workers */
    int64_t n_elders, room;
};

struct elder {
    int expert;
    int64_t step;
};

/* Whether an index of this step stays: damaged ones in between are evidence, not rubbish. */
static bool keeps(const struct retained *r, int64_t step)
{
    for (int64_t i = 0; i < r->n; i++)
        if (r->steps[i] == step)
            return step >= r->oldest || step == r->nearest || is_marked(r->run, step);
    return false;
}

/* The champion's own weights are in best.h5; what it grew from, or into, is here. */
static enum shoal_status find_nearest(struct retained *r, const char *newest)
{
    struct snapshot_index index;
    SHOAL_TRY(index_read(newest, &index));
    const int64_t champion = index.standing.champion < 0 ? -1 : index.standing.champion_step;
    index_free(&index);
    for (int64_t i = 0; champion >= 0 && i < r->n; i++) {
        const int64_t step = r->steps[i];
        if (r->nearest == INT64_MIN || llabs(step - champion) < llabs(r->nearest - champion))
            r->nearest = step;
    }
    return SHOAL_OK;
}

static enum shoal_status find_retained(struct retained *r, const char *run, int64_t keep)
{
    char path[SHOAL_MAX_PATH];
    int64_t good = 0;
    r->run = run;
    r->newest = r->oldest = r->nearest = INT64_MIN;
    for (int64_t i = 0; i < r->n && (good == 0 || good < keep); i++) {
        SHOAL_TRY(run_index_path(path, run, r->steps[i]));
        if (index_check(path) != SHOAL_OK) continue;
        if (good == 0) SHOAL_TRY(find_nearest(r, path));
        if (good++ == 0) r->newest = r->steps[i];
        if (good == keep) r->oldest = r->steps[i];
    }
    return SHOAL_OK;
}

static enum shoal_status add_elder(struct retained *r, struct elder e)
{
    struct elder *more = NULL;
    if (r->n_elders == r->room) {
        r->room = 2 * r->room + 16;
        SHOAL_TRY(mem_alloc((size_t)r->room * sizeof *more, "a list of shards", &more));
        if (r->n_elders) memcpy(more, r->elders, (size_t)r->n_elders * sizeof *more);
        mem_free(r->elders);
        r->elders = more;
    }
    r->elders[r->n_elders++] = e;
    return SHOAL_OK;
}

/* Snapshots that stay need the shards of lost workers, which are of snapshots that may go. */
static enum shoal_status find_elders(struct retained *r)
{
    for (int64_t i = 0; i < r->n; i++) {
        char path[SHOAL_MAX_PATH];
        struct snapshot_index index;
        enum shoal_status st = SHOAL_OK;
        if (!keeps(r, r->steps[i])) continue;
        SHOAL_TRY(run_index_path(path, r->run, r->steps[i]));
        if (index_read(path, &index) != SHOAL_OK) continue; /* damaged */
        for (int k = 0; st == SHOAL_OK && index.shards && k < index.experts; k++)
            if (index.shards[k].age > 0)
                st = add_elder(r, (struct elder){k, index_shard_step(&index, k)});
        index_free(&index);
        SHOAL_TRY(st);
    }
    return SHOAL_OK;
}

static bool is_elder(const struct retained *r, int expert, int64_t step)
{
    for (int64_t i = 0; i < r->n_elders; i++)
        if (r->elders[i].expert == expert && r->elders[i].step == step) return true;
    return false;
}

static enum shoal_status prune_shards(const char *run, int expert, const struct retained *r)
{
    char path[SHOAL_MAX_PATH];
    int64_t *steps = NULL, n = 0;
    SHOAL_TRY(run_expert_dir(path, run, expert));
    SHOAL_TRY(steps_list(path, &steps, &n));
    enum shoal_status st = SHOAL_OK;
    for (int64_t i = 0; i < n; i++) {
        if (steps[i] >= r->newest || keeps(r, steps[i]) || is_elder(r, expert, steps[i])) continue;
        SHOAL_GOTO(run_shard_path(path, run, expert, steps[i]));
        SHOAL_GOTO(remove_file(path));
    }
done:
    mem_free(steps);
    return st;
}

static enum shoal_status prune_indices(const char *run, const struct retained *r)
{
    char path[SHOAL_MAX_PATH];
    for (int64_t i = 0; i < r->n; i++) {
        if (keeps(r, r->steps[i])) continue;
        SHOAL_TRY(run_index_path(path, run, r->steps[i]));
        SHOAL_TRY(remove_file(path));
    }
    return SHOAL_OK;
}

enum shoal_status index_prune(const char *run, int64_t keep)
{
    char dir[SHOAL_MAX_PATH];
    int64_t *steps = NULL;
    struct retained r = {.n = 0};
    SHOAL_TRY(run_snapshots(run, &steps, &r.n));
    r.steps = steps;
    enum shoal_status st;
    SHOAL_GOTO(find_retained(&r, run, keep));
    if (keep > 0) SHOAL_GOTO(find_elders(&r));
    SHOAL_GOTO(prune_indices(run, &r));
    for (int k = 0; r.newest != INT64_MIN && k < SHOAL_MAX_EXPERTS; k++) {
        SHOAL_GOTO(run_expert_dir(dir, run, k));
        if (!path_is_dir(dir)) break;
        SHOAL_GOTO(prune_shards(run, k, &r));
    }
done:
    mem_free(r.elders);
    mem_free(steps);
    return st;
}
