/* select.c - see select.h. */
#include "evo/select.h"
#include "base/rng.h"

/* Uniform in [0, below): of 2^32 numbers, the difference between two chances is one. */
static int draw(const struct selection *s, enum rng_stream stream, uint32_t expert, int index,
                int below)
{
    const struct rng_key key = {
        .seed = s->seed, .stream = stream, .expert = expert, .round = (uint32_t)s->round};
    return (int)((uint64_t)rng_bits(key, (uint64_t)index) * (uint64_t)below >> 32);
}

/* The living into order, best first; returns how many. */
static int rank_living(const struct selection *s, int32_t *order)
{
    int n = 0;
    for (int i = 0; i < s->experts; i++)
        if (live_has(s->live, s->ranked[i])) order[n++] = s->ranked[i];
    return n;
}

static void follow_top(const struct selection *s, const int32_t *order, int n, int32_t *source)
{
    int share = (int)(s->top * n);
    if (share < 1) share = 1;
    if (share > n / 2) share = n / 2;
    for (int i = n - share; i < n; i++)
        source[order[i]] = order[draw(s, RNG_SELECT, (uint32_t)order[i], 0, share)];
}

/* Places of the ranking in a random order (Fisher and Yates); neighbours are pairs. */
static void follow_pairs(const struct selection *s, const int32_t *order, int n, int32_t *source,
                         int32_t *place)
{
    for (int i = 0; i < n; i++) {
        const int j = draw(s, RNG_PAIR, 0, i, i + 1);
        place[i] = place[j];
        place[j] = i;
    }
    for (int i = 0; i + 1 < n; i += 2) {
        const int32_t a = place[i], b = place[i + 1];
        source[order[a > b ? a : b]] = order[a > b ? b : a];
    }
}

bool select_applies(enum attractor attractor)
{
    return attractor == ATTRACT_TOP || attractor == ATTRACT_PAIR;
}

double select_rate(const struct selection *s, int expert, double rate, double factor)
{
    return draw(s, RNG_PERTURB, (uint32_t)expert, 0, 2) == 0 ? rate * factor : rate / factor;
}

void select_sources(enum attractor attractor, const struct selection *s, int32_t *source,
                    int32_t *room)
{
    const int n = rank_living(s, room);
    for (int k = 0; k < s->experts; k++)
        source[k] = n > 0 && !live_has(s->live, k) ? room[0] : -1;
    if (attractor == ATTRACT_TOP) follow_top(s, room, n, source);
    if (attractor == ATTRACT_PAIR) follow_pairs(s, room, n, source, room + s->experts);
}
