/* save.c - what a worker puts on disk: its experts' shards and the best member.
 *
 * With snapshot.async an expert is copied into a slot between two steps and written from there by
 * one other thread, oldest first, one file at a time. There may be fewer slots than experts: an
 * expert whose turn to train has not come does not change, so it is copied when a slot falls free,
 * at the latest before it trains on. HDF5 bears one thread at a time: this one uses it only while
 * no file is being written, which settle() sees to.
 *
 * A file that cannot be written costs its snapshot, not the run. The best member's weights, which
 * are nowhere else, are kept then, and written with the next order. */
#include <string.h>
#include "base/clock.h"
#include "base/job.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include "evo/operators.h"
#include "snapshot/staging.h"
#include "worker/memory.h"
#include "worker/worker_impl.h"

enum { BEST = -1 }; /* what a slot holds, if not one of the own experts */

struct slot {
    struct staging *staging;
    int own; /* index of an own expert, or BEST */
};

struct save {
    struct job *writer; /* NULL: files are written at once, and there are no slots */
    struct slot *slot;  /* a ring */
    int n_slots, first, used;
    struct staged written; /* by the writer, for settle */
    int64_t step;          /* of the snapshot in hand */
    int next;              /* own experts from here on are not in a slot yet */
    bool failed;           /* one of its shards was not written */
    bool best_failed;      /* best.h5 is not what it should be: that is in `kept` */
    struct staging *kept;  /* or a spare; NULL before the first failure */
    double stall_s;        /* not yet reported, but for the one that goes on */
    double since_s;        /* when it began */
};

/* ---- making ---------------------------------------------------------------------------------- */

enum shoal_status worker_save_create(struct worker *w)
{
    const struct config *c = w->cfg;
    struct save *s = NULL;
    SHOAL_TRY(mem_alloc(sizeof *s, "what is to be saved", &w->save));
    s = w->save;
    s->next = w->n_own;
    if (!c->snapshot.async) return SHOAL_OK;
    const int slots = memory_staging_slots(c, w->table, w->n_own);
    SHOAL_TRY(mem_alloc((size_t)slots * sizeof *s->slot, "copies of experts", &s->slot));
    for (; s->n_slots < slots; s->n_slots++)
        SHOAL_TRY(staging_create(w->table, evo_needs_velocity(c), evo_needs_own_best(c),
                                 &s->slot[s->n_slots].staging));
    return job_create(&s->writer);
}

void worker_save_destroy(struct worker *w)
{
    struct save *s = w->save;
    if (!s) return;
    job_destroy(&s->writer);
    for (int i = 0; i < s->n_slots; i++)
        staging_destroy(&s->slot[i].staging);
    staging_destroy(&s->kept);
    mem_free(s->slot);
    mem_free(s);
    w->save = NULL;
}

/* ---- how long training waits ----------------------------------------------------------------- */

static void stall_begin(struct save *s)
{
    s->since_s = clock_now_s();
}

static void stall_end(struct save *s)
{
    const double now_s = clock_now_s();
    s->stall_s += now_s - s->since_s;
    s->since_s = now_s;
}

/* ---- saying what became of a file ------------------------------------------------------------ */

static enum shoal_status report_written(struct worker *w, const struct expert *e,
                                        const struct staged *written)
{
    struct save *s = w->save;
    const struct report r = {
        .kind = REPORT_WROTE,
        .worker = w->number,
        .member = e->number,
        .step = s->step,
        .count = {written->bytes, process_peak_bytes(), (int64_t)written->digest},
        .value = {written->seconds, s->stall_s}};
    s->stall_s = 0;
    return comm_report(w->comm, &r, sizeof r);
}

static enum shoal_status report_failed(struct worker *w, const struct expert *e)
{
    const struct report r = {
        .kind = REPORT_FAILED, .worker = w->number, .member = e->number, .step = w->save->step};
    return comm_report(w->comm, &r, sizeof r);
}

/* Warn of the last failure. */
static void warn(const char *what)
{
    log_warn("%s was not written, training goes on: %s", what, shoal_failure_text());
    shoal_failure_told();
}

static void swap(struct staging **a, struct staging **b)
{
    struct staging *const kept = *a;
    *a = *b;
    *b = kept;
}

/* Room for what could not be written. Without it, best.h5 stays what it was until there is a new
 * best member. */
static bool make_spare(struct worker *w)
{
    const struct config *c = w->cfg;
    if (w->save->kept) return true;
    if (staging_create(w->table, evo_needs_velocity(c), evo_needs_own_best(c), &w->save->kept) ==
        SHOAL_OK)
        return true;
    warn("a copy of the best member");
    return false;
}

/* What was to become best.h5 is in *staging, which is given back empty. */
static void conclude_best(struct worker *w, enum shoal_status st, struct staging **staging)
{
    struct save *s = w->save;
    s->best_failed = st != SHOAL_OK;
    if (st == SHOAL_OK) return;
    warn("best.h5");
    if (!make_spare(w)) return;
    swap(&s->kept, staging);
}

