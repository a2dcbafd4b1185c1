/* simulator.c - lines, deaths, and one session after the other until the run has ended. A session
 * is what a launcher starts and ends: when one process dies the others go on for a while, then all
 * are killed, and the next session resumes from what is on disk. */
#include "coordinator/simulator.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "coordinator/world.h"

/* Kinds of events, in the upper bits; a worker's or a stray's number in the lower. */
enum { WAKE, WRITE, REPORT, ORDER, STRAY, LAUNCHER };
enum { KIND_SHIFT = 28 };

static void add_event(struct world *s, int64_t delay_us, int kind, int number)
{
    queue_push(&s->queue, s->now_us + delay_us, (uint32_t)kind << KIND_SHIFT | (uint32_t)number);
}

/* ---- world.h ---- */

uint64_t world_draw(struct world *s, uint64_t below)
{
    s->draw ^= s->draw << 13;
    s->draw ^= s->draw >> 7;
    s->draw ^= s->draw << 17;
    return ((s->draw >> 32) * below) >> 32;
}

int64_t world_latency_us(struct world *s)
{
    const int64_t us = 1 + (int64_t)world_draw(s, (uint64_t)s->sim->latency_us);
    return world_draw(s, 64) == 0 ? 20 * us : us;
}

int64_t world_work_us(struct world *s, const struct sim_worker *w, int64_t base_us)
{
    return w->slowness * (base_us / 2 + (int64_t)world_draw(s, (uint64_t)base_us));
}

void world_wake(struct world *s, int worker, int64_t delay_us)
{
    add_event(s, delay_us, WAKE, worker);
}

void world_write(struct world *s, int worker, int64_t delay_us)
{
    add_event(s, delay_us, WRITE, worker);
}

void world_trace(const struct world *s, const char *format, ...)
{
    va_list arguments;
    if (!s->trace) return;
    fprintf(s->trace, "%10.6f  ", (double)(s->now_us - s->begun_us) * 1e-6);
    va_start(arguments, format);
    (void)vfprintf(s->trace, format, arguments);
    va_end(arguments);
    putc('\n', s->trace);
}

void world_die(struct world *s, int worker, const char *why)
{
    if (worker < 0) {
        s->coordinator_dead = true;
        for (int i = 0; i < s->n_workers; i++)
            s->workers[i].deaf = world_draw(s, 2) != 0;
    } else {
        struct line *line = &s->workers[worker].line;
        s->workers[worker].dead = true;
        line->n -= (int)world_draw(s, (uint64_t)line->n + 1); /* what never left */
    }
    s->out->deaths++;
    if (s->trace && worker < 0) world_trace(s, "the coordinator is gone: %s", why);
    if (s->trace && worker >= 0) world_trace(s, "worker %d is gone: %s", worker, why);
    if (!s->doomed) add_event(s, 1 + (int64_t)world_draw(s, 30000), LAUNCHER, 0);
    s->doomed = true;
}

/* ---- lines ---- */

static void grow(struct line *line)
{
    const int capacity = line->capacity > 0 ? 2 * line->capacity : 8;
    struct report *ring = calloc((size_t)capacity, sizeof *ring);
    if (!ring) abort();
    for (int i = 0; i < line->n; i++)
        ring[i] = line->ring[(line->first + i) % line->capacity];
    free(line->ring);
    line->ring = ring;
    line->first = 0;
    line->capacity = capacity;
}

/* When something sent now arrives, after all that was sent before. */
static int64_t arrival_us(struct world *s, int64_t *newest_us)
{
    const int64_t us = s->now_us + world_latency_us(s);
    if (us > *newest_us) *newest_us = us;
    return *newest_us;
}

void world_say(struct world *s, struct sim_worker *w, const struct report *r)
{
    struct line *line = &w->line;
    if (line->n == line->capacity) grow(line);
    line->ring[(line->first + line->n++) % line->capacity] = *r;
    add_event(s, arrival_us(s, &line->newest_us) - s->now_us, REPORT, w->number);
}

static void send_order(struct world *s, const struct actions *actions)
{
    const int experts = s->oracle.experts;
    if (s->n_orders == s->max_orders) {
        audit_break(&s->audit, "more orders than judgings");
        return;
    }
    if (s->ranked && actions->ranked)
        memcpy(s->ranked + (size_t)s->n_orders * (size_t)experts, actions->ranked,
               (size_t)experts * sizeof *s->ranked);
    s->orders[s->n_orders++] = actions->order;
    for (int i = 0; i < s->n_workers; i++)
        add_event(s, arrival_us(s, &s->workers[i].order_us) - s->now_us, ORDER, i);
}

/* ---- the coordinator's surroundings, as loop.c has them ---- */

