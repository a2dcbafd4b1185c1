/* loop.c - the state machine's surroundings: messages, clock, files and the screen.
 *
 * An order goes out first: workers wait for it, everything else can wait for them. Nothing here
 * decides anything; what happens is what coordinator_step returned. */
#include "coordinator/coordinator.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "coordinator/announce.h"
#include "coordinator/display.h"
#include "coordinator/joined.h"
#include "coordinator/metrics.h"
#include "coordinator/state.h"
#include "coordinator/track.h"
#include "coordinator/wishes.h"
#include "evo/owners.h"

_Static_assert(sizeof(struct order) + SHOAL_MAX_EXPERTS * sizeof(uint16_t) <= COMM_MAX_RECORD,
               "an order is one record");

/* How long to listen before the screen is looked after again. */
static const double listen_s = 0.2;
/* Between two looks whether somebody is lost. */
static const double look_s = 0.1;

/* What the shards of the newest ordered snapshot have cost so far. */
struct snapshot_cost {
    double ordered_s;
    int64_t bytes;
    double stall_s[SHOAL_MAX_EXPERTS]; /* per worker; there are no more workers than experts */
};

struct coordinator {
    struct config config;
    char *config_text; /* owned; for indices */
    struct comm *comm; /* borrowed */
    char run_id[40];
    int64_t params;
    bool resumed, finished;
    int64_t committed;         /* step of the newest committed snapshot; -1: none */
    bool lost;                 /* the newest ordered one was not written */
    double begun_s, earlier_s; /* clock at the start; run time of earlier sessions */
    int64_t late;              /* reports ignored */
    double judging_s;          /* what the last judging took */
    struct coordinator_state *state;
    struct metrics *metrics;
    struct display *display;
    struct track track;
    struct snapshot_cost cost;
    struct shard_mark *shards;  /* owned; of the newest ordered snapshot, */
    struct shard_mark *kept;    /* owned; of each expert in the newest committed one, */
    struct shard_mark *next;    /* owned; and in the one to be committed */
    int n_lost, n_lost_experts; /* workers, and their experts */
    double looked_s;            /* clock of the last look for them */
    struct joined joined;       /* for indices */
    struct wishes wishes;
    double peak_bytes[SHOAL_MAX_EXPERTS]; /* of each worker's memory; as many as stall_s */
};

static double run_time(const struct coordinator *c)
{
    return c->earlier_s + clock_now_s() - c->begun_s;
}

/* ---- what the state machine asks for ---- */

static bool expert_lost(const struct coordinator *c, int expert)
{
    const int workers = comm_workers(c->comm);
    return coordinator_lost(c->state, owners_of(expert, workers, c->config.population.experts));
}

/* A diverged expert begins again as the best member; that should not go unseen. */
static void tell_diverged(const struct coordinator *c, const struct judging *judged)
{
    char best[FORMAT_WORD];
    format_member(best, judged->best, c->config.population.experts);
    for (int k = 0; judged->best >= 0 && k < c->config.population.experts; k++)
        if (!isfinite(judged->fitness[k]) && !expert_lost(c, k))
            log_warn("expert %d has diverged at step %lld and begins again as the best member (%s)",
                     k, (long long)judged->step, best);
}

/* The run ends because nobody is finite: say from where it could go on. */
static enum shoal_status name_last_snapshot(const struct coordinator *c, enum shoal_status failed)
{
    char path[SHOAL_MAX_PATH];
    if (failed != SHOAL_ENUMERIC || c->committed < 0) return failed;
    if (run_index_path(path, c->config.run.out, c->committed) != SHOAL_OK) return failed;
    return SHOAL_FAIL(failed, "%s; the last good snapshot is %s", shoal_failure_text(), path);
}

static enum shoal_status record_judging(struct coordinator *c, const struct judging *judged)
{
    const int members = coordinator_members(&c->config);
    struct judging_row row;
    struct standing standing;
    coordinator_standing(c->state, &standing);
    track_judging(&c->track, judged, members, &standing, &row);
    display_judging(c->display, &row);
    tell_diverged(c, judged);
    return metrics_write_judging(c->metrics, judged->time_s, judged, c->config.population.experts,
                                 members, &standing, c->judging_s);
}

