/* oracle.c - see oracle.h. Blocks of rows are owned through the first row. */
#include "coordinator/oracle.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/rng.h"

struct loop {
    struct oracle *o;
    struct weights *experts;
    struct weights *before; /* a round */
    struct weights mean;
    uint8_t *live;
    int *place, *drawn; /* experts by their places, and the places as drawn */
    int best;
};

static void *reserve(int64_t n, size_t bytes)
{
    void *p = calloc((size_t)n + 1, bytes);
    if (!p) abort();
    return p;
}

static int64_t words_of(const struct oracle *o)
{
    return (o->experts + 63) / 64;
}

static struct weights blend_live(const struct loop *l)
{
    struct blend b = {.n = 0};
    for (int k = 0; k < l->o->experts; k++)
        if (l->live[k]) physics_add(&b, k, &l->experts[k]);
    return physics_mean(&b);
}

static bool any_lives(const struct loop *l)
{
    for (int k = 0; k < l->o->experts; k++)
        if (l->live[k]) return true;
    return false;
}

static uint64_t digest(const struct loop *l)
{
    uint64_t sum = 0;
    for (int k = 0; k < l->o->experts; k++)
        sum += physics_digest(k, &l->experts[k]);
    return sum;
}

/* The lowest finite loss; of equals the recombinant, else the first. */
static int winner(const struct oracle *o, const double *fitness)
{
    int best = -1;
    for (int i = 0; i < o->members; i++) {
        if (!isfinite(fitness[i])) continue;
        if (best < 0 || fitness[i] < fitness[best] ||
            (fitness[i] == fitness[best] && i == o->experts))
            best = i;
    }
    return best;
}

static void judge(struct loop *l, int64_t step)
{
    struct oracle *o = l->o;
    struct oracle_judging *j = &o->judgings[o->n_judgings++];
    j->step = step;
    j->fitness = o->judgings[0].fitness + (o->n_judgings - 1) * o->members;
    for (int k = 0; k < o->experts; k++) {
        j->fitness[k] = physics_fitness(&o->physics, &l->experts[k]);
        l->live[k] = isfinite(j->fitness[k]);
    }
    if (o->members > o->experts) {
        l->mean = blend_live(l);
        j->fitness[o->experts] = any_lives(l) ? physics_fitness(&o->physics, &l->mean) : NAN;
    }
    j->best = l->best = winner(o, j->fitness);
    j->digest = digest(l);
}

/* Whom a group moves toward: the best, the mean, or one expert after the other; nobody dead. */
static int leader(const struct loop *l, const struct evo_rule *rule, int64_t step)
{
    const int experts = l->o->experts;
    if (rule->attractor == ATTRACT_NONE || !any_lives(l)) return -1;
    if (rule->attractor == ATTRACT_TOP || rule->attractor == ATTRACT_PAIR) return -1;
    if (rule->attractor == ATTRACT_MEAN) return experts;
    if (rule->attractor == ATTRACT_BEST)
        return l->best == experts || l->live[l->best] ? l->best : -1;
    int k = (int)(step / l->o->config.evolution.every % experts);
    while (!l->live[k])
        k = (k + 1) % experts;
    return k;
}

/* ---- experts that follow different ones ---- */

/* The living into l->place, the one with the lowest loss, of equals the first, at 0; how many. */
static int find_places(struct loop *l)
{
    const double *fitness = l->o->judgings[l->o->n_judgings - 1].fitness;
    int n = 0;
    for (int k = 0; k < l->o->experts; k++) {
        int place = 0;
        if (!l->live[k]) continue;
        for (int other = 0; other < l->o->experts; other++)
            place += l->live[other] &&
                     (fitness[other] < fitness[k] || (fitness[other] == fitness[k] && other < k));
        l->place[place] = k;
        n++;
    }
    return n;
}

/* A number below n: the upper half of its product with 32 random bits. */
static int draw(const struct loop *l, enum rng_stream stream, int expert, int index, int64_t step,
                int n)
{
    const struct config *c = &l->o->config;
    const struct rng_key key = {.seed = (uint64_t)c->run.seed,
                                .stream = stream,
                                .expert = (uint32_t)expert,
                                .round = (uint32_t)(step / c->evolution.every)};
    return (int)(((uint64_t)n * rng_bits(key, (uint64_t)index)) >> 32);
}