static enum shoal_status conclude(struct worker *w, int own, enum shoal_status st,
                                  const struct staged *written)
{
    struct save *s = w->save;
    if (st == SHOAL_OK) return report_written(w, w->own[own].expert, written);
    if (!s->failed) warn("a snapshot");
    s->failed = true;
    return report_failed(w, w->own[own].expert);
}

/* ---- the ring -------------------------------------------------------------------------------- */

static enum shoal_status write_oldest(void *save)
{
    struct save *s = save;
    return staging_write(s->slot[s->first].staging, &s->written);
}

/* Take the file that was being written off the ring, if it is done or `wait`, and begin the next.
 * Between the two nobody uses HDF5 but who hears the report. */
static enum shoal_status settle(struct worker *w, bool wait)
{
    struct save *s = w->save;
    if (!s->writer || s->used == 0 || (!wait && !job_done(s->writer))) return SHOAL_OK;
    const enum shoal_status st = job_wait(s->writer);
    struct slot *const slot = &s->slot[s->first];
    s->first = (s->first + 1) % s->n_slots;
    s->used--;
    if (slot->own == BEST)
        conclude_best(w, st, &slot->staging);
    else
        SHOAL_TRY(conclude(w, slot->own, st, &s->written));
    if (s->used > 0) job_start(s->writer, write_oldest, s);
    return SHOAL_OK;
}

/* A slot to fill; push() then has it written. */
static enum shoal_status free_slot(struct worker *w, struct slot **out)
{
    struct save *s = w->save;
    while (s->used == s->n_slots)
        SHOAL_TRY(settle(w, true));
    *out = &s->slot[(s->first + s->used) % s->n_slots];
    return SHOAL_OK;
}

static void push(struct save *s)
{
    if (s->used++ == 0) job_start(s->writer, write_oldest, s);
}

/* ---- shards ---------------------------------------------------------------------------------- */

static struct shard_info describe(const struct worker *w, const struct expert *e, int64_t step)
{
    struct shard_info info = {.expert = e->number,
                              .worker = w->number,
                              .step = step,
                              .tokens = e->tokens,
                              .fitness = e->fitness,
                              .parent = e->parent,
                              .config = w->config_text};
    memcpy(info.run_id, w->run_id, sizeof info.run_id);
    return info;
}

static enum shoal_status write_now(const char *path, const struct shard_info *info,
                                   const struct own *own, struct staged *written)
{
    const double start_s = clock_now_s();
    SHOAL_TRY(shard_write(path, info, own->expert, &own->past, &written->bytes));
    SHOAL_TRY(shard_digest(path, &written->digest));
    written->seconds = clock_now_s() - start_s;
    return SHOAL_OK;
}

/* The next own expert into a slot, or straight to disk. */
static enum shoal_status save_next(struct worker *w)
{
    struct save *s = w->save;
    const int i = s->next++;
    const struct own *own = &w->own[i];
    const struct shard_info info = describe(w, own->expert, s->step);
    struct slot *slot = NULL;
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(run_shard_path(path, w->cfg->run.out, own->expert->number, s->step));
    SHOAL_TRY(park_settle(w));
    if (s->writer) SHOAL_TRY(free_slot(w, &slot));
    if (s->failed) return report_failed(w, own->expert);
    if (!s->writer) {
        struct staged written = {0};
        const enum shoal_status st = write_now(path, &info, own, &written);
        return conclude(w, i, st, &written);
    }
    slot->own = i;
    SHOAL_TRY(staging_take(slot->staging, path, &info, own->expert, &own->past));
    push(s);
    return SHOAL_OK;
}

enum shoal_status worker_save_poll(struct worker *w)
{
    struct save *s = w->save;
    stall_begin(s);
    SHOAL_TRY(settle(w, false));
    while (s->next < w->n_own && s->used < s->n_slots)
        SHOAL_TRY(save_next(w));
    stall_end(s);
    return SHOAL_OK;
}

enum shoal_status worker_save_before(struct worker *w, int own)
{
    struct save *s = w->save;
    stall_begin(s);
    while (s->next <= own && s->next < w->n_own)
        SHOAL_TRY(save_next(w));
    stall_end(s);
    return SHOAL_OK;
}

enum shoal_status worker_save_drain(struct worker *w)
{
    struct save *s = w->save;
    SHOAL_TRY(worker_save_before(w, w->n_own));
    stall_begin(s);
    while (s->used > 0)
        SHOAL_TRY(settle(w, true));
    stall_end(s);
    return SHOAL_OK;
}

/* Rather than fail in the middle. */
static enum shoal_status check_room(const struct worker *w)
{
    const struct config *c = w->cfg;
    const int64_t need =
        w->n_own * shard_bytes(w->table, evo_needs_velocity(c), evo_needs_own_best(c));
    int64_t free = 0;
    SHOAL_TRY(path_free_bytes(c->run.out, &free));
    SHOAL_CHECK(free >= need, SHOAL_EIO,
                "%s: %lld MB are free, and this worker's shards take %lld MB; make room, or lower "
                "snapshot.keep",
                c->run.out, (long long)(free >> 20), (long long)(need >> 20) + 1);
    return SHOAL_OK;
}

