/* verify.c - files: one by one, and as a run. */
#include "snapshot/verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/memory.h"
#include "snapshot/header.h"
#include "snapshot/run.h"
#include "snapshot/seal.h"
#include "snapshot/shard.h"
#include "snapshot/verify_impl.h"

/* ---- the list -------------------------------------------------------------------------------- */

static enum shoal_status grow(struct verified *v)
{
    struct finding *more = NULL;
    if (v->n_findings < v->room) return SHOAL_OK;
    const int room = 2 * v->room + 16;
    SHOAL_TRY(mem_alloc((size_t)room * sizeof *more, "findings", &more));
    if (v->n_findings) memcpy(more, v->findings, (size_t)v->n_findings * sizeof *more);
    mem_free(v->findings);
    v->findings = more;
    v->room = room;
    return SHOAL_OK;
}

enum shoal_status verify_note(struct verified *v, const char *path, const char *remedy)
{
    /* Failures begin with the path; here it is said once. */
    const char *what = shoal_failure_text();
    const size_t length = strlen(path);
    if (strncmp(what, path, length) == 0) what += length;
    what += strspn(what, ": ");
    SHOAL_TRY(grow(v));
    struct finding *f = &v->findings[v->n_findings++];
    snprintf(f->path, sizeof f->path, "%s", path);
    snprintf(f->what, sizeof f->what, "%s; %s", what, remedy);
    shoal_failure_told();
    return SHOAL_OK;
}

void verified_free(struct verified *v)
{
    mem_free(v->findings);
    v->findings = NULL;
}

/* ---- one file -------------------------------------------------------------------------------- */

enum shoal_status verify_seal(struct verified *v, const char *path, const char *remedy, bool *sound,
                              uint64_t *digest)
{
    struct stat info;
    enum seal_state state = SEAL_BROKEN;
    *sound = false;
    enum shoal_status st = seal_check(path, &state, digest);
    if (st == SHOAL_OK && state == SEAL_BROKEN)
        st = SHOAL_FAIL(SHOAL_EFORMAT,
                        "%s: its bytes are not those that were written (its XXH64 is %016" PRIx64
                        " now)",
                        path, *digest);
    v->files++;
    if (stat(path, &info) == 0) v->bytes += info.st_size;
    if (st != SHOAL_OK) return verify_note(v, path, remedy);
    *sound = true;
    return SHOAL_OK;
}

static enum shoal_status check_expected(const char *path, const struct verify_expected *expected,
                                        uint64_t digest)
{
    const struct snapshot_index *index = expected->index;
    struct shard_info info;
    struct config now, then;
    SHOAL_TRY(shard_read_info(path, &info));
    const bool right = strcmp(info.run_id, index->run_id) == 0 && info.expert == expected->expert &&
                       info.step == index_shard_step(index, expected->expert);
    enum shoal_status st =
        right ? SHOAL_OK
              : SHOAL_FAIL(SHOAL_EFORMAT,
                           "%s: holds expert %d of step %" PRId64 " of run %s, but %s wants expert "
                           "%d of step %" PRId64 " of run %s",
                           path, info.expert, info.step, info.run_id, expected->index_path,
                           expected->expert, index_shard_step(index, expected->expert),
                           index->run_id);
    if (st == SHOAL_OK) st = config_parse(&now, info.config, path);
    shard_info_free(&info);
    SHOAL_TRY(st);
    SHOAL_TRY(config_parse(&then, index->config, expected->index_path));
    SHOAL_CHECK(config_check_resume(&now, &then) == SHOAL_OK, SHOAL_EFORMAT,
                "%s: was written with another configuration than %s", path, expected->index_path);
    SHOAL_CHECK(!index->shards || index->shards[expected->expert].digest == digest, SHOAL_EFORMAT,
                "%s: is whole, but not the file that %s was made of: its XXH64 is %016" PRIx64
                ", recorded is %016" PRIx64,
                path, expected->index_path, digest, index->shards[expected->expert].digest);
    return SHOAL_OK;
}

