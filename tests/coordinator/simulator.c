/* simulator.c - workers take orders late and report in any interleaving; the machine sees reports
 * repeated, invented, and whole runs killed and resumed. */
#include "coordinator/simulator.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include "base/memory.h"
#include "coordinator/history.h"

struct sim_worker {
    int first, end;      /* experts */
    int n_orders;        /* carried out so far */
    struct report *said; /* outbox, in order of speaking */
    int n_said, capacity;
    int n_delivered; /* of the outbox; the delivered ones come first */
};

struct world {
    const struct simulation *sim;
    uint64_t draw;
    double time_s;
    struct config config;
    struct coordinator_state *machine;
    struct audit audit;
    struct sim_worker *workers;
    struct order *orders; /* sent since the machine started */
    int n_orders, max_orders;
    bool saved; /* an index was committed: */
    struct standing saved_standing;
    struct history saved_history;
    struct outcome *out;
};

static uint64_t draw(struct world *w, uint64_t below)
{
    w->draw ^= w->draw << 13;
    w->draw ^= w->draw >> 7;
    w->draw ^= w->draw << 17;
    return (w->draw >> 11) % below;
}

static void *allocate(size_t bytes)
{
    void *p;
    assert_int_equal(mem_alloc(bytes, "the simulator", &p), SHOAL_OK);
    return p;
}

static void save_index(struct world *w)
{
    int64_t n;
    const struct judging *rows = coordinator_snapshot(w->machine, &w->saved_standing, &n);
    history_clear(&w->saved_history);
    w->saved_history.members = w->audit.members;
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(history_add(&w->saved_history, &rows[i]), SHOAL_OK);
    assert_int_equal(w->saved_standing.step, w->audit.committed);
    assert_int_equal(rows[n - 1].step, w->audit.committed);
    w->saved = true;
}

static void give(struct world *w, const struct event *event)
{
    struct actions actions;
    const enum shoal_status status = coordinator_step(w->machine, event, &actions);
    w->out->events++;
    audit_event(&w->audit, event, status, &actions);
    w->out->diverged = status != SHOAL_OK;
    if (actions.commit) save_index(w);
    if (!actions.send) return;
    assert_true(w->n_orders < w->max_orders);
    w->orders[w->n_orders++] = actions.order;
}

/* A new process: fresh, or from what is on disk. */
static void boot(struct world *w)
{
    const struct event start = {.kind = EVENT_START, .time_s = w->time_s};
    coordinator_state_destroy(&w->machine);
    assert_int_equal(coordinator_state_create(&w->config, w->saved ? &w->saved_standing : NULL,
                                              w->saved_history.rows, w->saved_history.n,
                                              &w->machine),
                     SHOAL_OK);
    audit_begin(&w->audit, &w->sim->shape, w->sim->seed, w->saved ? w->saved_standing.step : 0);
    if (w->saved) w->audit.committed = w->saved_standing.step;
    w->n_orders = 0;
    for (int i = 0; i < w->sim->workers; i++)
        w->workers[i].n_orders = w->workers[i].n_said = w->workers[i].n_delivered = 0;
    give(w, &start);
}

static void say(struct sim_worker *v, int number, enum report_kind kind, int member, int64_t step,
                double value)
{
    assert_true(v->n_said < v->capacity);
    v->said[v->n_said++] = (struct report){
        .kind = kind, .worker = number, .member = member, .step = step, .value = {value}};
}

static void carry_out(struct world *w, int number)
{
    struct sim_worker *v = &w->workers[number];
    const struct order *o = &w->orders[v->n_orders++];
    const uint64_t seed = w->sim->seed;
    v->n_said -= v->n_delivered;
    memmove(v->said, v->said + v->n_delivered, (size_t)v->n_said * sizeof *v->said);
    v->n_delivered = 0;
    const int evaluator = o->best == w->sim->shape.experts ? 0 : -1;
    if (o->eval && (number == evaluator || (o->best >= v->first && o->best < v->end)))
        say(v, number, REPORT_EVAL, o->best, o->step, 0.0);
    if (o->round && number == 0) say(v, number, REPORT_ROUND, o->best, o->step, 0.0);
    for (int k = v->first; o->snapshot && k < v->end; k++)
        say(v, number, REPORT_WROTE, k, o->step, 0.0);
    if (o->stop) return;
    for (int k = v->first; k < v->end; k++) {
        say(v, number, REPORT_STEP, k, o->until, 0.0);
        say(v, number, REPORT_FITNESS, k, o->until, audit_fitness(seed, k, o->until));
    }
    const int experts = w->sim->shape.experts;
    if (w->sim->shape.recombine && number == 0)
        say(v, number, REPORT_FITNESS, experts, o->until, audit_fitness(seed, experts, o->until));
}

