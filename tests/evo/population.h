/* population.h - a small expert, an attractor and a rule, for tests of the operators. */
#pragma once
#include "evo/operators.h"

/* Slabs are filled with numbers of either sign, some of them -0, where the table has a parameter;
 * gaps and vocabulary padding stay zero. */
struct population {
    struct device *dev;
    struct param_table *table;
    struct expert *e;
    float *attractor, *attractor_m, *attractor_v;
    float *weights, *m, *v, *velocity, *own_best; /* the expert's slabs as they were made */
    struct evo_rule rule;
    struct evolve_args args; /* rule, attractors and plain numbers filled in; group: body */
};

/* Expert `number` on a CPU team of `threads`. Failures end the test. */
void population_make(struct population *p, int number, int threads);
void population_free(struct population *p);
/* Evolve both groups. */
void population_evolve(struct population *p);
/* Bytes of a slab. */
size_t population_bytes(const struct population *p);
