/* simulator.h - a whole run in one thread: the coordinator that shoal links, workers that follow
 * its protocol, delays, stragglers, deaths and disk errors, everything drawn from one seed. */
#pragma once
#include <stdio.h>
#include "evo/ledger.h"
#include "config/config.h"
#include "coordinator/physics.h"

struct simulation {
    struct config config; /* what of it the protocol depends on */
    struct physics physics;
    uint64_t seed;
    int workers;
    bool resizes;        /* a resumed run may have another number of workers */
    int max_faults;      /* sessions in which something goes wrong; then one without */
    int noise_in_1024;   /* chance that a report comes a second time, later, or garbled */
    bool wishes;         /* in those sessions signals may ask to save or stop the run, too */
    int64_t latency_us;  /* of a message, at most; now and then twenty times that */
    int straggler_in_64; /* chance that a worker is far slower than the others */
    int64_t max_events;  /* a run that takes more does not end */
};

struct outcome {
    bool diverged;    /* no member was finite at a judging, and the run said so */
    char broken[320]; /* the rule that was broken, and when; "": none */
    int64_t events, heard, sessions, deaths, disk_errors, strays, rounds, commits;
    int64_t wishes, halts;
    int64_t judgings;
    struct standing standing; /* at the end */
};

/* A run drawn from its seed. workers 0: 1 to 64 of them, and as many experts or more. */
void simulation_draw(struct simulation *sim, uint64_t seed, int workers);
/* A large one without faults: `workers` workers with one expert each. */
void simulation_large(struct simulation *sim, uint64_t seed, int workers);
/* Run to the end, or until a rule is broken; every event is audited. trace: where to tell what
 * happens; NULL: nowhere. */
void simulate(const struct simulation *sim, FILE *trace, struct outcome *out);