static void deliver(struct world *w, struct sim_worker *v)
{
    struct event event = {.kind = EVENT_REPORT, .time_s = w->time_s};
    if (!w->sim->fifo) {
        const int other = v->n_delivered + (int)draw(w, (uint64_t)(v->n_said - v->n_delivered));
        const struct report swap = v->said[other];
        v->said[other] = v->said[v->n_delivered];
        v->said[v->n_delivered] = swap;
    }
    event.report = v->said[v->n_delivered++];
    give(w, &event);
}

/* A report that was delivered before, or one that nobody meant. */
static void disturb(struct world *w, const struct sim_worker *v)
{
    struct event event = {.kind = EVENT_REPORT, .time_s = w->time_s};
    if (v->n_delivered > 0 && draw(w, 2)) {
        event.report = v->said[draw(w, (uint64_t)v->n_delivered)];
    } else {
        const int members = w->audit.members;
        event.report.kind = draw(w, 2) ? REPORT_WROTE : REPORT_FITNESS;
        event.report.member = (int)draw(w, 3) == 0 ? members : -1;
        event.report.step = w->audit.last.until - (int64_t)draw(w, 3);
    }
    give(w, &event);
}

static void turn(struct world *w)
{
    struct sim_worker *v = &w->workers[draw(w, (uint64_t)w->sim->workers)];
    const bool has_order = v->n_orders < w->n_orders, has_said = v->n_delivered < v->n_said;
    w->time_s += 0.01;
    if (w->out->kills < w->sim->max_kills && draw(w, 128) == 0) {
        w->out->kills++;
        boot(w);
    } else if ((int)draw(w, 256) < w->sim->noise_in_256) {
        disturb(w, v);
    } else if (has_order && (!has_said || draw(w, 8) == 0)) {
        carry_out(w, (int)(v - w->workers));
    } else if (has_said) {
        deliver(w, v);
    }
}

static void world_make(struct world *w, const struct simulation *sim, struct outcome *out)
{
    const int experts = sim->shape.experts;
    memset(w, 0, sizeof *w);
    memset(out, 0, sizeof *out);
    w->sim = sim;
    w->out = out;
    w->draw = sim->seed * 0x9E3779B97F4A7C15u + 99;
    machine_config(&w->config, &sim->shape);
    w->max_orders = (int)(sim->shape.steps / sim->shape.judge) + 3;
    w->orders = allocate((size_t)w->max_orders * sizeof *w->orders);
    w->workers = allocate((size_t)sim->workers * sizeof *w->workers);
    for (int i = 0; i < sim->workers; i++) {
        struct sim_worker *v = &w->workers[i];
        v->first = i * experts / sim->workers;
        v->end = (i + 1) * experts / sim->workers;
        /* Without FIFO what was said may pile up, at most over the whole run. */
        v->capacity = (3 * (v->end - v->first) + 3) * (sim->fifo ? 2 : w->max_orders);
        v->said = allocate((size_t)v->capacity * sizeof *v->said);
    }
}

static void world_free(struct world *w)
{
    coordinator_state_destroy(&w->machine);
    history_clear(&w->saved_history);
    for (int i = 0; i < w->sim->workers; i++)
        mem_free(w->workers[i].said);
    mem_free(w->workers);
    mem_free(w->orders);
}

void simulate(const struct simulation *sim, struct outcome *out)
{
    struct world w;
    world_make(&w, sim, out);
    boot(&w);
    while (!w.audit.finished && !out->diverged)
        turn(&w);
    if (!out->diverged) {
        assert_int_equal(w.audit.n_stops, 1);
        if (sim->fifo) assert_int_equal(w.audit.n_evals, w.audit.n_evals_ordered);
        assert_int_equal(w.audit.committed, w.audit.last.step);
        coordinator_standing(w.machine, &out->standing);
        assert_int_equal(out->standing.champion, w.audit.champion);
        assert_int_equal(out->standing.champion_step, w.audit.champion_step);
        assert_int_equal(w.saved_history.rows[w.saved_history.n - 1].step, out->standing.step);
    }
    out->judgings = w.saved_history.n;
    out->commits = w.audit.n_commits;
    world_free(&w);
}
