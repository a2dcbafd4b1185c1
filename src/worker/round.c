/* round.c - a round: every group's attractor travels to all workers, and their experts move toward
 * it.
 *
 * A group is exchanged range by range, only the elements that belong to it: the body is one range
 * of a slab, io the two around it (params.h). An attractor among this worker's own experts is used
 * where it lies: it does not move, so nobody can see it half evolved. */
#include <math.h>
#include <string.h>
#include "base/clock.h"
#include "evo/operators.h"
#include "evo/plan.h"
#include "optim/optim.h"
#include "worker/worker_impl.h"

/* What a group is pulled toward in this round. */
struct pull {
    const struct evo_rule *rule;
    enum param_group group;
    int member;         /* K: the mean; -1: the group does not evolve now */
    struct slabs slabs; /* where the member's values are, for the group's ranges */
};

struct range {
    int64_t begin, end;
};

static int group_ranges(const struct param_table *t, enum param_group group, struct range out[2])
{
    if (group == GROUP_BODY) {
        out[0] = (struct range){t->body_begin, t->body_end};
        return 1;
    }
    out[0] = (struct range){0, t->body_begin};
    out[1] = (struct range){t->body_end, t->n_params};
    return 2;
}

/* Worker `root`'s range of each slab into everyone's inbox. The root's own slabs are only read. */
static enum shoal_status broadcast_range(struct worker *w, const struct slabs *from, int root,
                                         struct range r, bool with_moments)
{
    float *slab[] = {from->weights, from->m, from->v};
    const int slabs = with_moments ? 3 : 1;
    for (int i = 0; i < slabs; i++)
        SHOAL_TRY(comm_broadcast(w->comm, slab[i] + r.begin, r.end - r.begin, root));
    return SHOAL_OK;
}

/* Bring the group's attractor here and set p->slabs. Collective over the workers. */
static enum shoal_status fetch(struct worker *w, struct pull *p, const struct live_set *live)
{
    const int experts = w->cfg->population.experts;
    const bool moments = p->rule->moments == MOMENTS_INHERIT;
    const bool is_mean = p->member == experts;
    const int root = is_mean ? 0 : worker_of_expert(p->member, w->workers, experts);
    struct range range[2];
    const int ranges = group_ranges(w->table, p->group, range);
    if (is_mean) {
        p->slabs = w->mean;
    } else if (root == w->number) {
        const struct expert *e = w->own[p->member - w->first].expert;
        p->slabs = (struct slabs){e->weights, e->adam_m, e->adam_v};
    } else {
        p->slabs = w->inbox;
    }
    for (int i = 0; i < ranges; i++) {
        if (!is_mean) {
            SHOAL_TRY(broadcast_range(w, &p->slabs, root, range[i], moments));
        } else if (moments || !w->mean_fresh) {
            SHOAL_TRY(worker_mean(w, live, range[i].begin, range[i].end, moments));
        }
    }
    return SHOAL_OK;
}

/* Move one expert's group. */
static enum shoal_status evolve(struct worker *w, struct expert *e, const struct pull *p,
                                int64_t step, bool dead)
{
    const struct config *c = w->cfg;
    const bool moments = p->rule->moments == MOMENTS_INHERIT;
    const struct evolve_args args = {.rule = p->rule,
                                     .group = p->group,
                                     .attractor = p->slabs.weights,
                                     .attractor_m = moments ? p->slabs.m : NULL,
                                     .attractor_v = moments ? p->slabs.v : NULL,
                                     .is_attractor = p->member == e->number,
                                     .dead = dead,
                                     .seed = (uint64_t)c->run.seed,
                                     .round = (uint32_t)(step / c->evolution.every),
                                     .lr = (float)optim_lr(c, step > 0 ? step : 1),
                                     .beta1 = (float)c->train.beta1,
                                     .beta2 = (float)c->train.beta2,
                                     .eps = (float)c->train.eps};
    SHOAL_TRY(evolve_group(e, &args));
    if (!args.is_attractor) e->parent = p->member;
    return SHOAL_OK;
}

/* Who may lead and who must be replaced: after a judging, as it found; between judgings, whoever's
 * last training loss was not finite is dead, lest one broken expert spoil the mean for all.
 * Collective over the workers. */
static enum shoal_status find_live(struct worker *w, const struct order *order, bool judged,
                                   struct live_set *live)
{
    const int experts = w->cfg->population.experts;
    *live = order->live;
    if (judged) return SHOAL_OK;
    memset(w->alive, 0, (size_t)experts * sizeof *w->alive);
    for (int i = 0; i < w->n_own; i++)
        w->alive[w->first + i] = isfinite(w->own[i].past.last_loss) ? 1 : 0;
    SHOAL_TRY(comm_sum_values(w->comm, w->alive, experts));
    for (int k = 0; k < experts; k++)
        live_put(live, k, w->alive[k] > 0);
    return SHOAL_OK;
}

/* The member a group moves toward now; -1: it stays. */
static int choose(const struct worker *w, const struct evo_rule *rule, const struct order *order,
                  int64_t step, const struct live_set *live)
{
    const struct config *c = w->cfg;
    const int experts = c->population.experts;
    if (!evo_rule_active(rule)) return -1;
    const int member = plan_attractor(rule, order->best, step / c->evolution.every, experts, live);
    /* The standing best may have died since; so may all that a mean would be of. */
    const bool there = member == experts ? live_next(live, 0, experts) >= 0
                                         : member >= 0 && live_has(live, member);
    return there ? member : -1;
}

static enum shoal_status report_round(struct worker *w, int64_t step, int member, double seconds,
                                      uint64_t bytes)
{
    /* What all workers together sent. */
    double sent = (double)bytes;
    SHOAL_TRY(comm_sum_values(w->comm, &sent, 1));
    if (w->number != 0) return SHOAL_OK;
    const struct report r = {.kind = REPORT_ROUND,
                             .worker = w->number,
                             .member = member,
                             .step = step,
                             .count = {(int64_t)sent},
                             .value = {seconds}};
    return comm_report(w->comm, &r, sizeof r);
}

enum shoal_status worker_round(struct worker *w, const struct order *order, int64_t step,
                               bool judged)
{
    const struct config *c = w->cfg;
    const double start_s = clock_now_s();
    const uint64_t sent = comm_bytes_sent(w->comm);
    struct live_set live = {0};
    struct pull pull[] = {{.rule = &c->evolution.body, .group = GROUP_BODY},
                          {.rule = &c->evolution.io, .group = GROUP_IO}};
    if (!worker_evolves(c)) return SHOAL_OK;
    SHOAL_TRY(find_live(w, order, judged, &live));
    for (int g = 0; g < 2; g++) {
        pull[g].member = choose(w, pull[g].rule, order, step, &live);
        if (pull[g].member >= 0) SHOAL_TRY(fetch(w, &pull[g], &live));
    }
    const int member = pull[0].member >= 0 ? pull[0].member : pull[1].member;
    if (member < 0) return SHOAL_OK;
    for (int g = 0; g < 2; g++) {
        for (int i = 0; pull[g].member >= 0 && i < w->n_own; i++) {
            struct expert *e = w->own[i].expert;
            SHOAL_TRY(evolve(w, e, &pull[g], step, !live_has(&live, e->number)));
        }
    }
    return report_round(w, step, member, clock_now_s() - start_s, comm_bytes_sent(w->comm) - sent);
}
