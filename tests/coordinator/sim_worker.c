/* sim_worker.c - a worker as src/worker/ has it, one stage per thing it can wait for. */
#include <math.h>
#include <string.h>
#include "coordinator/sim_stages.h"

void sim_worker_begin(struct world *s, int number, int64_t step)
{
    struct sim_worker *w = &s->workers[number];
    const struct line line = {.ring = w->line.ring, .capacity = w->line.capacity};
    memset(w, 0, sizeof *w);
    w->number = number;
    w->first = first_expert(s, number);
    w->n_own = first_expert(s, number + 1) - w->first;
    w->step = step;
    w->line = line;
    w->awaits = -1;
    w->slowness = (int)world_draw(s, 64) < s->sim->straggler_in_64 ? 30 : 1;
    say(s, w, REPORT_DEVICE, 0, 0, 0.0);
}

/* ---- orders ---- */

static int64_t obey(struct world *s, struct sim_worker *w)
{
    do {
        w->waits = w->n_done == w->n_came;
        if (w->waits) return GROUP_WAIT;
        w->n_done++;
    } while (current(s, w)->halt);
    w->task = current(s, w);
    return go(w, STAGE_BEST, GO_ON);
}

static void need_mean(struct world *s, const struct sim_worker *w)
{
    if (!w->mean_fresh)
        audit_break(&s->audit, "worker %d needs the mean and has none at step %lld", w->number,
                    (long long)w->task->step);
}

static int64_t best(struct world *s, struct sim_worker *w)
{
    const struct order *o = w->task;
    if (!o->save_best || !holds(s, w, o->best)) return go(w, STAGE_EVAL, GO_ON);
    if (is_mean(s, o->best)) need_mean(s, w);
    return go(w, STAGE_BEST_WRITTEN, world_work_us(s, w, WRITE_US));
}

static int64_t best_written(struct world *s, struct sim_worker *w)
{
    const struct order *o = w->task;
    if (disk_fails(&s->disk)) {
        s->out->disk_errors++;
        audit_best(&s->audit, false);
        return go(w, STAGE_EVAL, GO_ON);
    }
    audit_best(&s->audit, true);
    const struct weights *weights = is_mean(s, o->best) ? &w->mean : &s->experts[o->best];
    s->disk.best = (struct best_file){
        .step = o->step, .member = o->best, .fitness = physics_fitness(&s->sim->physics, weights)};
    return go(w, STAGE_EVAL, GO_ON);
}

static int64_t eval(struct world *s, struct sim_worker *w)
{
    const struct order *o = w->task;
    if (!o->eval) return go(w, STAGE_SHARDS, GO_ON);
    if (!is_mean(s, o->best))
        return owns(w, o->best) ? go(w, STAGE_EVAL_DONE, world_work_us(s, w, JUDGE_US))
                                : go(w, STAGE_SHARDS, GO_ON);
    need_mean(s, w);
    (void)group_enter(
        s, w, &(struct call_id){.kind = CALL_EVAL, .step = o->step, .member = o->best, .root = -1});
    return go(w, STAGE_EVAL_DONE, group_leave(s, w));
}

static int64_t eval_done(struct world *s, struct sim_worker *w)
{
    const struct order *o = w->task;
    if (holds(s, w, o->best)) say(s, w, REPORT_EVAL, o->best, o->step, 1.0);
    return go(w, STAGE_SHARDS, GO_ON);
}

/* ---- halts ---- */

static void pass_wish(struct world *s, struct sim_worker *w)
{
    if (w->wish != WISH_NONE) say_count(s, w, REPORT_WISH, w->step, w->wish);
    w->wish = WISH_NONE;
}

static int64_t halt(struct world *s, struct sim_worker *w)
{
    bool asked = false;
    pass_wish(s, w);
    if (w->n_done < w->n_came) {
        asked = s->orders[w->n_done++].halt;
        if (!asked)
            audit_break(&s->audit, "worker %d finds an order in training at step %lld", w->number,
                        (long long)w->step);
    }
    struct call *c =
        group_enter(s, w, &(struct call_id){.kind = CALL_HALT, .step = w->step, .root = -1});
    c->asked = c->asked || asked;
    return go(w, STAGE_HALTED, group_leave(s, w));
}

