/* meter.h - how fast something counts, over a recent window. The caller brings the clock. */
#pragma once
#include <stdint.h>

enum { METER_SAMPLES = 64 };

struct meter {
    double time_s[METER_SAMPLES], total[METER_SAMPLES]; /* ring, newest at `newest` */
    int n, newest;
};

/* `total` counted so far at time_s. Samples closer than a quarter of a second replace each other,
 * so that the window is some 16 s at a high rate and longer at a low one. */
void meter_add(struct meter *m, double time_s, double total);
/* Per second over the window; NAN while there are fewer than two samples. */
double meter_rate(const struct meter *m);
