/* schedule.c - runs and what goes wrong in them, drawn from a seed. */
#include <string.h>
#include "coordinator/simulator.h"

static int64_t pick(uint64_t *s, int64_t below)
{
    *s = physics_mix(*s);
    return below > 0 ? (int64_t)(*s % (uint64_t)below) : 0;
}

static void draw_rule(uint64_t *s, struct evo_rule *rule)
{
    const int attractor[] = {ATTRACT_BEST, ATTRACT_BEST, ATTRACT_MEAN, ATTRACT_LAST,
                             ATTRACT_NONE, ATTRACT_TOP,  ATTRACT_PAIR};
    rule->attractor = attractor[pick(s, 7)];
    rule->moments = pick(s, 4) == 0 ? MOMENTS_INHERIT : MOMENTS_KEEP;
}

static void draw_config(uint64_t *s, struct config *c)
{
    const double top[] = {0.0, 0.25, 0.5};
    c->evolution.recombine = pick(s, 3) > 0;
    c->evolution.every = 1 + pick(s, 10);
    c->evolution.judge = c->evolution.every * (1 + pick(s, 5));
    c->run.steps = pick(s, 12) == 0 ? 0 : pick(s, 12 * c->evolution.judge);
    c->run.minutes = pick(s, 8) == 0 ? 0.001 : 0.0;
    c->run.log = pick(s, 2) ? 1 + pick(s, 20) : c->evolution.every;
    c->snapshot.every = c->evolution.judge * pick(s, 4);
    c->snapshot.keep = pick(s, 4);
    c->eval.every = c->evolution.judge * pick(s, 4);
    c->evolution.top = top[pick(s, 3)];
    c->run.seed = pick(s, 1000);
    draw_rule(s, &c->evolution.body);
    draw_rule(s, &c->evolution.io);
}

void simulation_draw(struct simulation *sim, uint64_t seed, int workers)
{
    const int rough[] = {0, 0, 8, 60, 300};
    const int64_t latency_us[] = {10, 300, 5000};
    uint64_t s = seed;
    memset(sim, 0, sizeof *sim);
    sim->seed = seed;
    struct config *c = &sim->config;
    draw_config(&s, c);
    if (workers > 0) {
        c->population.experts = workers + (int)pick(&s, workers);
        sim->workers = workers;
    } else {
        c->population.experts = 1 + (int)pick(&s, pick(&s, 3) == 0 ? 64 : 10);
        sim->workers = 1 + (int)pick(&s, c->population.experts);
    }
    sim->physics = (struct physics){
        .seed = pick(&s, INT64_MAX), .rough = rough[pick(&s, 5)], .different = pick(&s, 2) == 0};
    sim->resizes = pick(&s, 2) == 0;
    sim->max_faults = (int)pick(&s, 5);
    sim->wishes = pick(&s, 2) == 0;
    sim->noise_in_1024 = pick(&s, 2) ? 50 : 0;
    sim->latency_us = latency_us[pick(&s, 3)];
    sim->straggler_in_64 = pick(&s, 3) == 0 ? 8 : 0;
    sim->max_events = 2000000;
}

void simulation_large(struct simulation *sim, uint64_t seed, int workers)
{
    memset(sim, 0, sizeof *sim);
    struct config *c = &sim->config;
    sim->seed = seed;
    sim->workers = c->population.experts = workers;
    c->evolution.recombine = true;
    c->evolution.every = c->run.log = 10;
    c->evolution.judge = 20;
    c->run.steps = 100;
    c->snapshot.every = 40;
    c->snapshot.keep = 1;
    c->evolution.body.attractor = c->evolution.io.attractor = ATTRACT_BEST;
    sim->physics = (struct physics){.seed = seed, .rough = 2, .different = true};
    sim->latency_us = 300;
    sim->straggler_in_64 = 1;
    sim->max_events = INT64_MAX;
}
