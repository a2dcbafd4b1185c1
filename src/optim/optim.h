/* optim.h - one optimiser step of an expert: clip, learning rate, AdamW. */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "model/expert.h"
#include "model/gpt.h"

/* Learning rate of optimiser step `step` (1-based) of `steps`: linear warm-up over `warmup` steps,
 * then the schedule down to lr * lr_final at the last step (wsd: constant, then linear over the
 * last 20 %). */
double optim_lr(const struct config *c, int64_t step);

struct optim_result {
    double lr;
    double grad_norm; /* before clipping; not finite: the step was skipped */
};
/* Clip g's gradients to the global norm `train.clip`, take one AdamW step on e (decay on 2-D
 * tensors only), refresh g's bf16 weights, zero the gradients, count e->step. Gradients that are
 * not finite leave weights and moments as they are but still count the step. */
enum shoal_status optim_step(const struct config *c, struct expert *e, struct gpt *g,
                             struct optim_result *result);