static enum shoal_status record_cadence(struct coordinator *c, const struct cadence *k,
                                        int64_t step, int64_t every)
{
    const struct metrics_cadence row = {.step = step,
                                        .every = every,
                                        .stall_s = k->stall_s / (double)(k->rounds - 1),
                                        .step_s = (k->train_s - k->stall_s) / (double)k->steps};
    display_cadence(c->display, &row);
    return metrics_write_cadence(c->metrics, run_time(c), &row);
}

/* A snapshot that was not written: the one before it stays. */
static enum shoal_status abandon_snapshot(struct coordinator *c, int64_t step)
{
    char rest[64] = "there is none before it";
    if (c->committed >= 0)
        (void)snprintf(rest, sizeof rest, "the newest is that of step %lld",
                       (long long)c->committed);
    log_warn("the snapshot of step %lld was given up: %s", (long long)step, rest);
    if (index_drop(c->config.run.out, step, c->config.population.experts) != SHOAL_OK) {
        log_warn("what there is of it remains: %s", shoal_failure_text());
        shoal_failure_told();
    }
    c->lost = true;
    return metrics_write_lost_snapshot(c->metrics, run_time(c), step, c->committed);
}

/* Whoever was lost is there as it was last written, if it ever was. */
static void mark_shards(struct coordinator *c, const struct standing *standing)
{
    for (int k = 0; k < c->config.population.experts; k++) {
        struct shard_mark *next = &c->next[k];
        *next = live_has(&standing->lost, k) ? c->kept[k] : c->shards[k];
        if (live_has(&standing->lost, k) && next->age >= 0)
            next->age += standing->step - c->committed;
    }
}

static enum shoal_status commit_snapshot(struct coordinator *c, int64_t step)
{
    const char *run = c->config.run.out;
    struct snapshot_index index = {.experts = c->config.population.experts,
                                   .members = coordinator_members(&c->config),
                                   .workers = comm_workers(c->comm),
                                   .time_s = run_time(c),
                                   .shards = c->next,
                                   .joined = c->joined.rows,
                                   .n_joined = c->joined.n,
                                   .config = c->config_text};
    double stall_s = 0.0;
    int64_t index_bytes = 0;
    memcpy(index.run_id, c->run_id, sizeof index.run_id);
    index.judgings = coordinator_snapshot(c->state, &index.standing, &index.n_judgings);
    mark_shards(c, &index.standing);
    if (index_write(run, &index, &index_bytes) != SHOAL_OK) {
        log_warn("%s", shoal_failure_text());
        shoal_failure_told();
        return abandon_snapshot(c, step);
    }
    c->committed = step;
    memcpy(c->kept, c->next, (size_t)index.experts * sizeof *c->kept);
    c->lost = false;
    if (index_prune(run, c->config.snapshot.keep) != SHOAL_OK) {
        log_warn("old snapshots remain: %s", shoal_failure_text());
        shoal_failure_told();
    }
    for (int w = 0; w < index.workers; w++)
        if (c->cost.stall_s[w] > stall_s) stall_s = c->cost.stall_s[w];
    const double now_s = run_time(c);
    return metrics_write_snapshot(c->metrics, now_s, step, now_s - c->cost.ordered_s, stall_s,
                                  c->cost.bytes + index_bytes);
}

static enum shoal_status end_run(struct coordinator *c)
{
    char best_path[SHOAL_MAX_PATH], config_path[SHOAL_MAX_PATH];
    struct standing standing;
    coordinator_standing(c->state, &standing);
    SHOAL_TRY(run_best_path(best_path, c->config.run.out));
    SHOAL_TRY(path_format(config_path, "%s/config.yaml", c->config.run.out));
    const struct run_summary summary = {.step = standing.step,
                                        .steps = c->config.run.steps,
                                        .time_s = run_time(c),
                                        .tokens = track_tokens(&c->track),
                                        .skipped = track_all_skipped(&c->track),
                                        .experts = c->config.population.experts,
                                        .champion = standing.champion,
                                        .champion_step = standing.champion_step,
                                        .champion_fitness = standing.champion_fitness,
                                        .best_path = best_path,
                                        .why = c->wishes.why,
                                        .lost_workers = c->n_lost,
                                        .lost_experts = c->n_lost_experts,
                                        .config_path = config_path};
    const struct metrics_end end = {.tokens = (int64_t)summary.tokens,
                                    .skipped = summary.skipped,
                                    .late = c->late,
                                    .why = c->wishes.why,
                                    .lost = c->n_lost,
                                    .peak_bytes = c->peak_bytes,
                                    .workers = comm_workers(c->comm)};
    display_summary(c->display, &summary);
    c->finished = true;
    SHOAL_TRY(metrics_write_end(c->metrics, summary.time_s, &standing, &end));
    SHOAL_CHECK(!c->lost, SHOAL_EIO,
                "%s: the last snapshot, of step %lld, could not be written; make room and repeat "
                "the end from the one before with --resume",
                c->config.run.out, (long long)standing.step);
    return SHOAL_OK;
}

