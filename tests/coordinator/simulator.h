/* simulator.h - a coordinator and made-up workers in one thread, everything drawn from a seed. */
#pragma once
#include "coordinator/audit.h"

struct simulation {
    struct machine_shape shape;
    int workers;
    uint64_t seed;
    bool fifo;        /* a worker's reports arrive in order, as MPI promises; else in any */
    int noise_in_256; /* chance of a repeated or nonsensical report at each step */
    int max_kills;    /* times that everything dies and resumes from the last committed index */
};

struct outcome {
    bool diverged; /* no member was finite at a judging */
    int64_t events, kills, judgings, commits;
    struct standing standing; /* at the end */
};

/* Run to the end; every event is audited. */
void simulate(const struct simulation *sim, struct outcome *out);
