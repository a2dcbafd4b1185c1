/* group.c - collectives of the workers, matched by their number on the communicator as MPI does. A
 * call that does not match the others' would exchange the wrong bytes or hang. */
#include "coordinator/world.h"

static void begin(const struct world *s, struct call *c, const struct sim_worker *w,
                  const struct call_id *what)
{
    c->number = w->n_calls;
    c->id = *what;
    c->n_entered = 0;
    c->root_here = false;
    c->waiting = -1;
    c->blend = (struct blend){.n = 0};
    c->asked = false;
    if (what->kind == CALL_LIVE || what->kind == CALL_FITNESS)
        live_none(&c->live, s->oracle.experts);
}

static bool same(const struct call_id *a, const struct call_id *b)
{
    return a->kind == b->kind && a->step == b->step && a->member == b->member &&
           a->group == b->group && a->root == b->root;
}

struct call *group_enter(struct world *s, struct sim_worker *w, const struct call_id *what)
{
    struct call *c = &s->calls[w->n_calls % CALLS];
    const bool first = c->n_entered == 0 || c->number != w->n_calls;
    if (first && c->n_entered != 0 && c->n_entered != s->n_workers)
        audit_break(&s->audit, "worker %d runs ahead of a collective at step %lld", w->number,
                    (long long)c->id.step);
    if (first) begin(s, c, w, what);
    if (!same(&c->id, what))
        audit_break(&s->audit,
                    "worker %d enters collective %d of step %lld, member %d, where another entered "
                    "%d of step %lld, member %d",
                    w->number, what->kind, (long long)what->step, what->member, c->id.kind,
                    (long long)c->id.step, c->id.member);
    c->n_entered++;
    w->n_calls++;
    w->call = c;
    return c;
}

static void release(struct world *s, struct call *c)
{
    for (int i = c->waiting; i >= 0; i = s->workers[i].follower)
        world_wake(s, i, world_latency_us(s));
    c->waiting = -1;
}

int64_t group_leave(struct world *s, struct sim_worker *w)
{
    struct call *c = w->call;
    c->root_here = c->root_here || w->number == c->id.root;
    if (c->id.root >= 0 ? !c->root_here : c->n_entered < s->n_workers) {
        w->follower = c->waiting;
        c->waiting = w->number;
        return GROUP_WAIT;
    }
    release(s, c);
    return world_latency_us(s);
}