enum shoal_status verify_shard(struct verified *v, const char *path,
                               const struct verify_expected *expected)
{
    const char *const remedy = "restore it from a copy, or use another snapshot";
    bool sound = false;
    uint64_t digest = 0;
    SHOAL_TRY(verify_seal(v, path, remedy, &sound, &digest));
    if (!sound) return SHOAL_OK;
    enum shoal_status st = shard_check(path);
    if (st == SHOAL_OK && expected) st = check_expected(path, expected, digest);
    return st == SHOAL_OK || st == SHOAL_ENOMEM ? st : verify_note(v, path, remedy);
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* What a run's parts must agree with: its newest good snapshot. */
struct run_view {
    char run[SHOAL_MAX_PATH];
    struct snapshot_index newest; /* experts 0: there is none */
};

/* The member that best.h5 holds, as the index numbers it: experts may have joined since it was
 * written, and the mean comes after all of them. */
static enum shoal_status member_of(const struct snapshot_index *index,
                                   const struct shard_info *info, const char *path, int *member)
{
    struct config then;
    SHOAL_TRY(config_parse(&then, info->config, path));
    *member = info->expert == then.population.experts ? index->experts : info->expert;
    return SHOAL_OK;
}

static enum shoal_status check_best(const struct run_view *r, const char *path)
{
    const struct snapshot_index *index = &r->newest;
    const struct standing *s = &index->standing;
    struct shard_info info;
    int member = -1;
    SHOAL_TRY(shard_read_info(path, &info));
    const enum shoal_status st = member_of(index, &info, path, &member);
    shard_info_free(&info);
    SHOAL_TRY(st);
    if (index->experts == 0 || s->champion < 0) return SHOAL_OK;
    SHOAL_CHECK(strcmp(info.run_id, index->run_id) == 0, SHOAL_EFORMAT,
                "%s: is of run %s, the snapshots are of run %s", path, info.run_id, index->run_id);
    SHOAL_CHECK(info.step >= s->champion_step, SHOAL_EFORMAT,
                "%s: is of step %" PRId64 ", but the best of all was found at step %" PRId64, path,
                info.step, s->champion_step);
    SHOAL_CHECK(info.step > s->champion_step ||
                    (member == s->champion && info.fitness == s->champion_fitness),
                SHOAL_EFORMAT,
                "%s: holds member %d with a fitness of %g, but the best is %d with "
                "%g",
                path, member, info.fitness, s->champion, s->champion_fitness);
    return SHOAL_OK;
}

static enum shoal_status verify_best(struct verified *v, const struct run_view *r)
{
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(run_best_path(path, r->run));
    const int before = v->n_findings;
    if (!path_exists(path)) {
        if (r->newest.experts == 0 || r->newest.standing.champion < 0) return SHOAL_OK;
        (void)SHOAL_FAIL(SHOAL_EIO, "%s: is missing", path);
        return verify_note(v, path, "the experts of a snapshot can be used instead");
    }
    SHOAL_TRY(verify_shard(v, path, NULL));
    if (v->n_findings > before || check_best(r, path) == SHOAL_OK) return SHOAL_OK;
    return verify_note(v, path, "restore it from a copy, or use the experts of a snapshot");
}

static enum shoal_status check_config(const struct run_view *r, const char *path)
{
    struct config now, then;
    SHOAL_TRY(config_load(&now, path, NULL, 0));
    if (r->newest.experts == 0) return SHOAL_OK;
    SHOAL_TRY(config_parse(&then, r->newest.config, path));
    return config_check_resume(&now, &then);
}

static enum shoal_status verify_config(struct verified *v, const struct run_view *r)
{
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(path_format(path, "%s/config.yaml", r->run));
    v->files++;
    if (check_config(r, path) == SHOAL_OK) return SHOAL_OK;
    return verify_note(v, path, "every shard holds the configuration too (attribute 'config')");
}

/* A kill between the two leaves the link one snapshot behind, or absent; it never leads nowhere. */
static enum shoal_status verify_latest(struct verified *v, const struct run_view *r)
{
    char path[SHOAL_MAX_PATH];
    struct stat info;
    SHOAL_TRY(path_format(path, "%s/latest", r->run));
    if (lstat(path, &info) != 0 || stat(path, &info) == 0) return SHOAL_OK;
    (void)SHOAL_FAIL(SHOAL_EFORMAT, "%s: is a link that leads nowhere", path);
    return verify_note(v, path, "shoal does not need it; remove it, or make it anew with ln -sfn");
}

/* One of a run's snapshots. What is found of one that goes meanwhile is forgotten. */
static enum shoal_status verify_one(struct verified *v, struct run_view *r, int64_t step)
{
    char path[SHOAL_MAX_PATH];
    const int before = v->n_findings;
    SHOAL_TRY(run_index_path(path, r->run, step));
    SHOAL_TRY(verify_index(v, path));
    if (!path_exists(path)) {
        v->n_findings = before;
        return SHOAL_OK;
    }
    v->snapshots++;
    if (v->n_findings > before) return SHOAL_OK;
    v->good++;
    if (v->newest >= 0) return SHOAL_OK;
    v->newest = step;
    return index_read(path, &r->newest);
}

static enum shoal_status verify_run(struct verified *v, struct run_view *r)
{
    int64_t *steps = NULL, n = 0;
    enum shoal_status st;
    SHOAL_GOTO(run_snapshots(r->run, &steps, &n));
    for (int64_t i = 0; i < n; i++)
        SHOAL_GOTO(verify_one(v, r, steps[i]));
    SHOAL_GOTO(verify_config(v, r));
    SHOAL_GOTO(verify_best(v, r));
    SHOAL_GOTO(verify_latest(v, r));
done:
    mem_free(steps);
    return st;
}

/* ---- whatever it is -------------------------------------------------------------------------- */

static enum shoal_status verify_file(struct verified *v, const char *path)
{
    struct h5 h = H5_CLOSED;
    bool sound = false, is_index = false;
    uint64_t digest = 0;
    SHOAL_CHECK(path_exists(path), SHOAL_EIO, "%s: no such file or directory", path);
    SHOAL_TRY(
        verify_seal(v, path, "restore it from a copy, or use another snapshot", &sound, &digest));
    if (!sound) return SHOAL_OK;
    enum shoal_status st = h5_open(&h, path);
    if (st == SHOAL_OK) st = header_is_index(&h, &is_index);
    h5_close(&h);
    SHOAL_TRY(st);
    v->files = v->bytes = 0;
    return is_index ? verify_index(v, path) : verify_shard(v, path, NULL);
}

enum shoal_status verify(const char *path, struct verified *out)
{
    *out = (struct verified){.newest = -1};
    if (!path_is_dir(path)) return verify_file(out, path);
    SHOAL_CHECK(run_exists(path), SHOAL_EFORMAT,
                "%s is not a run directory: it has neither config.yaml nor snapshots/", path);
    struct run_view r = {.newest.experts = 0};
    SHOAL_TRY(path_format(r.run, "%s", path));
    const enum shoal_status st = verify_run(out, &r);
    index_free(&r.newest);
    return st;
}
