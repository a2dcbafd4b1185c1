/* select.h - rules under which experts follow different ones: who follows whom. Pure.
 *
 * They compare experts by the last judging, and what has moved since would be compared by what it
 * no longer is; so they hold in the round right after a judging only, the first one excepted.
 * Nobody who is followed follows: a copy is never of something half moved. */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "evo/live.h"

struct selection {
    int experts;
    uint64_t seed;
    int64_t round;               /* its number, as in plan_attractor */
    const struct live_set *live; /* who may be followed */
    const uint16_t *ranked;      /* the experts, best first, as last judged */
    double top; /* ATTRACT_TOP: share of the living that is followed, and follows */
};

/* Whether this attractor differs from expert to expert. */
bool select_applies(enum attractor attractor);
/* What becomes of a learning rate that expert `expert` takes in this round: it is multiplied by
 * factor or divided by it, as drawn. */
double select_rate(const struct selection *s, int expert, double rate, double factor);
/* source[k]: the expert that expert k moves toward, -1: it stays. ATTRACT_TOP: each of the worst
 * top * n of the n living, at least one, follows one of as many best, drawn for it. ATTRACT_PAIR:
 * the living are drawn into pairs and the worse of two follows the better; of an odd number one
 * has no pair. The dead follow the best. source: experts entries; room: twice as many. */
void select_sources(enum attractor attractor, const struct selection *s, int32_t *source,
                    int32_t *room);
