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

int plan_live(const double *fitness, int experts, uint8_t *live)
{
    int n = 0;
    for (int k = 0; k < experts; k++) {
        live[k] = isfinite(fitness[k]) ? 1 : 0;
        n += live[k];
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

/* The first live expert at or after `from`, going round; -1 when none lives. */
static int next_live(int from, int experts, const uint8_t *live)
{
    for (int i = 0; i < experts; i++) {
        const int k = (from + i) % experts;
        if (live[k]) return k;
    }
    return -1;
}

int plan_attractor(const struct evo_rule *rule, int best, int64_t round, int experts,
                   const uint8_t *live)
{
    switch (rule->attractor) {
    case ATTRACT_BEST:
        return best;
    case ATTRACT_MEAN:
        return next_live(0, experts, live) < 0 ? -1 : experts;
    case ATTRACT_LAST:
        return next_live((int)(round % experts), experts, live);
    default:
        return -1;
    }
}