static void commit(struct world *s, int64_t step)
{
    struct stored *stored = disk_find(&s->disk, step);
    int64_t n = 0;
    if (disk_fails(&s->disk)) {
        s->out->disk_errors++;
        s->lost = true;
        disk_drop(&s->disk, step);
        return;
    }
    if (!stored) {
        audit_break(&s->audit, "step %" PRId64 " is committed without a shard", step);
        return;
    }
    const struct judging *rows = coordinator_snapshot(s->coordinator, &stored->standing, &n);
    history_clear(&stored->judgings);
    stored->judgings.members = s->oracle.members;
    for (int64_t i = 0; i < n; i++)
        if (history_add(&stored->judgings, &rows[i]) != SHOAL_OK) abort();
    stored->time_s = (double)(s->now_us - s->begun_us) * 1e-6;
    stored->indexed = true;
    s->lost = false;
    const struct audit_index index = disk_index(&s->disk, stored, s->oracle.experts);
    audit_commit(&s->audit, &index);
    if (s->commit_death >= 0 && s->commit_death-- == 0) {
        world_die(s, -1, "killed after the commit");
        return;
    }
    disk_prune(&s->disk, s->sim->config.snapshot.keep);
}

static const char *const wish_text[] = {"do nothing", "save", "stop"};

static void trace_actions(const struct world *s, const struct event *event, const struct actions *a)
{
    const struct report *r = &event->report;
    const struct order *o = &a->order;
    const char *const kind[] = {"?",      "step",    "fitness", "eval", "round", "wrote",
                                "failed", "lineage", "device",  "wish", "halted"};
    if (event->kind == EVENT_WISH)
        world_trace(s, "the coordinator is asked to %s%s", wish_text[event->wish],
                    a->late ? " (late)" : "");
    if (a->send && o->halt) world_trace(s, "order: halt");
    if (event->kind == EVENT_REPORT)
        world_trace(s, "heard worker %d: %s of member %d at step %" PRId64 ", %g%s", r->worker,
                    kind[r->kind], r->member, r->step, r->value[0], a->late ? " (late)" : "");
    if (a->send && !o->halt)
        world_trace(s, "order: step %" PRId64 ", best %d (%g)%s%s%s%s%s, until %" PRId64, o->step,
                    o->best, o->best_fitness, o->save_best ? ", save" : "", o->eval ? ", eval" : "",
                    o->round ? ", round" : "", o->snapshot ? ", snapshot" : "",
                    o->stop ? ", stop" : "", o->until);
    if (a->abandon) world_trace(s, "step %" PRId64 " is given up", a->abandon_step);
    if (a->commit) world_trace(s, "commit of step %" PRId64, a->commit_step);
}

static void give(struct world *s, const struct event *event)
{
    struct actions actions;
    const enum shoal_status status = coordinator_step(s->coordinator, event, &actions);
    s->out->heard++;
    if (s->trace) trace_actions(s, event, &actions);
    audit_event(&s->audit, event, status, &actions);
    if (s->audit.broken[0]) return;
    if (status != SHOAL_OK) {
        s->out->diverged = s->over = true;
        return;
    }
    if (actions.abandon) disk_drop(&s->disk, actions.abandon_step);
    s->lost = s->lost || actions.abandon;
    if (actions.send) send_order(s, &actions);
    s->out->halts += actions.send && !actions.order.halt && !actions.order.judged;
    if (actions.commit) commit(s, actions.commit_step);
    s->finished = actions.finished && !s->coordinator_dead;
}

static void hear(struct world *s, const struct report *r)
{
    const struct event event = {
        .kind = EVENT_REPORT, .time_s = (double)(s->now_us - s->begun_us) * 1e-6, .report = *r};
    if (!s->coordinator_dead && !s->finished) give(s, &event);
}

/* ---- events ---- */

/* A report comes again later, or turned into one that nobody meant. */
static void make_stray(struct world *s, const struct report *r)
{
    int slot = 0;
    while (slot < STRAYS && s->stray_used[slot])
        slot++;
    if (slot == STRAYS) return;
    s->stray_used[slot] = true;
    s->strays[slot] = *r;
    if (world_draw(s, 4) == 0) {
        s->strays[slot].kind = world_draw(s, 2) ? REPORT_FITNESS : REPORT_WROTE;
        s->strays[slot].member = world_draw(s, 2) ? -1 : s->oracle.members;
    }
    s->out->strays++;
    add_event(s, (int64_t)world_draw(s, (uint64_t)1 << world_draw(s, 18)), STRAY, slot);
}

static void deliver(struct world *s, struct line *line)
{
    if (line->n == 0) return; /* lost with its sender */
    const struct report r = line->ring[line->first];
    line->first = (line->first + 1) % line->capacity;
    line->n--;
    if ((int)world_draw(s, 1024) < s->sim->noise_in_1024) make_stray(s, &r);
    hear(s, &r);
}