/* An order, and after it the ranking where a rule needs it, as one record. */
static enum shoal_status send_order(struct coordinator *c, const struct actions *actions)
{
    const int experts = c->config.population.experts;
    const size_t bytes = order_bytes(experts);
    unsigned char record[COMM_MAX_RECORD] = {0};
    memcpy(record, &actions->order, bytes);
    if (actions->ranked)
        memcpy(record + bytes, actions->ranked, (size_t)experts * sizeof *actions->ranked);
    return comm_order(c->comm, record, order_record_bytes(&c->config));
}

static enum shoal_status act(struct coordinator *c, const struct actions *actions)
{
    const double ordered_s = run_time(c);
    if (actions->announce)
        SHOAL_TRY(announce_members(c->comm, &actions->announcement, c->config.faults.deadline));
    if (actions->abandon && actions->send) SHOAL_TRY(abandon_snapshot(c, actions->abandon_step));
    if (actions->send) SHOAL_TRY(send_order(c, actions));
    if (actions->judged) SHOAL_TRY(record_judging(c, actions->judged));
    if (actions->paced)
        SHOAL_TRY(record_cadence(c, actions->paced, actions->order.step, actions->order.every));
    if (actions->abandon && !actions->send) SHOAL_TRY(abandon_snapshot(c, actions->abandon_step));
    if (actions->commit) SHOAL_TRY(commit_snapshot(c, actions->commit_step));
    if (actions->send && actions->order.snapshot) {
        memset(&c->cost, 0, sizeof c->cost);
        c->cost.ordered_s = ordered_s;
    }
    return actions->finished ? end_run(c) : SHOAL_OK;
}

/* ---- what workers say ---- */

static enum shoal_status record_step(struct coordinator *c, const struct report *r, double now_s)
{
    track_step(&c->track, r->member, r->step, now_s);
    const double mfu = r->worker < 0 ? NAN : track_utilisation(&c->track, r->worker, r->value[3]);
    return metrics_write_step(c->metrics, now_s, r, mfu);
}

static enum shoal_status record_evaluation(struct coordinator *c, const struct report *r,
                                           double now_s)
{
    const struct evaluation e = {.step = r->step,
                                 .member = r->member,
                                 .experts = c->config.population.experts,
                                 .loss = r->value[0],
                                 .tokens = (double)r->count[0],
                                 .seconds = r->value[1]};
    display_evaluation(c->display, &e);
    return metrics_write_eval(c->metrics, now_s, r);
}

static void record_shard(struct coordinator *c, const struct report *r)
{
    c->cost.bytes += r->count[0];
    c->shards[r->member] = (struct shard_mark){
        .expert = r->member, .bytes = r->count[0], .digest = (uint64_t)r->count[2]};
    if (r->worker < 0 || r->worker >= SHOAL_MAX_EXPERTS) return;
    c->cost.stall_s[r->worker] += r->value[1];
    c->peak_bytes[r->worker] = (double)r->count[1];
}

