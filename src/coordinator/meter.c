/* meter.c - a ring of samples. */
#include "coordinator/meter.h"
#include <math.h>
#include <stdbool.h>

static const double spacing_s = 0.25;

void meter_add(struct meter *m, double time_s, double total)
{
    /* The newest sample may move, but only away from the one before it by less than the spacing. */
    const int before = (m->newest + METER_SAMPLES - 1) % METER_SAMPLES;
    const bool move = m->n > 1 && time_s - m->time_s[before] < spacing_s;
    if (!move) {
        m->newest = m->n > 0 ? (m->newest + 1) % METER_SAMPLES : 0;
        if (m->n < METER_SAMPLES) m->n++;
    }
    m->time_s[m->newest] = time_s;
    m->total[m->newest] = total;
}

double meter_rate(const struct meter *m)
{
    if (m->n < 2) return NAN;
    const int oldest = (m->newest + METER_SAMPLES - m->n + 1) % METER_SAMPLES;
    const double passed = m->time_s[m->newest] - m->time_s[oldest];
    return passed > 0.0 ? (m->total[m->newest] - m->total[oldest]) / passed : NAN;
}