enum shoal_status worker_write_shards(struct worker *w, int64_t step)
{
    struct save *s = w->save;
    SHOAL_TRY(worker_save_drain(w)); /* at most one snapshot at a time */
    stall_begin(s);
    s->step = step;
    s->next = 0;
    s->failed = check_room(w) != SHOAL_OK;
    if (s->failed) warn("a snapshot");
    while (s->next < w->n_own && (!s->writer || s->failed || s->used < s->n_slots))
        SHOAL_TRY(save_next(w));
    stall_end(s);
    return SHOAL_OK;
}

/* ---- the best member ------------------------------------------------------------------------- */

static enum shoal_status save_weights(struct worker *w, const struct shard_info *info,
                                      const float *weights)
{
    struct save *s = w->save;
    struct slot *slot = NULL;
    struct staged written = {0};
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(run_best_path(path, w->cfg->run.out));
    if (!s->writer) {
        s->best_failed =
            shard_write_weights(path, info, w->table, w->dev, weights, &written.bytes) != SHOAL_OK;
        if (!s->best_failed) return SHOAL_OK;
        warn("best.h5");
        if (!make_spare(w)) return SHOAL_OK;
        return staging_take_weights(s->kept, path, info, w->dev, weights);
    }
    SHOAL_TRY(free_slot(w, &slot));
    slot->own = BEST;
    SHOAL_TRY(staging_take_weights(slot->staging, path, info, w->dev, weights));
    push(s);
    return SHOAL_OK;
}

/* Once more what could not be written, if anything. */
static enum shoal_status save_again(struct worker *w)
{
    struct save *s = w->save;
    struct slot *slot = NULL;
    struct staged written;
    if (!s->best_failed || !s->kept) return SHOAL_OK;
    if (!s->writer) {
        s->best_failed = staging_write(s->kept, &written) != SHOAL_OK;
        if (s->best_failed) warn("best.h5");
        return SHOAL_OK;
    }
    SHOAL_TRY(free_slot(w, &slot));
    slot->own = BEST;
    swap(&slot->staging, &s->kept);
    s->best_failed = false; /* as far as is known */
    push(s);
    return SHOAL_OK;
}

static enum shoal_status save_member(struct worker *w, const struct order *order)
{
    const int experts = w->cfg->population.experts;
    const bool is_mean = order->best == experts;
    const bool holds =
        is_mean ? worker_leads(w) : worker_of_expert(order->best, w->workers, experts) == w->number;
    w->save->best_failed = false; /* what could not be written before is the best no longer */
    if (!holds) return SHOAL_OK;
    const struct expert *e = w->own[is_mean ? 0 : order->best - w->first].expert;
    struct shard_info info = describe(w, e, order->step);
    info.fitness = order->best_fitness;
    if (is_mean) {
        SHOAL_ASSERT(w->mean_fresh);
        info.expert = experts;
        info.tokens *= experts; /* what its parents learned, it has seen */
        info.parent = -1;
    }
    return save_weights(w, &info, is_mean ? w->mean.weights : e->weights);
}

enum shoal_status worker_save_best(struct worker *w, const struct order *order)
{
    stall_begin(w->save);
    SHOAL_TRY(order->save_best ? save_member(w, order) : save_again(w));
    stall_end(w->save);
    return SHOAL_OK;
}

/* Beside what is there already: a shard of this step may be part of a snapshot. */
static enum shoal_status save_orphan(struct worker *w, const struct own *own)
{
    char path[SHOAL_MAX_PATH];
    const struct shard_info info = describe(w, own->expert, own->expert->step);
    struct staged written;
    SHOAL_TRY(run_shard_path(path, w->cfg->run.out, own->expert->number, info.step));
    return path_exists(path) ? SHOAL_OK : write_now(path, &info, own, &written);
}

enum shoal_status worker_save_orphans(struct worker *w)
{
    SHOAL_TRY(worker_save_drain(w));
    for (int i = 0; i < w->n_own; i++)
        SHOAL_TRY(save_orphan(w, &w->own[i]));
    return SHOAL_OK;
}

enum shoal_status worker_save_await_best(struct worker *w)
{
    struct save *s = w->save;
    int behind = 0; /* files up to the last best.h5, itself included */
    for (int i = 0; i < s->used; i++)
        if (s->slot[(s->first + i) % s->n_slots].own == BEST) behind = i + 1;
    stall_begin(s);
    for (; behind > 0; behind--)
        SHOAL_TRY(settle(w, true));
    stall_end(s);
    return SHOAL_OK;
}

enum shoal_status worker_save_end(struct worker *w)
{
    SHOAL_TRY(worker_save_drain(w));
    SHOAL_CHECK(!w->save->best_failed, SHOAL_EIO,
                "%s/best.h5 is not the best member, which could not be written; make room, then "
                "use the experts of the last snapshot",
                w->cfg->run.out);
    return SHOAL_OK;
}