/* A report that counted; before the actions that follow from it. */
static enum shoal_status record_report(struct coordinator *c, const struct report *r, double now_s)
{
    switch (r->kind) {
    case REPORT_DEVICE:
        track_device(&c->track, r->worker, r->value[0], r->value[1]);
        return metrics_write_device(c->metrics, now_s, (int64_t)c->track.step, r);
    case REPORT_STEP:
        return record_step(c, r, now_s);
    case REPORT_FITNESS:
        /* The last to be heard of has waited for all others. */
        c->judging_s = r->value[1];
        track_skipped(&c->track, r->member, r->count[0]);
        return SHOAL_OK;
    case REPORT_EVAL:
        return record_evaluation(c, r, now_s);
    case REPORT_ROUND:
        return metrics_write_round(c->metrics, now_s, r);
    case REPORT_LINEAGE:
        return metrics_write_lineage(c->metrics, now_s, r);
    case REPORT_WROTE:
        record_shard(c, r);
        return SHOAL_OK;
    case REPORT_WISH:
        wishes_hear(&c->wishes, r);
        return SHOAL_OK;
    default:
        return SHOAL_OK;
    }
}

static void show_progress(struct coordinator *c)
{
    struct progress progress;
    const double now_s = run_time(c);
    if (c->finished || !display_due(c->display, now_s)) return;
    track_progress(&c->track, now_s, &progress);
    display_progress(c->display, now_s, &progress);
}

/* Whether anybody outside wants something of the run now. */
static enum shoal_status look_around(struct coordinator *c)
{
    const struct event event = {
        .kind = EVENT_WISH, .time_s = run_time(c), .wish = wishes_look(&c->wishes)};
    struct actions actions;
    if (event.wish == WISH_NONE) return SHOAL_OK;
    SHOAL_TRY(coordinator_step(c->state, &event, &actions));
    return act(c, &actions);
}

static enum shoal_status step(struct coordinator *c, const struct event *event,
                              struct actions *actions)
{
    const enum shoal_status decided = coordinator_step(c->state, event, actions);
    if (decided == SHOAL_OK) return SHOAL_OK;
    /* The judging that ends the run is worth a line; its own failure would hide the cause. */
    if (actions->judged) (void)record_judging(c, actions->judged);
    return name_last_snapshot(c, decided);
}

/* A worker that nobody has heard of for too long is lost. */
static enum shoal_status look_for_losses(struct coordinator *c)
{
    double silent_s = 0;
    struct event event = {.kind = EVENT_LOST, .time_s = run_time(c)};
    struct actions actions;
    if (clock_now_s() - c->looked_s < look_s) return SHOAL_OK;
    c->looked_s = clock_now_s();
    event.worker = comm_silent(c->comm, &silent_s);
    if (event.worker < 0) return SHOAL_OK;
    const int workers = comm_workers(c->comm), experts = c->config.population.experts;
    const int first = owners_first(event.worker, workers, experts);
    const int end = owners_first(event.worker + 1, workers, experts);
    tell_lost(event.worker, silent_s, first, end - first);
    c->n_lost++;
    c->n_lost_experts += end - first;
    SHOAL_TRY(metrics_write_lost(c->metrics, event.time_s, (int64_t)c->track.step, event.worker,
                                 silent_s, first, end - first));
    SHOAL_TRY(step(c, &event, &actions));
    return act(c, &actions);
}

/* Also the handler of a world of one: owner is the coordinator. */
static enum shoal_status hear(void *owner, const void *record, size_t bytes)
{
    struct coordinator *c = owner;
    struct event event = {.kind = EVENT_REPORT, .time_s = run_time(c)};
    struct actions actions;
    SHOAL_TRY(look_around(c));
    if (bytes == 0) return SHOAL_OK;
    if (bytes != sizeof event.report) {
        log_warn("ignored a report of %zu bytes; do all ranks run the same build?", bytes);
        return SHOAL_OK;
    }
    memcpy(&event.report, record, sizeof event.report);
    SHOAL_TRY(step(c, &event, &actions));
    if (actions.late) c->late++;
    if (!actions.late) SHOAL_TRY(record_report(c, &event.report, event.time_s));
    SHOAL_TRY(act(c, &actions));
    show_progress(c);
    return SHOAL_OK;
}

/* ---- coordinator.h ---- */