/* The worst so many take from as many best, each from one that is drawn for it. */
static void take_from_top(const struct loop *l, int n, int64_t step, int32_t *from)
{
    const int wanted = (int)floor(l->o->config.evolution.top * n);
    const int share = wanted < 1 ? n > 1 : wanted > n / 2 ? n / 2 : wanted;
    for (int i = 1; i <= share; i++) {
        const int k = l->place[n - i];
        from[k] = l->place[draw(l, RNG_SELECT, k, 0, step, share)];
    }
}

/* The places are shuffled, each in turn with itself or one before it; of neighbours the worse takes
 * from the better. */
static void take_in_pairs(const struct loop *l, int n, int64_t step, int32_t *from)
{
    for (int i = 0; i < n; i++) {
        const int with = draw(l, RNG_PAIR, 0, i, step, i + 1);
        l->drawn[i] = i;
        const int kept = l->drawn[with];
        l->drawn[with] = l->drawn[i];
        l->drawn[i] = kept;
    }
    for (int i = 1; i < n; i += 2) {
        const int one = l->drawn[i - 1], two = l->drawn[i];
        from[l->place[one < two ? two : one]] = l->place[one < two ? one : two];
    }
}

/* NULL, or whom each expert takes from after the judging at this step. */
static int32_t *follow(struct loop *l, int group, int64_t step, bool judged, int32_t *from)
{
    const struct config *c = &l->o->config;
    const int attractor =
        group == PHYSICS_BODY ? c->evolution.body.attractor : c->evolution.io.attractor;
    const bool top = attractor == ATTRACT_TOP;
    if (!judged || step == 0 || !(top || attractor == ATTRACT_PAIR)) return NULL;
    const int n = find_places(l);
    for (int k = 0; k < l->o->experts; k++)
        from[k] = l->live[k] || n == 0 ? -1 : l->place[0];
    if (top)
        take_from_top(l, n, step, from);
    else
        take_in_pairs(l, n, step, from);
    return from;
}

/* All at once. */
static void move_followers(struct loop *l, const struct oracle_round *r)
{
    memcpy(l->before, l->experts, (size_t)l->o->experts * sizeof *l->before);
    for (int g = 0; g < PHYSICS_GROUPS; g++)
        for (int k = 0; r->follows[g] && k < l->o->experts; k++)
            if (r->follows[g][k] >= 0)
                physics_evolve(&l->experts[k].group[g], l->before[r->follows[g][k]].group[g],
                               r->step, !l->live[k]);
}

/* ---- rounds ---- */

static void move_all(struct loop *l, const int *toward, int64_t step)
{
    const struct weights mean = blend_live(l);
    uint64_t source[PHYSICS_GROUPS] = {0};
    for (int g = 0; g < PHYSICS_GROUPS; g++)
        if (toward[g] >= 0)
            source[g] = toward[g] == l->o->experts ? mean.group[g] : l->experts[toward[g]].group[g];
    for (int k = 0; k < l->o->experts; k++)
        for (int g = 0; g < PHYSICS_GROUPS; g++)
            if (toward[g] >= 0 && toward[g] != k)
                physics_evolve(&l->experts[k].group[g], source[g], step, !l->live[k]);
}

/* After a judging the dead get the leader's tensors of the groups that do not evolve. */
static void rescue(struct loop *l)
{
    const struct evo_rule *rule[] = {&l->o->config.evolution.body, &l->o->config.evolution.io};
    const struct weights lead = l->best == l->o->experts ? blend_live(l) : l->experts[l->best];
    for (int k = 0; k < l->o->experts; k++)
        for (int g = 0; g < PHYSICS_GROUPS; g++)
            if (!l->live[k] && rule[g]->attractor == ATTRACT_NONE)
                l->experts[k].group[g] = lead.group[g];
}

