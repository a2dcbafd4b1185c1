/* launch.c - see launch.h. Rank 0 shares what is right, every rank answers whether it has the same:
 * a few hundred bytes a rank, whatever is compared. */
#include "commands/launch.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/digest.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "commands/launch_text.h"
#include "kernels/kernels.h"
#include "worker/worker.h"

static void name_host(char out[LAUNCH_HOST])
{
    if (gethostname(out, LAUNCH_HOST) != 0) (void)snprintf(out, LAUNCH_HOST, "a machine");
    out[LAUNCH_HOST - 1] = 0;
}

/* Rank 0 fails if some rank differs: "HEAD: on rank 3 (node2) HOW; ADVICE". */
static enum shoal_status answer(struct comm *comm, struct launch_answer *mine, const char *head,
                                const char *advice)
{
    enum shoal_status st = SHOAL_OK;
    const int n = comm_world_size(comm);
    struct launch_answer *all = NULL;
    char where[LAUNCH_LINE];
    int first = 0;
    name_host(mine->host);
    if (comm_is_coordinator(comm))
        SHOAL_TRY(mem_alloc((size_t)n * sizeof *all, "the ranks' answers", &all));
    SHOAL_GOTO(comm_gather(comm, mine, sizeof *mine, all));
    if (!all) return SHOAL_OK;
    while (first < n && !all[first].differs)
        first++;
    if (first < n) {
        launch_where(where, sizeof where, all, n);
        st = SHOAL_FAIL(SHOAL_ECONFIG, "%s: on %s %.*s; %s", head, where, LAUNCH_HOW - 1,
                        all[first].how, advice);
    }
done:
    mem_free(all);
    return st;
}

/* ---- the same program ---- */

/* Its layout never changes: other builds send it too. */
struct program {
    uint64_t digest; /* of the executable; 0: not known */
    char version[24];
};

enum shoal_status launch_same_program(struct comm *comm)
{
    struct program mine = {.digest = 0}, right;
    struct launch_answer a = {.differs = 0};
    if (comm_world_size(comm) == 1) return SHOAL_OK;
    (void)snprintf(mine.version, sizeof mine.version, "%s", SHOAL_VERSION);
    if (digest_file("/proc/self/exe", 0, &mine.digest, NULL) != SHOAL_OK) shoal_failure_told();
    right = mine;
    SHOAL_TRY(comm_share(comm, &right, sizeof right));
    a.differs = memcmp(&mine, &right, sizeof mine) != 0;
    (void)snprintf(a.how, sizeof a.how,
                   "it is shoal %.23s, build %016llx, on rank 0 shoal %.23s, build %016llx",
                   mine.version, (unsigned long long)mine.digest, right.version,
                   (unsigned long long)right.digest);
    return answer(comm, &a, "the program differs between the ranks",
                  "start all of them from the same file");
}

/* ---- the same configuration ---- */

enum shoal_status launch_same_config(struct comm *comm, const struct config *cfg)
{
    enum shoal_status st = SHOAL_OK;
    struct launch_answer a = {.differs = 0};
    struct config *right = NULL;
    if (comm_world_size(comm) == 1) return SHOAL_OK;
    SHOAL_TRY(mem_alloc(sizeof *right, "rank 0's configuration", &right));
    *right = *cfg;
    SHOAL_GOTO(comm_share(comm, right, sizeof *right));
    a.differs = !config_same(cfg, right, a.how, sizeof a.how);
    SHOAL_GOTO(answer(comm, &a, "the configuration differs between the ranks",
                      "start all of them with the same file and arguments"));
done:
    mem_free(right);
    return st;
}

/* ---- a run directory that all see ---- */

static const double patience_s = 3; /* some file systems show new files late */

/* What rank 0 made: a file in the nearest directory above the run directory that exists. */
struct beacon {
    char name[LAUNCH_HOST + 64]; /* "": it could not */
    char below[SHOAL_MAX_PATH];  /* the rest of the run directory's path from there */
};

/* The directory that exists nearest above path, or path itself; "" if something else is in the way.
 * *below: the rest of the path, within it. */
static enum shoal_status nearest_directory(char *dir, const char **below, const char *path)
{
    char above[SHOAL_MAX_PATH];
    SHOAL_TRY(path_format(dir, "%s", path));
    while (!path_is_dir(dir)) {
        SHOAL_TRY(path_parent(above, dir));
        if (path_exists(dir) || strcmp(above, dir) == 0) dir[0] = 0;
        if (!dir[0]) return SHOAL_OK;
        memcpy(dir, above, sizeof above);
    }
    const size_t length = strlen(dir);
    const bool begins = strncmp(path, dir, length) == 0 &&
                        (path[length] == 0 || path[length] == '/' || dir[length - 1] == '/');
    *below = path + (begins ? length : 0); /* it does not where "." is above "runs/mine" */
    return SHOAL_OK;
}

