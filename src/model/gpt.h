/* gpt.h - GPT-2 forward and backward (Radford et al. 2019): pre-norm blocks, learned positions,
 * GELU (tanh), biases, head tied to the token embedding. One struct gpt holds activations,
 * gradients and the bf16 copy of the weights for one expert at a time; weights stay the expert's.
 */
#pragma once
#include <stdint.h>
#include "kernels/kernels.h"
#include "model/params.h"

struct gpt;

/* Allocate everything a forward (and, when `learns`, backward) pass of up to `batch` sequences of
 * `context` tokens needs. Nothing is allocated later. precision: enum precision. */
enum shoal_status gpt_create(struct device *dev, const struct param_table *table, int batch,
                             int context, enum precision precision, bool learns, struct gpt **out);
void gpt_destroy(struct gpt **g);
/* Use these master weights (n_params f32, borrowed until the next call); refreshes the bf16 copy.
 * Call again whenever the weights were changed by anything but the optimiser. */
enum shoal_status gpt_load(struct gpt *g, float *weights);
/* Set the gradients to zero. */
enum shoal_status gpt_zero_grads(struct gpt *g);
/* Forward and backward over `batch` sequences: gradients of (mean loss * scale) are added. tokens,
 * targets: (batch, context) int32 on the host; a target < 0 is left out, one must be >= 0. *loss:
 * mean nats per token over targets >= 0. SHOAL_EARG: a token outside the vocabulary. */
enum shoal_status gpt_learn(struct gpt *g, const int32_t *tokens, const int32_t *targets, int batch,
                            float scale, double *loss);
/* Forward only, with logits in f32 whatever the precision: what is judged differs by little. *loss:
 * mean nats per token over targets >= 0; NAN or inf are results, not failures. */
enum shoal_status gpt_judge(struct gpt *g, const int32_t *tokens, const int32_t *targets, int batch,
                            double *loss);
float *gpt_grads(struct gpt *g);    /* n_params f32, owned by g; NULL unless it learns */
void *gpt_weights16(struct gpt *g); /* n_params bf16, owned by g; NULL in f32 */
/* Device memory gpt_create allocates for these arguments. */
int64_t gpt_bytes(const struct param_table *table, int batch, int context, enum precision precision,
                  bool learns);
