/* metrics.c - each event is one write of one line, so that a reader never sees half of one and a
 * kill can cut at most the last. */
#include "coordinator/metrics.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "evo/plan.h"
#include "optim/outlier.h"

struct metrics {
    FILE *file;
    int64_t lost; /* lines that could not be written */
};

/* Cut the file after its last newline. Lines are shorter than `tail` unless there are thousands of
 * experts, and then the whole file is looked through, tail by tail. */
static enum shoal_status cut_torn_line(int fd, const char *path)
{
    char tail[4096];
    struct stat info;
    SHOAL_CHECK(fstat(fd, &info) == 0, SHOAL_EIO, "cannot look at %s: %s", path, strerror(errno));
    off_t end = info.st_size;
    while (end > 0) {
        const off_t begin = end > (off_t)sizeof tail ? end - (off_t)sizeof tail : 0;
        const ssize_t got = pread(fd, tail, (size_t)(end - begin), begin);
        SHOAL_CHECK(got == end - begin, SHOAL_EIO, "cannot read %s: %s", path, strerror(errno));
        while (end > begin && tail[end - begin - 1] != '\n')
            end--;
        if (end > begin) break;
    }
    SHOAL_CHECK(end == info.st_size || ftruncate(fd, end) == 0, SHOAL_EIO,
                "cannot remove the unfinished last line of %s: %s", path, strerror(errno));
    return SHOAL_OK;
}

enum shoal_status metrics_open(const char *run, struct metrics **out)
{
    char path[SHOAL_MAX_PATH];
    struct metrics *m;
    enum shoal_status st = SHOAL_OK;
    *out = NULL;
    SHOAL_TRY(path_format(path, "%s/metrics.jsonl", run));
    SHOAL_TRY(mem_alloc(sizeof *m, "the metrics file", &m));
    const int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        st = SHOAL_FAIL(SHOAL_EIO, "cannot open %s for writing: %s; choose another run.out", path,
                        strerror(errno));
        goto done;
    }
    m->file = fdopen(fd, "a");
    if (!m->file) {
        st = SHOAL_FAIL(SHOAL_EIO, "cannot open %s: %s", path, strerror(errno));
        close(fd);
        goto done;
    }
    SHOAL_GOTO(cut_torn_line(fd, path));
    *out = m;
    return SHOAL_OK;
done:
    metrics_close(&m);
    return st;
}

void metrics_close(struct metrics **m)
{
    if (!*m) return;
    if ((*m)->file) fclose((*m)->file); /* every line was flushed when it was written */
    mem_free(*m);
    *m = NULL;
}

/* All of a line; what was written of it when it fails is taken back. */
static bool write_line(int fd, const char *line, size_t n)
{
    const off_t before = lseek(fd, 0, SEEK_END);
    for (size_t at = 0; at < n;) {
        const ssize_t wrote = write(fd, line + at, n - at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            const int error = errno;
            /* Should even that fail, a reader finds half a line, as after a kill. */
            if (before >= 0 && ftruncate(fd, before) != 0) errno = error;
            errno = error;
            return false;
        }
        at += (size_t)wrote;
    }
    return true;
}

/* A full disk costs lines, not the run. */
static enum shoal_status put_line(struct metrics *m, struct json *j)
{
    char *line = NULL;
    size_t n = 0;
    SHOAL_TRY(json_take(j, &line, &n));
    line[n] = '\n'; /* in place of the 0 */
    if (!write_line(fileno(m->file), line, n + 1) && m->lost++ == 0)
        log_warn("metrics.jsonl: a line was lost, and more may be: %s", strerror(errno));
    free(line);
    return SHOAL_OK;
}

static void begin(struct json *j, const char *event, double time_s, int64_t step)
{
    json_begin(j);
    json_string(j, "event", event);
    json_number(j, "time", time_s);
    json_int(j, "step", step);
}

enum shoal_status metrics_write_start(struct metrics *m, double time_s,
                                      const struct metrics_start *start)
{
    struct json j;
    begin(&j, "start", time_s, start->step);
    json_string(&j, "run_id", start->run_id);
    json_string(&j, "shoal_version", SHOAL_VERSION);
    json_bool(&j, "resumed", start->resumed);
    json_int(&j, "experts", start->experts);
    json_int(&j, "members", start->members);
    json_int(&j, "workers", start->workers);
    json_int(&j, "params", start->params);
    json_int(&j, "steps", start->steps);
    json_int(&j, "tokens_per_step", start->tokens_per_step);
    return put_line(m, &j);
}

enum shoal_status metrics_write_device(struct metrics *m, double time_s, int64_t step,
                                       const struct report *r)
{
    struct json j;
    begin(&j, "worker", time_s, step);
    json_int(&j, "worker", r->worker);
    json_number(&j, "peak_flops_per_s", r->value[0]);
    return put_line(m, &j);
}

enum shoal_status metrics_write_step(struct metrics *m, double time_s, const struct report *r,
                                     double mfu)
{
    static const char *const reasons[SKIP_KINDS] = {
        [SKIP_NOT_FINITE] = "not finite", [SKIP_LOSS] = "loss", [SKIP_GRAD_NORM] = "grad_norm"};
    struct json j;
    begin(&j, "step", time_s, r->step);
    json_int(&j, "expert", r->member);
    json_number(&j, "loss", r->value[0]);
    json_number(&j, "lr", r->value[1]);
    json_number(&j, "grad_norm", r->value[2]);
    json_int(&j, "tokens", r->count[0]);
    json_number(&j, "tokens_per_s", r->value[3]);
    if (isfinite(mfu)) json_number(&j, "mfu", mfu);
    if (r->count[1] > SKIP_NONE && r->count[1] < SKIP_KINDS) {
        json_bool(&j, "skipped", true);
        json_string(&j, "reason", reasons[r->count[1]]);
    }
    return put_line(m, &j);
}