static int64_t wait_for_writer(struct sim_worker *w)
{
    w->drains = true;
    return GROUP_WAIT;
}

static int64_t halted(struct world *s, struct sim_worker *w)
{
    if (!w->call->asked) return sim_begin_round(s, w, w->step, false);
    if (w->writing) return wait_for_writer(w);
    if (w->number == 0) say_count(s, w, REPORT_HALTED, w->step, 0);
    return go(w, STAGE_OBEY, GO_ON);
}

/* ---- shards ---- */

static int64_t shards(struct world *s, struct sim_worker *w)
{
    if (!w->task->snapshot) return go(w, STAGE_NEXT, GO_ON);
    if (w->writing) return wait_for_writer(w);
    sim_writer_begin(s, w, w->task->step);
    return go(w, STAGE_NEXT, GO_ON);
}

static int64_t next(struct world *s, struct sim_worker *w)
{
    (void)s;
    w->step = w->task->step;
    return w->task->stop ? go(w, STAGE_GONE, GROUP_WAIT) : go(w, STAGE_RESCUE, GO_ON);
}

/* ---- training and judging ---- */

static int64_t train(struct world *s, struct sim_worker *w)
{
    const int64_t every = w->task->every, until = w->task->until;
    const int64_t round = (w->step / every + 1) * every;
    w->own = 0;
    if (w->step >= until) return go(w, STAGE_DRAIN, GO_ON);
    w->next = round < until ? round : until;
    w->mean_fresh = false;
    return go(w, STAGE_TRAINED, world_work_us(s, w, TRAIN_US));
}

static int64_t trained(struct world *s, struct sim_worker *w)
{
    const int expert = w->first + w->own;
    const int64_t log = s->sim->config.run.log;
    physics_train(&s->experts[expert], expert, w->step, w->next);
    for (int64_t step = (w->step / log + 1) * log; step <= w->next; step += log)
        say(s, w, REPORT_STEP, expert, step, 1.0);
    if (++w->own < w->n_own) return world_work_us(s, w, TRAIN_US);
    w->step = w->next;
    return go(w, w->step < w->task->until ? STAGE_HALT : STAGE_TRAIN, GO_ON);
}

/* One snapshot is finished before the next may be ordered; a worker cannot foresee to the second
 * when the clock will stop the run. */
static int64_t drain(struct world *s, struct sim_worker *w)
{
    const struct config *c = &s->sim->config;
    const int64_t step = w->task->until, every = c->snapshot.every;
    const bool due = (every > 0 && step % every == 0) || step >= c->run.steps;
    const bool may_stop = c->run.minutes > 0 && world_draw(s, 2);
    w->own = 0;
    if (w->writing && (due || may_stop)) return wait_for_writer(w);
    return go(w, STAGE_JUDGE, GO_ON);
}

static int64_t judge(struct world *s, struct sim_worker *w)
{
    pass_wish(s, w);
    return go(w, STAGE_JUDGED, world_work_us(s, w, JUDGE_US));
}

/* The lowest expert of a worker is judged first; the fitnesses are then added up. */
static int64_t judged(struct world *s, struct sim_worker *w)
{
    const struct physics *p = &s->sim->physics;
    const int64_t step = w->task->until;
    const int expert = w->first + w->own;
    say(s, w, REPORT_FITNESS, expert, step, physics_fitness(p, &s->experts[expert]));
    if (++w->own < w->n_own) return world_work_us(s, w, JUDGE_US);
    if (!s->sim->config.evolution.recombine) return go(w, STAGE_OBEY, GO_ON);
    struct call *c =
        group_enter(s, w, &(struct call_id){.kind = CALL_FITNESS, .step = step, .root = -1});
    for (int k = w->first; k < w->first + w->n_own; k++)
        live_put(&c->live, k, isfinite(physics_fitness(p, &s->experts[k])));
    w->live = &c->live;
    return go(w, STAGE_MEAN, group_leave(s, w));
}

