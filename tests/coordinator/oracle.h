/* oracle.h - what a run must come to, whoever computes it and whatever goes wrong: the whole run as
 * one loop without messages, by the words of the rules and without the code under test. */
#pragma once
#include "config/config.h"
#include "coordinator/physics.h"

struct oracle_judging {
    int64_t step;
    double *fitness; /* of every member */
    int best;        /* -1: none is finite, and the run ends here */
    uint64_t digest; /* of the population's weights when judged */
};

struct oracle_round {
    int64_t step;
    int toward[PHYSICS_GROUPS];       /* member of each group; -1: the group stays */
    int32_t *follows[PHYSICS_GROUPS]; /* whom each expert takes from, -1: nobody; NULL: they do not
                                         differ */
    uint64_t *live; /* who was taken for alive: expert k is bit k % 64 of word k / 64 */
};

/* Where a run may halt between two judgings, and what the population is there. */
struct oracle_halt {
    int64_t step;
    uint64_t digest; /* before the round */
};

struct oracle {
    struct config config;
    struct physics physics;
    int experts, members;
    struct oracle_judging *judgings; /* oldest first */
    int64_t n_judgings;
    struct oracle_round *rounds; /* those in which something moves, oldest first */
    int64_t n_rounds;
    int32_t *follows;          /* of all rounds */
    struct oracle_halt *halts; /* oldest first */
    int64_t n_halts;
};

/* Asks the test to fail when there is no memory. */
void oracle_make(struct oracle *o, const struct config *c, const struct physics *p);
void oracle_free(struct oracle *o);
/* NULL where there is no judging at this step. */
const struct oracle_judging *oracle_find(const struct oracle *o, int64_t step);
/* NULL where no run may halt at this step. */
const struct oracle_halt *oracle_find_halt(const struct oracle *o, int64_t step);
/* Index of the first round at or after a step. */
int64_t oracle_round_from(const struct oracle *o, int64_t step);