enum shoal_status metrics_write_eval(struct metrics *m, double time_s, const struct report *r)
{
    struct json j;
    begin(&j, "eval", time_s, r->step);
    json_int(&j, "member", r->member);
    json_number(&j, "loss", r->value[0]);
    json_number(&j, "perplexity", exp(r->value[0]));
    json_int(&j, "tokens", r->count[0]);
    json_number(&j, "seconds", r->value[1]);
    return put_line(m, &j);
}

enum shoal_status metrics_write_joined(struct metrics *m, double time_s, int64_t step, int expert,
                                       int parent)
{
    struct json j;
    begin(&j, "joined", time_s, step);
    json_int(&j, "expert", expert);
    json_int(&j, "parent", parent);
    return put_line(m, &j);
}

enum shoal_status metrics_write_judging(struct metrics *m, double time_s,
                                        const struct judging *judged, int experts, int members,
                                        const struct standing *standing, double seconds)
{
    struct json j;
    begin(&j, "judge", time_s, judged->step);
    json_numbers(&j, "fitness", judged->fitness, (size_t)members);
    json_int(&j, "best", judged->best);
    json_number(&j, "best_fitness", judged->best < 0 ? NAN : judged->fitness[judged->best]);
    json_number(&j, "spread", plan_spread(judged->fitness, experts));
    json_int(&j, "champion", standing->champion);
    json_int(&j, "champion_step", standing->champion_step);
    json_number(&j, "champion_fitness", standing->champion_fitness);
    json_number(&j, "seconds", seconds);
    return put_line(m, &j);
}

enum shoal_status metrics_write_round(struct metrics *m, double time_s, const struct report *r)
{
    struct json j;
    begin(&j, "round", time_s, r->step);
    json_int(&j, "source", r->member);
    json_number(&j, "seconds", r->value[0]);
    json_number(&j, "stall_s", r->value[1]);
    json_int(&j, "bytes", r->count[0]);
    return put_line(m, &j);
}

enum shoal_status metrics_write_cadence(struct metrics *m, double time_s,
                                        const struct metrics_cadence *row)
{
    struct json j;
    begin(&j, "cadence", time_s, row->step);
    json_int(&j, "every", row->every);
    json_number(&j, "stall_s", row->stall_s);
    json_number(&j, "step_s", row->step_s);
    return json_end(&j, m->file);
}

enum shoal_status metrics_write_lineage(struct metrics *m, double time_s, const struct report *r)
{
    const enum lineage_kind kind = (enum lineage_kind)r->value[2];
    struct json j;
    begin(&j, "lineage", time_s, r->step);
    json_int(&j, "expert", r->member);
    json_string(&j, "kind", lineage_name(kind));
    json_int(&j, "body", r->count[0]);
    json_int(&j, "io", r->count[1]);
    json_number(&j, "distance", r->value[0]);
    json_number(&j, "lr_scale", r->value[1]);
    return json_end(&j, m->file);
}

enum shoal_status metrics_write_snapshot(struct metrics *m, double time_s, int64_t step,
                                         double seconds, double stall_s, int64_t bytes)
{
    struct json j;
    begin(&j, "snapshot", time_s, step);
    json_number(&j, "seconds", seconds);
    json_number(&j, "stall_s", stall_s);
    json_int(&j, "bytes", bytes);
    return put_line(m, &j);
}

enum shoal_status metrics_write_lost_snapshot(struct metrics *m, double time_s, int64_t step,
                                              int64_t newest)
{
    struct json j;
    begin(&j, "snapshot_failed", time_s, step);
    json_number(&j, "newest", newest >= 0 ? (double)newest : NAN);
    return put_line(m, &j);
}

enum shoal_status metrics_write_lost(struct metrics *m, double time_s, int64_t step, int worker,
                                     double silent_s, int first, int experts)
{
    struct json j;
    char reason[64];
    (void)snprintf(reason, sizeof reason, "silent for %.1f s", silent_s);
    begin(&j, "lost", time_s, step);
    json_int(&j, "worker", worker);
    json_string(&j, "reason", reason);
    json_int(&j, "first_expert", first);
    json_int(&j, "experts", experts);
    return put_line(m, &j);
}

enum shoal_status metrics_write_end(struct metrics *m, double time_s,
                                    const struct standing *standing, const struct metrics_end *end)
{
    struct json j;
    begin(&j, "end", time_s, standing->step);
    json_int(&j, "best", standing->champion);
    json_int(&j, "best_step", standing->champion_step);
    json_number(&j, "best_fitness", standing->champion_fitness);
    json_int(&j, "tokens", end->tokens);
    json_int(&j, "skipped", end->skipped);
    json_int(&j, "late", end->late);
    json_numbers(&j, "peak_bytes", end->peak_bytes, (size_t)end->workers);
    if (end->lost > 0) json_int(&j, "lost", end->lost);
    if (end->why[0]) json_string(&j, "why", end->why);
    return put_line(m, &j);
}
