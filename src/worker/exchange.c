/* exchange.c - see exchange.h. */
#include "worker/exchange.h"
#include "comm/comm.h"
#include "evo/cadence.h"
#include "evo/operators.h"
#include "evo/select.h"
#include "worker/worker.h"

static bool attracts(const struct config *c, enum attractor a)
{
    const struct evo_rule *rule[] = {&c->evolution.body, &c->evolution.io};
    for (int g = 0; g < 2; g++)
        if (evo_rule_active(rule[g]) && rule[g]->attractor == (int)a) return true;
    return false;
}

bool exchange_keeps_mean(const struct config *c)
{
    return c->evolution.recombine || attracts(c, ATTRACT_MEAN);
}

bool exchange_keeps_inbox(const struct config *c, int workers, bool parked)
{
    const bool needed = workers > 1 || (parked && exchange_keeps_outbox(c));
    return needed && (attracts(c, ATTRACT_BEST) || attracts(c, ATTRACT_LAST) ||
                      attracts(c, ATTRACT_TOP) || attracts(c, ATTRACT_PAIR));
}

bool exchange_keeps_outbox(const struct config *c)
{
    return c->evolution.delay > 0 &&
           (evo_rule_active(&c->evolution.body) || evo_rule_active(&c->evolution.io));
}

enum packing exchange_packing(const struct config *c)
{
    static const enum packing packing[] = {[WIRE_BF16] = PACK_BF16,
                                           [WIRE_INT8] = PACK_INT8,
                                           [WIRE_INT4] = PACK_INT4,
                                           [WIRE_INT1] = PACK_INT1};
    SHOAL_ASSERT(c->evolution.wire != WIRE_F32);
    return packing[c->evolution.wire];
}

bool exchange_keeps_lost(const struct config *c)
{
    return c->evolution.wire != WIRE_F32 && c->evolution.wire != WIRE_BF16;
}

int exchange_slabs(const struct config *c)
{
    return evo_needs_moments(c) ? 3 : 1;
}

/* ---- traffic --------------------------------------------------------------------------------- */

/* Where a round happens. */
struct round {
    const struct config *c;
    int workers;
    bool best_is_mean;
    bool judged; /* right after a judging */
    double part; /* of the weights that is exchanged */
};

/* Of n elements that go from expert to expert, each to another worker. */
static double follow_traffic(const struct round *r, const struct evo_rule *rule, double n)
{
    const int experts = r->c->population.experts;
    int followers = experts / 2;
    if (!r->judged || r->workers == 1) return 0;
    if (rule->attractor == ATTRACT_TOP) {
        const int share = (int)(r->c->evolution.top * experts);
        followers = share < 1 ? 1 : share;
    }
    return followers * n * (double)sizeof(float);
}

/* For one group of n elements. */
static double group_traffic(const struct round *r, const struct evo_rule *rule, double n)
{
    const bool moments = rule->moments == MOMENTS_INHERIT;
    const double slabs = moments ? 3 : 1;
    const bool is_mean =
        rule->attractor == ATTRACT_MEAN || (rule->attractor == ATTRACT_BEST && r->best_is_mean);
    if (!evo_rule_active(rule)) return 0;
    if (select_applies((enum attractor)rule->attractor)) return slabs * follow_traffic(r, rule, n);
    if (!is_mean) return slabs * comm_broadcast_traffic(r->workers, n * r->part);
    if (r->judged && r->c->evolution.recombine && !moments) return 0; /* it is there already */
    const int experts = r->c->population.experts;
    if (!r->judged && r->c->evolution.wire != WIRE_F32)
        return comm_mean_traffic(exchange_packing(r->c), r->workers, experts, n * r->part);
    return slabs * comm_sum_traffic(r->workers, experts, n * r->part);
}

/* A round with the member as best that makes it cost most; on a narrow wire, the mean. */
static double round_traffic(const struct config *c, const struct param_table *table, int workers,
                            bool judged)
{
    const double body = (double)(table->body_end - table->body_begin);
    const double io = (double)table->n_params - body;
    double most = 0;
    for (int best_is_mean = c->evolution.wire != WIRE_F32; best_is_mean <= c->evolution.recombine;
         best_is_mean++) {
        const struct round r = {c, workers, best_is_mean != 0, judged,
                                1.0 / (double)c->evolution.fragments};
        const double bytes =
            group_traffic(&r, &c->evolution.body, body) + group_traffic(&r, &c->evolution.io, io);
        if (bytes > most) most = bytes;
    }
    return most;
}

struct traffic exchange_traffic(const struct config *c, const struct param_table *table,
                                int workers)
{
    if (worker_is_parallel(c)) {
        const double bytes =
            comm_sum_traffic(workers, c->population.experts, (double)table->n_params);
        return (struct traffic){.per_step = bytes};
    }
    const double judge = (double)c->evolution.judge;
    const int64_t every = c->evolution.every > 0 ? c->evolution.every : cadence_probe(c);
    const double between = judge / (double)every - 1;
    struct traffic t = {.round = round_traffic(c, table, workers, false),
                        .judging = round_traffic(c, table, workers, true)};
    if (c->evolution.recombine)
        t.judging += comm_sum_traffic(workers, c->population.experts, (double)table->n_params);
    t.per_step = (t.judging + between * t.round) / judge;
    return t;
}

double exchange_data_parallel(double params, int workers)
{
    return 2.0 * (workers - 1) * params * (double)sizeof(float);
}
