/* reference.h - the forward pass of both architectures in double precision, one position at a time,
 * for clarity. */
#pragma once
#include "model/params.h"

/* Mean loss in nats over targets >= 0. weights: a slab in double precision. logits: NULL, or
 * (batch, context, vocab) to fill. Returns NAN when memory runs out. */
double reference_loss(const struct param_table *table, const double *weights, const int32_t *tokens,
                      const int32_t *targets, int batch, int context, double *logits);
