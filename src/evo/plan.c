/* plan.c - decisions from scalars. Every comparison goes through `before`, a total order, so that
 * no decision depends on the order in which the fitnesses came in or on how NAN compares. */
#include "evo/plan.h"
#include <math.h>

/* Whether member a ranks before member b: finite first, then lower fitness, then the recombinant
 * (number `experts`), then the lower number. */
static bool before(const double *fitness, int a, int b, int experts)
{
    const bool a_finite = isfinite(fitness[a]), b_finite = isfinite(fitness[b]);
    if (a_finite != b_finite) return a_finite;
    if (a_finite && fitness[a] != fitness[b]) return fitness[a] < fitness[b];
    if ((a == experts) != (b == experts)) return a == experts;
    return a < b;
}

void plan_rank(const double *fitness, int n, int experts, int *order_out)
{
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && before(fitness, i, order_out[at - 1], experts); at--)
            order_out[at] = order_out[at - 1];
        order_out[at] = i;
    }
}

int plan_best(const double *fitness, int n, int experts)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (before(fitness, i, best, experts)) best = i;
    return n > 0 && isfinite(fitness[best]) ? best : -1;
}

int plan_live(const double *fitness, int experts, struct live_set *live)
{
    int n = 0;
    live_none(live, experts);
    for (int k = 0; k < experts; k++) {
        if (!isfinite(fitness[k])) continue;
        live_put(live, k, true);
        n++;
    }
    return n;
}

double plan_spread(const double *fitness, int experts)
{
    double lowest = INFINITY, highest = -INFINITY;
    for (int k = 0; k < experts; k++) {
        if (!isfinite(fitness[k])) continue;
        lowest = fmin(lowest, fitness[k]);
        highest = fmax(highest, fitness[k]);
    }
    return highest > lowest ? highest - lowest : 0.0;
}

int plan_attractor(const struct evo_rule *rule, int best, int64_t round, int experts,
                   const struct live_set *live)
{
    switch (rule->attractor) {
    case ATTRACT_BEST:
        return best;
    case ATTRACT_MEAN:
        return live_next(live, 0, experts) < 0 ? -1 : experts;
    case ATTRACT_LAST:
        return live_next(live, (int)(round % experts), experts);
    default:
        return -1;
    }
}
