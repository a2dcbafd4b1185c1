/* optim.h - one optimiser step of an expert: clip, learning rate, AdamW; or not taking it. */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "model/expert.h"
#include "model/gpt.h"
#include "optim/outlier.h"

/* Learning rate of optimiser step `step` (1-based) of `steps`: linear warm-up over `warmup` steps,
 * then the schedule down to lr * lr_final at the last step (wsd: constant, then linear over the
 * last `wsd_decay` of the steps, but not before the end of the warm-up). */
double optim_lr(const struct config *c, int64_t step);

struct optim_result {
    double lr;        /* of this expert */
    double grad_norm; /* before clipping */
    enum skip skip;   /* why the step was not taken; SKIP_NONE: it was */
};
/* Clip g's gradients to the global norm `train.clip`, take one AdamW step on e (decay on 2-D
 * tensors only), refresh g's bf16 weights, begin new gradients (gpt_zero_grads), count e->step.
 * loss: of this step's batch. outlier: what e remembers of its steps, brought up to date. A step
 * that is skipped (outlier.h) leaves weights and moments as they are; its gradients are forgotten
 * and it is counted all the same. */
enum shoal_status optim_step(const struct config *c, struct expert *e, struct gpt *g, double loss,
                             struct outlier *outlier, struct optim_result *result);

/* The same without waiting for the device, which decides itself; result for result and bit for bit
 * the same, but train.skip must be 0: only what is not finite is skipped. The losses are those of
 * the gpt_learn since the last step, none of which was waited for. Two steps may be on their way;
 * `which` is 0 or 1. */
enum shoal_status optim_queue(const struct config *c, struct expert *e, struct gpt *g, int which,
                              struct optim_result *result);
/* Wait for that step; result as optim_queue left it. *loss: sum over its gpt_learn. */
enum shoal_status optim_await(const struct config *c, struct gpt *g, int which,
                              struct outlier *outlier, double *loss, struct optim_result *result);