static int64_t mean(struct world *s, struct sim_worker *w)
{
    const int64_t step = w->task->until;
    if (live_next(w->live, 0, s->oracle.experts) < 0) {
        if (w->number == 0) say(s, w, REPORT_FITNESS, s->oracle.experts, step, (double)NAN);
        return go(w, STAGE_OBEY, GO_ON);
    }
    struct call *c =
        group_enter(s, w, &(struct call_id){.kind = CALL_ADD, .step = step, .root = -1});
    for (int k = w->first; k < w->first + w->n_own; k++)
        if (live_has(w->live, k)) physics_add(&c->blend, k, &s->experts[k]);
    return go(w, STAGE_MEAN_DONE, group_leave(s, w));
}

static int64_t mean_done(struct world *s, struct sim_worker *w)
{
    w->mean = physics_mean(&w->call->blend);
    w->mean_fresh = true;
    (void)group_enter(s, w,
                      &(struct call_id){.kind = CALL_PASSES, .step = w->task->until, .root = -1});
    return go(w, STAGE_PASSES_DONE, group_leave(s, w));
}

static int64_t passes_done(struct world *s, struct sim_worker *w)
{
    if (w->number == 0)
        say(s, w, REPORT_FITNESS, s->oracle.experts, w->task->until,
            physics_fitness(&s->sim->physics, &w->mean));
    return go(w, STAGE_OBEY, GO_ON);
}

static int64_t gone(struct world *s, struct sim_worker *w)
{
    audit_break(&s->audit, "worker %d is called after its end", w->number);
    return GROUP_WAIT;
}

static const struct {
    const char *name;
    int64_t (*run)(struct world *, struct sim_worker *);
} stages[STAGES] = {
    [STAGE_OBEY] = {"obey", obey},
    [STAGE_BEST] = {"save the best", best},
    [STAGE_BEST_WRITTEN] = {"the best is written", best_written},
    [STAGE_EVAL] = {"evaluate", eval},
    [STAGE_EVAL_DONE] = {"evaluated", eval_done},
    [STAGE_RESCUE] = {"rescue the dead", sim_rescue},
    [STAGE_RESCUED] = {"rescued", sim_rescued},
    [STAGE_ROUND] = {"round if ordered", sim_ordered_round},
    [STAGE_LIVE] = {"find who is alive", sim_find_live},
    [STAGE_CHOOSE] = {"choose attractors", sim_choose},
    [STAGE_FETCH] = {"fetch", sim_fetch},
    [STAGE_FETCHED] = {"fetched", sim_fetched},
    [STAGE_MOVE] = {"move", sim_move},
    [STAGE_FOLLOW] = {"follow", sim_follow},
    [STAGE_ROUND_DONE] = {"round done", sim_round_done},
    [STAGE_HALT] = {"agree to halt", halt},
    [STAGE_HALTED] = {"halt or train", halted},
    [STAGE_SHARDS] = {"write shards if ordered", shards},
    [STAGE_NEXT] = {"stop or go on", next},
    [STAGE_TRAIN] = {"train", train},
    [STAGE_TRAINED] = {"trained", trained},
    [STAGE_DRAIN] = {"finish a snapshot", drain},
    [STAGE_JUDGE] = {"judge", judge},
    [STAGE_JUDGED] = {"judged", judged},
    [STAGE_MEAN] = {"make the mean", mean},
    [STAGE_MEAN_DONE] = {"judge the mean", mean_done},
    [STAGE_PASSES_DONE] = {"mean judged", passes_done},
    [STAGE_GONE] = {"gone", gone},
};

const char *sim_worker_stage(const struct sim_worker *w)
{
    return stages[w->stage].name;
}

static void trace(const struct world *s, const struct sim_worker *w, int64_t delay)
{
    const long long step = (long long)w->step;
    const char *stage = sim_worker_stage(w);
    if (delay > 0)
        world_trace(s, "worker %d: %lld us to '%s' at step %lld", w->number, (long long)delay,
                    stage, step);
    else
        world_trace(s, "worker %d: waits before '%s' at step %lld", w->number, stage, step);
}

void sim_worker_go(struct world *s, struct sim_worker *w)
{
    int64_t delay = GO_ON;
    while (delay == GO_ON && !s->audit.broken[0])
        delay = stages[w->stage].run(s, w);
    if (s->trace) trace(s, w, delay);
    if (delay > 0) world_wake(s, w->number, delay);
}
