/* cadence.c - see cadence.h. */
#include "evo/cadence.h"
#include <math.h>

enum { FEWEST_ROUNDS = 3 };

int64_t cadence_probe(const struct config *c)
{
    const int64_t judge = c->evolution.judge;
    int64_t every = judge / 10 > c->evolution.delay ? judge / 10 : c->evolution.delay + 1;
    while (judge % every != 0)
        every++;
    return every;
}

void cadence_hear(struct cadence *k, int64_t every, double stall_s, double train_s)
{
    if (!isfinite(train_s) || !isfinite(stall_s)) return;
    if (k->rounds++ == 0) return;
    k->steps += every;
    k->stall_s += stall_s;
    k->train_s += train_s;
}

bool cadence_ready(const struct cadence *k)
{
    return k->rounds > FEWEST_ROUNDS && k->train_s > 0;
}

int64_t cadence_choose(const struct cadence *k, const struct config *c)
{
    const int64_t judge = c->evolution.judge;
    const double rounds = (double)(k->rounds - 1), steps = (double)k->steps;
    const double step_s = fmax(k->train_s - k->stall_s, 0) / steps, stall_s = k->stall_s / rounds;
    for (int64_t every = c->evolution.delay + 1; every < judge; every++) {
        const double share = stall_s / (stall_s + (double)every * step_s);
        if (judge % every == 0 && share <= c->evolution.budget) return every;
    }
    return judge;
}