/* Rank 0. *path: of the file, to be removed; "" where what is in the way will be told later. */
static enum shoal_status light(struct beacon *b, char *path, const char *out)
{
    char dir[SHOAL_MAX_PATH], host[LAUNCH_HOST];
    const char *below = NULL;
    path[0] = 0;
    SHOAL_TRY(nearest_directory(dir, &below, out));
    if (!dir[0]) return SHOAL_OK;
    name_host(host);
    (void)snprintf(b->name, sizeof b->name, ".tmp-launch-%.63s-%ld-%ld", host, (long)getpid(),
                   (long)time(NULL));
    (void)snprintf(b->below, sizeof b->below, "%s", below);
    SHOAL_TRY(path_format(path, "%s/%s", dir, b->name));
    const enum shoal_status st = file_write(path, b->name, strlen(b->name));
    if (st != SHOAL_OK) b->name[0] = path[0] = 0;
    return st;
}

/* Whether what rank 0 made is where this rank's run directory is, or soon will be. */
static bool sees(const struct beacon *b, const char *out)
{
    char path[SHOAL_MAX_PATH];
    const size_t length = strlen(out), rest = strlen(b->below);
    const double begun_s = clock_now_s();
    if (rest > length || strcmp(out + length - rest, b->below) != 0) return false;
    const int above = (int)(length - rest);
    if (path_format(path, "%.*s%s%s", above, out, above > 0 ? "/" : "", b->name) != SHOAL_OK)
        return false;
    while (!path_exists(path)) {
        if (clock_now_s() - begun_s > patience_s) return false;
        clock_sleep_s(0.05);
    }
    return true;
}

enum shoal_status launch_shared_run(struct comm *comm, const char *out)
{
    struct launch_answer a = {.differs = 0};
    struct beacon b = {.name = ""};
    char path[SHOAL_MAX_PATH] = "";
    if (comm_world_size(comm) == 1) return SHOAL_OK;
    const enum shoal_status lit = comm_is_coordinator(comm) ? light(&b, path, out) : SHOAL_OK;
    SHOAL_TRY(comm_share(comm, &b, sizeof b));
    a.differs = b.name[0] && !sees(&b, out);
    (void)snprintf(a.how, sizeof a.how, "%.120s does not show what rank 0 makes there", out);
    const enum shoal_status st =
        answer(comm, &a, "the run directory is not shared",
               "set run.out to the same directory, on a file system that all machines see");
    if (path[0]) (void)unlink(path); /* what is left of it is swept with the next start */
    return lit != SHOAL_OK ? lit : st;
}

/* ---- who runs where ---- */

static double wall_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* How far this machine's clock is before rank 0's. The way here takes a while, which looks the
 * same: the shortest of some counts. */
static enum shoal_status compare_clocks(struct comm *comm, double *ahead_s)
{
    *ahead_s = INFINITY;
    for (int i = 0; i < 3; i++) {
        double then_s = wall_s();
        SHOAL_TRY(comm_share(comm, &then_s, sizeof then_s));
        *ahead_s = fmin(*ahead_s, wall_s() - then_s);
    }
    if (comm_is_coordinator(comm)) *ahead_s = 0;
    return SHOAL_OK;
}

static enum shoal_status describe_self(struct launch_rank *me, struct comm *comm,
                                       const struct worker *w)
{
    memset(me, 0, sizeof *me);
    name_host(me->host);
    me->node = comm_node(comm);
    me->node_cores = comm_node_cores(comm);
    me->is_worker = w != NULL;
    if (w) {
        const struct device *const dev = worker_device(w);
        me->threads = worker_threads(w);
        me->is_host = device_is_host(dev);
        me->staged = comm_is_staged(comm);
        (void)snprintf(me->device, sizeof me->device, "%s", device_describe(dev));
    }
    return compare_clocks(comm, &me->ahead_s);
}

static enum shoal_status tell(const struct launch_rank *rank, int n, const char *transport)
{
    struct launch_machine *machine = NULL;
    char warning[LAUNCH_WARNINGS][LAUNCH_LINE];
    SHOAL_TRY(mem_alloc((size_t)n * sizeof *machine, "the ranks' machines", &machine));
    launch_machines(machine, rank, n);
    launch_block(stderr, machine, rank, n, transport);
    const int warnings = launch_warnings(warning, machine, rank, n);
    for (int i = 0; i < warnings; i++)
        log_warn("%s", warning[i]);
    mem_free(machine);
    return SHOAL_OK;
}

enum shoal_status launch_tell(struct comm *comm, const struct worker *w)
{
    enum shoal_status st = SHOAL_OK;
    const int n = comm_world_size(comm);
    struct launch_rank me, *all = NULL;
    SHOAL_TRY(describe_self(&me, comm, w));
    if (comm_is_coordinator(comm))
        SHOAL_TRY(mem_alloc((size_t)n * sizeof *all, "where the ranks run", &all));
    SHOAL_GOTO(comm_gather(comm, &me, sizeof me, all));
    if (all) SHOAL_GOTO(tell(all, n, comm_describe(comm)));
done:
    mem_free(all);
    return st;
}
