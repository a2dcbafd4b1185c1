/* passes.h - a simulation of workers that make passes together (src/worker/together.c) while some
 * of them are lost, with the real coordinator's state machine. */
#pragma once
#include <stdint.h>

struct passes_outcome {
    char broken[160]; /* the rule that was broken; "": none */
    int lost, epochs, repeated, made_up;
};

void passes_simulate(uint64_t seed, struct passes_outcome *out);
