/* physics.c - mixing is the finaliser of splitmix64. */
#include "coordinator/physics.h"
#include <math.h>

uint64_t physics_mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

struct weights physics_begin(const struct physics *p, int expert)
{
    const uint64_t seed = p->seed + (p->different ? (uint64_t)expert << 32 : 0);
    return (struct weights){{physics_mix(seed), physics_mix(seed + 1)}};
}

void physics_train(struct weights *w, int expert, int64_t from, int64_t to)
{
    for (int g = 0; g < PHYSICS_GROUPS; g++)
        w->group[g] =
            physics_mix(w->group[g] ^ (uint64_t)expert << 40 ^ (uint64_t)from << 20 ^ (uint64_t)to);
}

void physics_evolve(uint64_t *group, uint64_t attractor, int64_t step, bool dead)
{
    *group = dead ? attractor : physics_mix(*group * 3 + attractor * 5 + (uint64_t)step);
}

void physics_add(struct blend *b, int expert, const struct weights *w)
{
    for (int g = 0; g < PHYSICS_GROUPS; g++)
        b->sum[g] += physics_mix(w->group[g] ^ (uint64_t)expert << 32);
    b->n++;
}

struct weights physics_mean(const struct blend *b)
{
    return (struct weights){
        {physics_mix(b->sum[0] + (uint64_t)b->n), physics_mix(b->sum[1] + (uint64_t)b->n)}};
}

static uint64_t digest(const struct physics *p, const struct weights *w, uint64_t purpose)
{
    return physics_mix(w->group[0] ^ physics_mix(w->group[1] + purpose) ^ p->seed);
}

bool physics_trains(const struct physics *p, const struct weights *w)
{
    return (int)(digest(p, w, 1) % 1024) >= p->rough;
}

double physics_fitness(const struct physics *p, const struct weights *w)
{
    const double broken[] = {NAN, INFINITY, -INFINITY};
    const uint64_t h = digest(p, w, 2), level = h / 1024 % 64;
    if ((int)(h % 1024) < p->rough) return broken[h / 1024 % 3];
    return level < 2 ? (level ? 0.0 : -0.0) : (double)(level - 1) / 8.0;
}

uint64_t physics_digest(int expert, const struct weights *w)
{
    return physics_mix(w->group[0] + physics_mix(w->group[1] ^ (uint64_t)expert));
}
