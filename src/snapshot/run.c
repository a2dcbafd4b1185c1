/* run.c - where things are in a run directory. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "snapshot/run.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"

enum shoal_status run_expert_dir(char *out, const char *run, int expert)
{
    return path_format(out, "%s/experts/%04d", run, expert);
}

enum shoal_status run_shard_path(char *out, const char *run, int expert, int64_t step)
{
    return path_format(out, "%s/experts/%04d/step-%08" PRId64 ".h5", run, expert, step);
}

/* Whether path lies in dir, both without links in them. */
static bool lies_in(const char *path, const char *dir)
{
    const size_t length = strlen(dir);
    return strncmp(path, dir, length) == 0 && (path[length] == '/' || dir[length - 1] == '/');
}

enum shoal_status run_find_shard(char *out, const char *run, int expert, int64_t step)
{
    SHOAL_TRY(run_shard_path(out, run, expert, step));
    char *const shard = realpath(out, NULL);
    if (!shard) return SHOAL_OK; /* who opens it says why not */
    char *const dir = realpath(run, NULL);
    const enum shoal_status st =
        dir && lies_in(shard, dir)
            ? SHOAL_OK
            : SHOAL_FAIL(SHOAL_EFORMAT,
                         "%s: leads out of its run, to %s; put the file itself in its place", out,
                         shard);
    free(dir);
    free(shard);
    return st;
}

enum shoal_status run_index_path(char *out, const char *run, int64_t step)
{
    return path_format(out, "%s/snapshots/step-%08" PRId64 ".h5", run, step);
}

enum shoal_status run_best_path(char *out, const char *run)
{
    return path_format(out, "%s/best.h5", run);
}

bool run_exists(const char *dir)
{
    char path[SHOAL_MAX_PATH];
    if (path_format(path, "%s/config.yaml", dir) == SHOAL_OK && path_exists(path)) return true;
    return path_format(path, "%s/snapshots", dir) == SHOAL_OK && path_is_dir(path);
}

static enum shoal_status make_clean(const char *dir)
{
    SHOAL_TRY(dir_make(dir));
    return dir_sweep_temps(dir);
}

enum shoal_status run_make(const char *dir, int experts)
{
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(make_clean(dir));
    SHOAL_TRY(path_format(path, "%s/snapshots", dir));
    SHOAL_TRY(make_clean(path));
    for (int k = 0; k < experts; k++) {
        SHOAL_TRY(run_expert_dir(path, dir, k));
        SHOAL_TRY(make_clean(path));
    }
    return SHOAL_OK;
}

enum shoal_status run_of_index(char *out, const char *index_path)
{
    char *real = realpath(index_path, NULL);
    SHOAL_CHECK(real, SHOAL_EIO, "%s: %s", index_path, strerror(errno));
    /* RUN/snapshots/step-N.h5: cut twice, but never the root itself. */
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(real, '/');
        if (slash && slash != real) *slash = 0;
    }
    const enum shoal_status st = path_format(out, "%s", real);
    free(real);
    return st;
}

/* Whether a name is "step-NNNNNNNN.h5", as run_index_path prints it. */
static bool parse_step(const char *name, int64_t *step)
{
    char again[64];
    if (sscanf(name, "step-%18" SCNd64 ".h5", step) != 1) return false;
    snprintf(again, sizeof again, "step-%08" PRId64 ".h5", *step);
    return strcmp(again, name) == 0;
}

static int newest_first(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Count the steps in an open directory and, when steps is given, keep at most `most` of them. */
static int64_t read_steps(DIR *dir, int64_t *steps, int64_t most)
{
    int64_t n = 0, step;
    rewinddir(dir);
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (!parse_step(entry->d_name, &step) || (steps && n == most)) continue;
        if (steps) steps[n] = step;
        n++;
    }
    return n;
}

enum shoal_status steps_list(const char *path, int64_t **steps, int64_t *n)
{
    *steps = NULL;
    *n = 0;
    DIR *dir = opendir(path);
    if (!dir && errno == ENOENT) return SHOAL_OK;
    SHOAL_CHECK(dir, SHOAL_EIO, "%s: cannot be listed: %s", path, strerror(errno));
    const int64_t count = read_steps(dir, NULL, 0);
    const enum shoal_status st =
        mem_alloc((size_t)count * sizeof **steps, "list of snapshots", steps);
    if (st == SHOAL_OK) *n = read_steps(dir, *steps, count);
    closedir(dir);
    if (*n > 1) qsort(*steps, (size_t)*n, sizeof **steps, newest_first);
    return st;
}

enum shoal_status run_snapshots(const char *run, int64_t **steps, int64_t *n)
{
    char dir[SHOAL_MAX_PATH];
    *steps = NULL;
    *n = 0;
    SHOAL_TRY(path_format(dir, "%s/snapshots", run));
    return steps_list(dir, steps, n);
}
