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
#include "coordinator/display.h"
#include "coordinator/metrics.h"
#include "coordinator/state.h"
#include "coordinator/track.h"

_Static_assert(sizeof(struct order) + SHOAL_MAX_EXPERTS * sizeof(uint16_t) <= COMM_MAX_RECORD,
               "an order is one record");

/* How long to listen before the screen is looked after again. */
static const double listen_s = 0.2;

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
    double begun_s, earlier_s; /* clock at the start; run time of earlier sessions */
    int64_t late;              /* reports ignored */
    struct coordinator_state *state;
    struct metrics *metrics;
    struct display *display;
    struct track track;
    struct snapshot_cost cost;
    double peak_bytes[SHOAL_MAX_EXPERTS]; /* of each worker's memory; as many as stall_s */
};

static double run_time(const struct coordinator *c)
{
    return c->earlier_s + clock_now_s() - c->begun_s;
}

/* ---- what the state machine asks for ---- */

static enum shoal_status record_judging(struct coordinator *c, const struct judging *judged)
{
    const int members = coordinator_members(&c->config);
    struct judging_row row;
    struct standing standing;
    coordinator_standing(c->state, &standing);
    track_judging(&c->track, judged, members, &standing, &row);
    display_judging(c->display, &row);
    return metrics_write_judging(c->metrics, judged->time_s, judged, c->config.population.experts,
                                 members, &standing);
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

static enum shoal_status commit_snapshot(struct coordinator *c, int64_t step)
{
    const char *run = c->config.run.out;
    struct snapshot_index index = {.experts = c->config.population.experts,
                                   .members = coordinator_members(&c->config),
                                   .workers = comm_workers(c->comm),
                                   .time_s = run_time(c),
                                   .config = c->config_text};
    double stall_s = 0.0;
    int64_t index_bytes = 0;
    memcpy(index.run_id, c->run_id, sizeof index.run_id);
    index.judgings = coordinator_snapshot(c->state, &index.standing, &index.n_judgings);
    SHOAL_TRY(index_write(run, &index, &index_bytes));
    SHOAL_TRY(index_prune(run, c->config.snapshot.keep));
    for (int w = 0; w < index.workers; w++)
        if (c->cost.stall_s[w] > stall_s) stall_s = c->cost.stall_s[w];
    const double now_s = run_time(c);
    return metrics_write_snapshot(c->metrics, now_s, step, now_s - c->cost.ordered_s, stall_s,
                                  c->cost.bytes + index_bytes);
}

static enum shoal_status end_run(struct coordinator *c)
{
    char best_path[SHOAL_MAX_PATH];
    struct standing standing;
    coordinator_standing(c->state, &standing);
    SHOAL_TRY(run_best_path(best_path, c->config.run.out));
    const struct run_summary summary = {.step = standing.step,
                                        .steps = c->config.run.steps,
                                        .time_s = run_time(c),
                                        .tokens = track_tokens(&c->track),
                                        .skipped = track_all_skipped(&c->track),
                                        .experts = c->config.population.experts,
                                        .champion = standing.champion,
                                        .champion_step = standing.champion_step,
                                        .champion_fitness = standing.champion_fitness,
                                        .best_path = best_path};
    const struct metrics_end end = {.tokens = (int64_t)summary.tokens,
                                    .skipped = summary.skipped,
                                    .late = c->late,
                                    .peak_bytes = c->peak_bytes,
                                    .workers = comm_workers(c->comm)};
    display_summary(c->display, &summary);
    c->finished = true;
    return metrics_write_end(c->metrics, summary.time_s, &standing, &end);
}

/* An order, and after it the ranking where a rule needs it, as one record. */
static enum shoal_status send_order(struct coordinator *c, const struct actions *actions)
{
    const int experts = c->config.population.experts;
    const size_t bytes = order_bytes(experts);
    unsigned char record[COMM_MAX_RECORD];
    memcpy(record, &actions->order, bytes);
    if (actions->ranked)
        memcpy(record + bytes, actions->ranked, (size_t)experts * sizeof *actions->ranked);
    return comm_order(c->comm, record, order_record_bytes(&c->config));
}

static enum shoal_status act(struct coordinator *c, const struct actions *actions)
{
    if (actions->send) {
        SHOAL_TRY(send_order(c, actions));
        if (actions->order.snapshot) {
            memset(&c->cost, 0, sizeof c->cost);
            c->cost.ordered_s = run_time(c);
        }
    }
    if (actions->judged) SHOAL_TRY(record_judging(c, actions->judged));
    if (actions->paced)
        SHOAL_TRY(record_cadence(c, actions->paced, actions->order.step, actions->order.every));
    if (actions->commit) SHOAL_TRY(commit_snapshot(c, actions->commit_step));
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
    if (r->worker < 0 || r->worker >= SHOAL_MAX_EXPERTS) return;
    c->cost.stall_s[r->worker] += r->value[0];
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

/* Also the handler of a world of one: owner is the coordinator. */
static enum shoal_status hear(void *owner, const void *record, size_t bytes)
{
    struct coordinator *c = owner;
    struct event event = {.kind = EVENT_REPORT, .time_s = run_time(c)};
    struct actions actions;
    if (bytes != sizeof event.report) {
        log_warn("ignored a report of %zu bytes; do all ranks run the same build?", bytes);
        return SHOAL_OK;
    }
    memcpy(&event.report, record, sizeof event.report);
    const enum shoal_status decided = coordinator_step(c->state, &event, &actions);
    if (decided != SHOAL_OK) {
        /* The judging that ends the run is worth a line; its own failure would hide the cause. */
        if (actions.judged) (void)record_judging(c, actions.judged);
        return decided;
    }
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
    c->begun_s = clock_now_s();
    c->earlier_s = resume ? resume->time_s : 0.0;
    snprintf(c->run_id, sizeof c->run_id, "%s", run_id);
    SHOAL_GOTO(config_text(cfg, &c->config_text));
    SHOAL_GOTO(coordinator_state_create(cfg, resume ? &resume->standing : NULL,
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
    return metrics_write_start(c->metrics, now_s, &start);
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
        if (got)
            SHOAL_TRY(hear(c, record, bytes));
        else
            show_progress(c);
    }
    return SHOAL_OK;
}