static void round_at(struct loop *l, int64_t step, bool judged)
{
    struct oracle *o = l->o;
    struct oracle_round *r = &o->rounds[o->n_rounds];
    r->step = step;
    r->toward[PHYSICS_BODY] = leader(l, &o->config.evolution.body, step);
    r->toward[PHYSICS_IO] = leader(l, &o->config.evolution.io, step);
    for (int g = 0; g < PHYSICS_GROUPS; g++)
        r->follows[g] = follow(l, g, step, judged, o->follows + (2 * o->n_rounds + g) * o->experts);
    if (r->toward[0] < 0 && r->toward[1] < 0 && !r->follows[0] && !r->follows[1]) return;
    r->live = o->rounds[0].live + o->n_rounds++ * words_of(o);
    for (int k = 0; k < o->experts; k++)
        r->live[k / 64] |= (uint64_t)l->live[k] << k % 64;
    move_all(l, r->toward, step);
    if (r->follows[0] || r->follows[1]) move_followers(l, r);
}

/* Train to the next judging, with rounds on the way; returns its step. */
static int64_t stretch(struct loop *l, int64_t step)
{
    struct oracle *o = l->o;
    const int64_t every = o->config.evolution.every, judge_every = o->config.evolution.judge;
    int64_t until = step - step % judge_every + judge_every;
    if (until > o->config.run.steps) until = o->config.run.steps;
    while (step < until) {
        int64_t next = step - step % every + every;
        if (next > until) next = until;
        for (int k = 0; k < o->experts; k++) {
            physics_train(&l->experts[k], k, step, next);
            l->live[k] = physics_trains(&o->physics, &l->experts[k]);
        }
        step = next;
        if (next == until) break;
        o->halts[o->n_halts++] = (struct oracle_halt){next, digest(l)};
        round_at(l, next, false);
    }
    return step;
}

void oracle_make(struct oracle *o, const struct config *c, const struct physics *p)
{
    const int64_t judgings = c->run.steps / c->evolution.judge + 2;
    const int64_t rounds = c->run.steps / c->evolution.every + 1;
    struct loop l = {.o = o};
    memset(o, 0, sizeof *o);
    o->config = *c;
    o->physics = *p;
    o->experts = c->population.experts;
    o->members = o->experts + (c->evolution.recombine ? 1 : 0);
    o->judgings = reserve(judgings, sizeof *o->judgings);
    o->judgings[0].fitness = reserve(judgings * o->members, sizeof(double));
    o->rounds = reserve(rounds, sizeof *o->rounds);
    o->rounds[0].live = reserve(rounds * words_of(o), sizeof(uint64_t));
    o->follows = reserve(2 * rounds * o->experts, sizeof *o->follows);
    o->halts = reserve(rounds, sizeof *o->halts);
    l.experts = reserve(o->experts, sizeof *l.experts);
    l.live = reserve(o->experts, 1);
    l.before = reserve(o->experts, sizeof *l.before);
    l.place = reserve(o->experts, sizeof *l.place);
    l.drawn = reserve(o->experts, sizeof *l.drawn);
    for (int k = 0; k < o->experts; k++)
        l.experts[k] = physics_begin(p, k);
    for (int64_t step = 0;; step = stretch(&l, step)) {
        judge(&l, step);
        if (l.best < 0 || step >= c->run.steps) break;
        rescue(&l);
        round_at(&l, step, true);
    }
    free(l.experts);
    free(l.live);
    free(l.before);
    free(l.place);
    free(l.drawn);
}

void oracle_free(struct oracle *o)
{
    if (o->judgings) free(o->judgings[0].fitness);
    if (o->rounds) free(o->rounds[0].live);
    free(o->judgings);
    free(o->rounds);
    free(o->halts);
    free(o->follows);
}

const struct oracle_judging *oracle_find(const struct oracle *o, int64_t step)
{
    int64_t i = step / o->config.evolution.judge;
    if (step % o->config.evolution.judge != 0) i++; /* the last one */
    return step >= 0 && i < o->n_judgings && o->judgings[i].step == step ? &o->judgings[i] : NULL;
}

const struct oracle_halt *oracle_find_halt(const struct oracle *o, int64_t step)
{
    int64_t low = 0, high = o->n_halts;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (o->halts[middle].step < step)
            low = middle + 1;
        else
            high = middle;
    }
    return low < o->n_halts && o->halts[low].step == step ? &o->halts[low] : NULL;
}

int64_t oracle_round_from(const struct oracle *o, int64_t step)
{
    int64_t i = 0;
    while (i < o->n_rounds && o->rounds[i].step < step)
        i++;
    return i;
}
