/* physics.h - what stands for the arithmetic in a simulated run: weights are two digests, one for
 * each group of tensors, and everything done to them leaves its mark. Two runs end with the same
 * digests only if every expert was trained on the same steps and moved toward the same members, in
 * the same order. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { PHYSICS_BODY, PHYSICS_IO, PHYSICS_GROUPS };

struct physics {
    uint64_t seed;
    int rough;      /* of 1024 losses, how many are not finite */
    bool different; /* experts do not begin with the same weights */
};

struct weights {
    uint64_t group[PHYSICS_GROUPS];
};

/* A sum of weights, in no particular order. */
struct blend {
    uint64_t sum[PHYSICS_GROUPS];
    int n;
};

uint64_t physics_mix(uint64_t x);
struct weights physics_begin(const struct physics *p, int expert);
void physics_train(struct weights *w, int expert, int64_t from, int64_t to);
/* Move one group toward the attractor's. dead: take it whole. */
void physics_evolve(uint64_t *group, uint64_t attractor, int64_t step, bool dead);
void physics_add(struct blend *b, int expert, const struct weights *w);
struct weights physics_mean(const struct blend *b);
/* Whether the last training loss was finite. */
bool physics_trains(const struct physics *p, const struct weights *w);
/* Coarse, so that there are ties, also between zeros of both signs; sometimes not finite. */
double physics_fitness(const struct physics *p, const struct weights *w);
/* Of one expert's weights; digests of a population are sums of these. */
uint64_t physics_digest(int expert, const struct weights *w);
