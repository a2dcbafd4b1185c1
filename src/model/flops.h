/* flops.h - how much arithmetic a model asks for, to set a speed against a machine's peak. */
#pragma once
#include "config/config.h"

/* Floating-point operations of one token, forward and backward, at the full context: 6 per matrix
 * parameter that is multiplied (2 forward, 4 backward; a tied head counts once, embeddings are
 * looked up) and 6 L C T for causal attention, where a token sees half of the context on average.
 * Recomputation does not count: this is what the model needs, not what is done. */
double gpt_flops_per_token(const struct gpt_shape *s);
