/* sim_round.c - the round of a simulated worker, as src/worker/round.c and rescue.c have it. */
#include "coordinator/sim_stages.h"
#include "evo/plan.h"

const struct evo_rule *sim_rule(const struct world *s, int group)
{
    const struct config *c = &s->sim->config;
    return group == PHYSICS_BODY ? &c->evolution.body : &c->evolution.io;
}

static bool evolves(const struct world *s)
{
    return sim_rule(s, PHYSICS_BODY)->attractor != ATTRACT_NONE ||
           sim_rule(s, PHYSICS_IO)->attractor != ATTRACT_NONE;
}

int64_t sim_begin_round(const struct world *s, struct sim_worker *w, int64_t step, bool judged)
{
    w->step = step;
    w->judged = judged;
    return go(w, evolves(s) ? STAGE_LIVE : STAGE_TRAIN, GO_ON);
}

/* The member that leads comes here for the dead of groups that do not evolve. */
int64_t sim_rescue(struct world *s, struct sim_worker *w)
{
    const struct order *o = w->task;
    const int experts = s->oracle.experts;
    const bool all_evolve = sim_rule(s, PHYSICS_BODY)->attractor != ATTRACT_NONE &&
                            sim_rule(s, PHYSICS_IO)->attractor != ATTRACT_NONE;
    if (!o->round || !o->judged || all_evolve || live_count(&o->live, experts) == experts)
        return go(w, STAGE_ROUND, GO_ON);
    if (is_mean(s, o->best) && w->mean_fresh) return go(w, STAGE_RESCUED, GO_ON);
    const int root = is_mean(s, o->best) ? -1 : owner(s, o->best);
    struct call *c = group_enter(s, w,
                                 &(struct call_id){.kind = root < 0 ? CALL_ADD : CALL_RESCUE,
                                                   .step = o->step,
                                                   .member = o->best,
                                                   .root = root});
    for (int k = w->first; root < 0 && k < w->first + w->n_own; k++)
        if (live_has(&o->live, k)) physics_add(&c->blend, k, &s->experts[k]);
    if (root == w->number) c->weights = s->experts[o->best];
    return go(w, STAGE_RESCUED, group_leave(s, w));
}

int64_t sim_rescued(struct world *s, struct sim_worker *w)
{
    const struct order *o = w->task;
    if (is_mean(s, o->best) && !w->mean_fresh) w->mean = physics_mean(&w->call->blend);
    const struct weights *best = is_mean(s, o->best) ? &w->mean : &w->call->weights;
    for (int k = w->first; k < w->first + w->n_own; k++)
        for (int g = 0; g < PHYSICS_GROUPS; g++)
            if (sim_rule(s, g)->attractor == ATTRACT_NONE && !live_has(&o->live, k))
                physics_evolve(&s->experts[k].group[g], best->group[g], o->step, true);
    return go(w, STAGE_ROUND, GO_ON);
}

int64_t sim_ordered_round(struct world *s, struct sim_worker *w)
{
    const struct order *o = w->task;
    return o->round ? sim_begin_round(s, w, o->step, o->judged != 0) : go(w, STAGE_TRAIN, GO_ON);
}

int64_t sim_find_live(struct world *s, struct sim_worker *w)
{
    w->live = &w->task->live;
    if (w->judged) return go(w, STAGE_CHOOSE, GO_ON);
    struct call *c =
        group_enter(s, w, &(struct call_id){.kind = CALL_LIVE, .step = w->step, .root = -1});
    for (int k = w->first; k < w->first + w->n_own; k++)
        live_put(&c->live, k, physics_trains(&s->sim->physics, &s->experts[k]));
    w->live = &c->live;
    return go(w, STAGE_CHOOSE, group_leave(s, w));
}

static int choose_one(const struct world *s, const struct sim_worker *w, int group)
{
    const struct config *c = &s->sim->config;
    const int experts = s->oracle.experts;
    const int member = plan_attractor(sim_rule(s, group), w->task->best,
                                      w->step / c->evolution.every, experts, w->live);
    const bool there = member == experts ? live_next(w->live, 0, experts) >= 0
                                         : member >= 0 && live_has(w->live, member);
    return there ? member : -1;
}

int64_t sim_choose(struct world *s, struct sim_worker *w)
{
    for (int g = 0; g < PHYSICS_GROUPS; g++)
        w->toward[g] = choose_one(s, w, g);
    sim_find_follows(s, w);
    w->group = 0;
    return go(w, STAGE_FETCH, GO_ON);
}

/* Bring the attractor of the group at hand here. */
int64_t sim_fetch(struct world *s, struct sim_worker *w)
{
    if (w->group == PHYSICS_GROUPS) return go(w, STAGE_MOVE, GO_ON);
    const int member = w->toward[w->group];
    const bool mean = is_mean(s, member);
    const bool moments = sim_rule(s, w->group)->moments == MOMENTS_INHERIT;
    if (member < 0 || (mean && w->mean_fresh && !moments)) return go(w, STAGE_FETCHED, GO_ON);
    const int root = mean ? -1 : owner(s, member);
    struct call *c = group_enter(s, w,
                                 &(struct call_id){.kind = mean ? CALL_ADD : CALL_FETCH,
                                                   .step = w->step,
                                                   .member = member,
                                                   .group = w->group,
                                                   .root = root});
    for (int k = w->first; mean && k < w->first + w->n_own; k++)
        if (live_has(w->live, k)) physics_add(&c->blend, k, &s->experts[k]);
    if (root == w->number) c->value = s->experts[member].group[w->group];
    return go(w, STAGE_FETCHED, group_leave(s, w));
}

int64_t sim_fetched(struct world *s, struct sim_worker *w)
{
    const int g = w->group++, member = w->toward[g];
    const bool moments = sim_rule(s, g)->moments == MOMENTS_INHERIT;
    if (is_mean(s, member)) {
        if (moments || !w->mean_fresh) w->mean.group[g] = physics_mean(&w->call->blend).group[g];
        w->source[g] = w->mean.group[g];
    } else if (member >= 0) {
        w->source[g] = w->call->value;
    }
    return go(w, STAGE_FETCH, GO_ON);
}

int64_t sim_move(struct world *s, struct sim_worker *w)
{
    const int *toward = w->toward;
    const bool follow = w->follows[PHYSICS_BODY] || w->follows[PHYSICS_IO];
    if (toward[PHYSICS_BODY] < 0 && toward[PHYSICS_IO] < 0 && !follow)
        return go(w, STAGE_TRAIN, GO_ON);
    audit_round(&s->audit, w->number, w->step, toward, w->follows, w->live);
    for (int k = w->first; k < w->first + w->n_own; k++)
        for (int g = 0; g < PHYSICS_GROUPS; g++)
            if (toward[g] >= 0 && toward[g] != k)
                physics_evolve(&s->experts[k].group[g], w->source[g], w->step,
                               !live_has(w->live, k));
    w->pull = 0;
    return go(w, follow ? STAGE_FOLLOW : STAGE_ROUND_DONE, world_work_us(s, w, MOVE_US));
}

int64_t sim_round_done(struct world *s, struct sim_worker *w)
{
    const int member = w->toward[0] >= 0 ? w->toward[0] : w->toward[1];
    if (w->number == 0) say(s, w, REPORT_ROUND, member, w->step, 0.0);
    s->out->rounds += w->number == 0;
    return go(w, STAGE_TRAIN, GO_ON);
}
