/* gpt.h - forward and backward of the two architectures, pre-norm decoders both:
 *
 *   gpt2  (Radford et al. 2019): layer norm, learned positions, GELU (tanh), biases, head tied to
 *         the token embedding
 *   llama (Touvron et al. 2023): RMSNorm, rotary positions, SwiGLU, grouped-query attention
 *         (Ainslie et al. 2023), no biases, a head of its own unless tied
 *
 * One struct gpt holds activations, gradients and the bf16 copy of the weights for one expert at a
 * time; weights stay the expert's. */
#pragma once
#include <stdint.h>
#include "kernels/kernels.h"
#include "model/params.h"

struct gpt;

/* What a model is made for. */
struct gpt_setup {
    int batch;   /* most sequences at a time */
    int context; /* tokens of each */
    enum precision precision;
    bool learns;              /* with gradients and a backward pass */
    enum recompute recompute; /* when it learns: memory for time, with the same results */
    bool graph; /* where the device records: queue a pass as one piece; with the same results */
};

/* Allocate everything a forward (and, when it learns, backward) pass needs. Nothing is allocated
 * later. */
enum shoal_status gpt_create(struct device *dev, const struct param_table *table,
                             struct gpt_setup setup, struct gpt **out);
void gpt_destroy(struct gpt **g);
/* Device memory gpt_create allocates for these arguments; and pinned host memory. */
int64_t gpt_bytes(const struct param_table *table, struct gpt_setup setup);
int64_t gpt_pinned_bytes(struct gpt_setup setup);
/* Use these master weights (n_params f32, borrowed until the next call); refreshes the bf16 copy.
 * Call again whenever the weights were changed by anything but the optimiser. */
enum shoal_status gpt_load(struct gpt *g, float *weights);
/* Begin new gradients: what the next gpt_learn leaves are those of its batch alone. Until then they
 * are not defined. */
enum shoal_status gpt_zero_grads(struct gpt *g);
/* Forward and backward over `batch` sequences: gradients of (mean loss * scale), added to those of
 * the batches since gpt_zero_grads. tokens, targets: (batch, context) int32 on the host; a target <
 * 0 is left out, one must be >= 0; the host may change them at once. *loss: mean nats per token
 * over targets >= 0. SHOAL_EARG: a token outside the vocabulary. loss NULL: the host does not wait
 * for the device, but where it is two batches ahead; the loss goes to gpt_figures. */
enum shoal_status gpt_learn(struct gpt *g, const int32_t *tokens, const int32_t *targets, int batch,
                            float scale, double *loss);
/* Forward only, with logits in f32 whatever the precision: what is judged differs by little. *loss:
 * mean nats per token over targets >= 0; NAN or inf are results, not failures. */
enum shoal_status gpt_judge(struct gpt *g, const int32_t *tokens, const int32_t *targets, int batch,
                            double *loss);
/* What the batches since gpt_zero_grads are judged by: loss as far as they were not waited for. On
 * the device, owned by g. */
struct figures *gpt_figures(struct gpt *g);
/* Have the figures as they are by then brought to the host, in the order of what is computed: two
 * may be on their way, `which` is 0 or 1. Does not wait. */
enum shoal_status gpt_send_figures(struct gpt *g, int which);
/* Wait for them. */
enum shoal_status gpt_take_figures(struct gpt *g, int which, struct figures *out);
/* n_params f32, owned by g; NULL unless it learns. Gaps and vocabulary padding are zero. */
float *gpt_grads(struct gpt *g);
void *gpt_weights16(struct gpt *g); /* n_params bf16, owned by g; NULL in f32 */