static void bring_order(struct world *s, struct sim_worker *w)
{
    if (w->dead || w->deaf) return;
    w->n_came++;
    if (w->waits) sim_worker_go(s, w);
}

static void happen(struct world *s, uint32_t what)
{
    const uint32_t number = what & (((uint32_t)1 << KIND_SHIFT) - 1);
    switch (what >> KIND_SHIFT) {
    case WAKE:
        if (!s->workers[number].dead) sim_worker_go(s, &s->workers[number]);
        break;
    case WRITE:
        if (!s->workers[number].dead) sim_writer_go(s, &s->workers[number]);
        break;
    case REPORT:
        deliver(s, &s->workers[number].line);
        break;
    case ORDER:
        bring_order(s, &s->workers[number]);
        break;
    case STRAY:
        s->stray_used[number] = false;
        hear(s, &s->strays[number]);
        break;
    default:
        world_trace(s, "the launcher ends what is left of the run");
        s->over = true;
    }
}

/* A signal to the coordinator, to one worker or to all processes. */
static void wish(struct world *s)
{
    const struct event event = {.kind = EVENT_WISH,
                                .time_s = (double)(s->now_us - s->begun_us) * 1e-6,
                                .wish = world_draw(s, 3) ? WISH_SNAPSHOT : WISH_STOP};
    const int whom = (int)world_draw(s, 3), one = (int)world_draw(s, (uint64_t)s->n_workers);
    s->out->wishes++;
    s->wish_in =
        ++s->n_wishes < WISHES ? (int64_t)world_draw(s, (uint64_t)1 << world_draw(s, 12)) : -1;
    for (int i = 0; i < s->n_workers; i++)
        if ((whom == 2 || (whom == 1 && i == one)) && s->workers[i].wish < event.wish)
            s->workers[i].wish = event.wish;
    if (whom > 0)
        world_trace(s, "%s asked to %s", whom == 2 ? "all are" : "a worker is",
                    wish_text[event.wish]);
    if (whom != 1 && !s->coordinator_dead && !s->finished) give(s, &event);
}

static void strike(struct world *s)
{
    const int victim = world_draw(s, 4) == 0 ? -1 : (int)world_draw(s, (uint64_t)s->n_workers);
    world_die(s, victim, "killed");
}

/* ---- sessions ---- */

static void draw_faults(struct world *s)
{
    s->death_in = s->commit_death = s->disk.errors_in = s->wish_in = -1;
    s->n_wishes = 0;
    if (s->out->sessions > s->sim->max_faults) return;
    if (s->sim->wishes) s->wish_in = (int64_t)world_draw(s, (uint64_t)1 << world_draw(s, 14));
    switch (world_draw(s, 4)) {
    case 0:
        s->disk.errors_in = (int64_t)world_draw(s, (uint64_t)1 << world_draw(s, 9));
        break;
    case 1:
        s->commit_death = (int64_t)world_draw(s, 3);
        break;
    default:
        s->death_in = (int64_t)world_draw(s, (uint64_t)1 << world_draw(s, 14));
    }
}

static void load_experts(struct world *s, const struct stored *from)
{
    const size_t bytes = (size_t)s->oracle.experts * sizeof *s->experts;
    if (from) memcpy(s->experts, from->shard, bytes);
    for (int k = 0; !from && k < s->oracle.experts; k++)
        s->experts[k] = physics_begin(&s->sim->physics, k);
}

static void clear_session(struct world *s, const struct stored *from)
{
    queue_clear(&s->queue);
    memset(s->stray_used, 0, sizeof s->stray_used);
    for (int i = 0; i < CALLS; i++)
        s->calls[i].n_entered = 0;
    s->coordinator_dead = s->doomed = s->over = s->finished = s->lost = false;
    s->n_orders = 0;
    s->n_workers = s->out->sessions > 0 && s->sim->resizes
                       ? 1 + (int)world_draw(s, (uint64_t)s->max_workers)
                       : s->sim->workers;
    s->out->sessions++;
    s->begun_us = s->now_us - (from ? (int64_t)(from->time_s * 1e6) : 0);
    load_experts(s, from);
    draw_faults(s);
}

