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

/* Let order[root] sink in a heap of n whose top ranks last. */
static void sink(const double *fitness, int *order, int root, int n, int experts)
{
    for (int child = 2 * root + 1; child < n; child = 2 * root + 1) {
        if (child + 1 < n && before(fitness, order[child], order[child + 1], experts)) child++;
        if (!before(fitness, order[root], order[child], experts)) return;
        const int member = order[root];
        order[root] = order[child];
        order[child] = member;
        root = child;
    }
}

/* Heapsort: thousands of members are ranked at every judging. */
void plan_rank(const double *fitness, int n, int experts, int *order_out)
{
    for (int i = 0; i < n; i++)
        order_out[i] = i;
    for (int root = n / 2 - 1; root >= 0; root--)
        sink(fitness, order_out, root, n, experts);
    for (int end = n - 1; end > 0; end--) {
        const int last = order_out[0];
        order_out[0] = order_out[end];
        order_out[end] = last;
        sink(fitness, order_out, 0, end, experts);
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

double plan_lr_scale(const struct config *c, int expert)
{
    const int experts = c->population.experts;
    if (experts == 1) return 1.0;
    return pow(c->population.lr_spread, 2.0 * expert / (experts - 1) - 1.0);
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
