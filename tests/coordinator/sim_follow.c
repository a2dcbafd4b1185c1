/* sim_follow.c - a round in which experts follow different ones, as src/worker/follow.c has it. Who
 * sends waits for who receives, which is stricter than MPI. */
#include "coordinator/sim_stages.h"
#include "evo/select.h"

void sim_find_follows(const struct world *s, struct sim_worker *w)
{
    const struct config *c = &s->sim->config;
    const size_t experts = (size_t)s->oracle.experts;
    for (int g = 0; g < PHYSICS_GROUPS; g++) {
        const enum attractor attractor = (enum attractor)sim_rule(s, g)->attractor;
        w->follows[g] = NULL;
        if (!w->judged || w->step == 0 || !select_applies(attractor)) continue;
        const struct selection selection = {.experts = s->oracle.experts,
                                            .seed = (uint64_t)c->run.seed,
                                            .round = w->step / c->evolution.every,
                                            .live = w->live,
                                            .ranked =
                                                s->ranked + (size_t)(w->task - s->orders) * experts,
                                            .top = c->evolution.top};
        int32_t *const room = s->follows + 4 * (size_t)w->number * experts;
        int32_t *const source = room + (2 + (size_t)g) * experts;
        select_sources(attractor, &selection, source, room);
        w->follows[g] = source;
    }
}

/* Whether what member `source` has of a group has come from one worker to the other. */
static bool meet(struct world *s, struct sim_worker *w, int other, int source, int group)
{
    struct sim_worker *o = &s->workers[other];
    const bool met = w->met;
    w->met = false;
    if (met) return true;
    if (o->awaits != w->number) {
        w->awaits = other;
        return false;
    }
    if (o->pull != w->pull)
        audit_break(&s->audit, "workers %d and %d meet for different experts at step %lld",
                    w->number, other, (long long)w->step);
    w->gift = o->gift = s->experts[source].group[group];
    o->awaits = -1;
    o->met = true;
    world_wake(s, other, world_latency_us(s));
    return true;
}

int64_t sim_follow(struct world *s, struct sim_worker *w)
{
    for (; w->pull < s->oracle.experts * PHYSICS_GROUPS; w->pull++) {
        const int k = w->pull / PHYSICS_GROUPS, g = w->pull % PHYSICS_GROUPS;
        const int source = w->follows[g] ? w->follows[g][k] : -1;
        if (source < 0) continue;
        const int from = owner(s, source), to = owner(s, k);
        if (from != w->number && to != w->number) continue;
        if (from != to && !meet(s, w, from == w->number ? to : from, source, g)) return GROUP_WAIT;
        if (to != w->number) continue;
        physics_evolve(&s->experts[k].group[g], from == to ? s->experts[source].group[g] : w->gift,
                       w->step, !live_has(w->live, k));
    }
    return go(w, STAGE_ROUND_DONE, GO_ON);
}