enum shoal_status coordinator_create(const struct config *cfg, struct comm *comm,
                                     const char *run_id, const struct snapshot_index *resume,
                                     int64_t params_per_expert, struct coordinator **out)
{
    struct coordinator *c;
    enum shoal_status st = SHOAL_OK;
    *out = NULL;
    SHOAL_TRY(mem_alloc(sizeof *c, "the coordinator", &c));
    c->config = *cfg;
    c->comm = comm;
    c->params = params_per_expert;
    c->resumed = resume != NULL;
    c->committed = resume ? resume->standing.step : -1;
    c->begun_s = clock_now_s();
    wishes_begin(&c->wishes, cfg->run.margin);
    c->earlier_s = resume ? resume->time_s : 0.0;
    snprintf(c->run_id, sizeof c->run_id, "%s", run_id);
    if (resume) SHOAL_GOTO(joined_remember(&c->joined, resume));
    struct shard_mark **const marks[] = {&c->shards, &c->kept, &c->next};
    for (int i = 0; i < 3; i++)
        SHOAL_GOTO(mem_alloc((size_t)cfg->population.experts * sizeof **marks[i], "what shards are",
                             marks[i]));
    for (int k = 0; k < cfg->population.experts; k++)
        c->kept[k] = resume && resume->shards
                         ? resume->shards[k]
                         : (struct shard_mark){.expert = k, .age = resume ? 0 : -1};
    SHOAL_GOTO(config_text(cfg, &c->config_text));
    SHOAL_GOTO(coordinator_state_create(cfg, comm_workers(comm), resume ? &resume->standing : NULL,
                                        resume ? resume->judgings : NULL,
                                        resume ? resume->n_judgings : 0, &c->state));
    SHOAL_GOTO(metrics_open(cfg->run.out, &c->metrics));
    SHOAL_GOTO(display_create_stdout(&c->display));
    if (comm_world_size(comm) == 1) comm_set_local(comm, hear, c);
    *out = c;
    return SHOAL_OK;
done:
    coordinator_destroy(&c);
    return st;
}

void coordinator_destroy(struct coordinator **c)
{
    if (!*c) return;
    if (comm_world_size((*c)->comm) == 1) comm_set_local((*c)->comm, NULL, NULL);
    display_destroy(&(*c)->display);
    metrics_close(&(*c)->metrics);
    coordinator_state_destroy(&(*c)->state);
    mem_free((*c)->config_text);
    mem_free((*c)->shards);
    mem_free((*c)->kept);
    mem_free((*c)->next);
    joined_free(&(*c)->joined);
    mem_free(*c);
    *c = NULL;
}

static enum shoal_status announce(struct coordinator *c, double now_s)
{
    const struct config *cfg = &c->config;
    const int experts = cfg->population.experts, workers = comm_workers(c->comm);
    const struct metrics_start start = {.run_id = c->run_id,
                                        .resumed = c->resumed,
                                        .experts = experts,
                                        .members = coordinator_members(cfg),
                                        .workers = workers,
                                        .params = c->params,
                                        .step = (int64_t)c->track.step,
                                        .steps = cfg->run.steps,
                                        .tokens_per_step =
                                            (int64_t)cfg->train.batch * cfg->model.context};
    const struct display_shape shape = {.experts = experts,
                                        .workers = workers,
                                        .params = c->params,
                                        .step = start.step,
                                        .steps = cfg->run.steps,
                                        .out = cfg->run.out,
                                        .has_recombinant = cfg->evolution.recombine};
    display_start(c->display, &shape);
    SHOAL_TRY(metrics_write_start(c->metrics, now_s, &start));
    return joined_tell(&c->joined, c->metrics, now_s);
}

enum shoal_status coordinator_start(struct coordinator *c)
{
    struct standing standing;
    struct actions actions;
    const struct event event = {.kind = EVENT_START, .time_s = run_time(c)};
    coordinator_standing(c->state, &standing);
    track_begin(&c->track, &c->config, comm_workers(c->comm), &standing, event.time_s);
    SHOAL_TRY(announce(c, event.time_s));
    SHOAL_TRY(coordinator_step(c->state, &event, &actions));
    return act(c, &actions);
}

enum shoal_status coordinator_run(struct coordinator *c)
{
    char record[COMM_MAX_RECORD];
    while (!c->finished) {
        size_t bytes = 0;
        int worker = -1;
        bool got = false;
        SHOAL_TRY(comm_hear(c->comm, record, &bytes, &worker, listen_s, &got));
        SHOAL_TRY(look_for_losses(c));
        if (got) {
            SHOAL_TRY(hear(c, record, bytes));
        } else {
            SHOAL_TRY(look_around(c));
            show_progress(c);
        }
    }
    return comm_bid_farewell(c->comm);
}