/* New processes, fresh or from what is on disk. False: the run on disk is finished. */
static bool boot(struct world *s)
{
    const struct stored *from = disk_newest(&s->disk);
    const struct event start = {.kind = EVENT_START};
    if (from && from->step >= s->sim->config.run.steps) return false;
    clear_session(s, from);
    world_trace(s, "session %d of %d workers from step %" PRId64, (int)s->out->sessions,
                s->n_workers, from ? from->step : 0);
    coordinator_state_destroy(&s->coordinator);
    if (coordinator_state_create(&s->sim->config, s->n_workers, from ? &from->standing : NULL,
                                 from ? from->judgings.rows : NULL, from ? from->judgings.n : 0,
                                 &s->coordinator) != SHOAL_OK)
        abort();
    if (from) {
        const struct audit_index index = disk_index(&s->disk, from, s->oracle.experts);
        audit_begin(&s->audit, &index, s->n_workers);
    } else {
        audit_begin(&s->audit, NULL, s->n_workers);
    }
    for (int i = 0; i < s->n_workers; i++) {
        sim_worker_begin(s, i, from ? from->step : 0);
        world_wake(s, i, world_latency_us(s));
    }
    give(s, &start);
    return true;
}

/* Nothing will happen any more: that must be the end, for everybody. */
static void check_rest(struct world *s)
{
    struct standing standing;
    for (int i = 0; i < s->n_workers; i++)
        if (s->workers[i].stage != STAGE_GONE || s->workers[i].writing || s->workers[i].line.n > 0)
            audit_break(&s->audit, "worker %d waits for ever before '%s', after order %d of %d", i,
                        sim_worker_stage(&s->workers[i]), s->workers[i].n_done, s->n_orders);
    if (!s->finished) audit_break(&s->audit, "the coordinator waits for ever");
    coordinator_standing(s->coordinator, &standing);
    audit_end(&s->audit, &standing, s->lost);
}

static void run_session(struct world *s)
{
    struct queue_item item;
    while (!s->over && !s->audit.broken[0]) {
        if (!queue_pop(&s->queue, &item)) {
            check_rest(s);
            return;
        }
        s->now_us = item.time_us;
        if (++s->out->events > s->sim->max_events) audit_break(&s->audit, "the run does not end");
        if (s->death_in >= 0 && s->death_in-- == 0) strike(s);
        if (s->wish_in >= 0 && s->wish_in-- == 0) wish(s);
        happen(s, item.what);
    }
}

static void *reserve(size_t n, size_t bytes)
{
    void *p = calloc(n, bytes);
    if (!p) abort();
    return p;
}

static struct world *world_make(const struct simulation *sim, FILE *trace, struct outcome *out)
{
    struct world *s = reserve(1, sizeof *s);
    const int experts = sim->config.population.experts;
    memset(out, 0, sizeof *out);
    s->sim = sim;
    s->out = out;
    s->trace = trace;
    s->draw = physics_mix(sim->seed) | 1;
    s->max_workers = sim->resizes ? experts : sim->workers;
    s->max_orders = (int)(sim->config.run.steps / sim->config.evolution.judge) + 4 + 2 * WISHES;
    s->orders = reserve((size_t)s->max_orders, sizeof *s->orders);
    if (order_ranks(&sim->config)) {
        const size_t each = (size_t)experts;
        s->ranked = reserve((size_t)s->max_orders * each, sizeof *s->ranked);
        s->follows = reserve(4 * (size_t)s->max_workers * each, sizeof *s->follows);
    }
    s->workers = reserve((size_t)s->max_workers, sizeof *s->workers);
    s->experts = reserve((size_t)experts, sizeof *s->experts);
    s->staged = reserve((size_t)experts, sizeof *s->staged);
    oracle_make(&s->oracle, &sim->config, &sim->physics);
    audit_make(&s->audit, &s->oracle, s->max_workers);
    return s;
}

static void world_free(struct world *s)
{
    coordinator_state_destroy(&s->coordinator);
    disk_free(&s->disk);
    queue_free(&s->queue);
    audit_free(&s->audit);
    oracle_free(&s->oracle);
    for (int i = 0; i < s->max_workers; i++)
        free(s->workers[i].line.ring);
    free(s->workers);
    free(s->experts);
    free(s->staged);
    free(s->orders);
    free(s->ranked);
    free(s->follows);
    free(s);
}

void simulate(const struct simulation *sim, FILE *trace, struct outcome *out)
{
    struct world *s = world_make(sim, trace, out);
    const struct stored *last;
    while (!out->diverged && !s->finished && !s->audit.broken[0] && boot(s)) {
        run_session(s);
        /* One that was stopped as somebody wished is resumed like one that was killed. */
        s->finished = s->finished && !s->over && !s->lost && s->audit.wish != WISH_STOP;
    }
    last = disk_newest(&s->disk);
    if (last) out->standing = last->standing;
    if (last) out->judgings = last->judgings.n;
    out->commits = s->audit.n_commits;
    if (s->audit.broken[0])
        snprintf(out->broken, sizeof out->broken, "%s (event %" PRId64 ")", s->audit.broken,
                 out->events);
    world_free(s);
}
