/* gpt.c - a GPT's memory and its two ways of use, learning and judging. The arithmetic reads like
 * the paper in gpt_forward.c and gpt_backward.c; where things lie is in gpt_layout.c. */
#include "model/gpt_impl.h"

#include <string.h>
#include "base/memory.h"
#include "model/views.h"

/* ---- life ------------------------------------------------------------------------------------ */

static struct gpt describe(const struct param_table *table, struct gpt_setup setup)
{
    return (struct gpt){.table = table,
                        .setup = setup,
                        .act = setup.precision == PRECISION_BF16 ? DTYPE_BF16 : DTYPE_F32};
}

static enum shoal_status alloc_slabs(struct gpt *g)
{
    const size_t n = (size_t)g->table->n_params;
    const int64_t bytes = gpt_layout(g, g->setup.batch);
    SHOAL_TRY(device_alloc(g->dev, (size_t)bytes,
                           g->setup.learns ? "activations (a smaller train.micro_batch needs less)"
                                           : "activations (a smaller batch needs less)",
                           &g->pool));
    if (g->act == DTYPE_BF16)
        SHOAL_TRY(device_alloc(g->dev, n * dtype_bytes(g->act), "bf16 weights", &g->weights16));
    if (g->setup.learns) SHOAL_TRY(device_alloc(g->dev, n * sizeof(float), "gradients", &g->grads));
    for (int i = 0; i < 2; i++)
        SHOAL_TRY(device_alloc_pinned(g->dev, (size_t)gpt_pinned_bytes(g->setup) / 2,
                                      "batches on their way", &g->pinned[i]));
    return SHOAL_OK;
}

enum shoal_status gpt_create(struct device *dev, const struct param_table *table,
                             struct gpt_setup setup, struct gpt **out)
{
    enum shoal_status st = SHOAL_OK;
    struct gpt *g = NULL;
    *out = NULL;
    SHOAL_CHECK(setup.batch > 0, SHOAL_EARG, "model: batch of %d sequences; it must be positive",
                setup.batch);
    SHOAL_CHECK(setup.context > 0 && setup.context <= table->shape.context, SHOAL_EARG,
                "model: sequences of %d tokens, but the model's context is %d", setup.context,
                table->shape.context);
    SHOAL_TRY(mem_alloc(sizeof *g, "the model", &g));
    *g = describe(table, setup);
    g->dev = dev;
    SHOAL_GOTO(
        mem_alloc((size_t)table->shape.layers * sizeof *g->block, "the model's blocks", &g->block));
    SHOAL_GOTO(alloc_slabs(g));
    if (setup.graph && device_records(dev)) SHOAL_GOTO(gpt_pieces_create(&g->pieces));
    gpt_layout(g, setup.batch);
    *out = g;
    return SHOAL_OK;
done:
    gpt_destroy(&g);
    return st;
}

void gpt_destroy(struct gpt **g)
{
    struct gpt *x = *g;
    if (!x) return;
    gpt_pieces_destroy(x->dev, &x->pieces);
    if (x->grads) device_free(x->dev, x->grads);
    if (x->weights16) device_free(x->dev, x->weights16);
    if (x->pool) device_free(x->dev, x->pool);
    for (int i = 0; i < 2; i++)
        device_free_pinned(x->dev, x->pinned[i]);
    mem_free(x->block);
    mem_free(x);
    *g = NULL;
}

int64_t gpt_bytes(const struct param_table *table, struct gpt_setup setup)
{
    struct gpt g = describe(table, setup);
    int64_t bytes = gpt_layout(&g, setup.batch);
    if (g.act == DTYPE_BF16) bytes += table->n_params * (int64_t)dtype_bytes(g.act);
    if (setup.learns) bytes += table->n_params * (int64_t)sizeof(float);
    return bytes;
}

int64_t gpt_pinned_bytes(struct gpt_setup setup)
{
    const size_t tokens = (size_t)setup.batch * (size_t)setup.context;
    return 2 * (int64_t)(sizeof(struct gpt_pinned) + 2 * tokens * sizeof(int32_t));
}

/* ---- parameters ------------------------------------------------------------------------------ */

struct view gpt_matrix(const struct gpt *g, enum param_product product, int layer)
{
    void *const slab = g->act == DTYPE_BF16 ? g->weights16 : (void *)g->weights;
    return product_view(g->table, slab, g->act, product, layer);
}

struct view gpt_matrix_grad(const struct gpt *g, enum param_product product, int layer)
{
    return product_view(g->table, g->grads, DTYPE_F32, product, layer);
}

struct view gpt_param(const struct gpt *g, enum param which, int layer)
{
    return param_view(g->table, g->weights, DTYPE_F32, which, layer);
}

struct view gpt_grad(const struct gpt *g, enum param which, int layer)
{
    return param_view(g->table, g->grads, DTYPE_F32, which, layer);
}

struct view gpt_rows(struct view v)
{
    return view_make(v.data, v.dtype, v.dim[0] * v.dim[1], v.dim[2]);
}

enum shoal_status gpt_load(struct gpt *g, float *weights)
{
    const int64_t n = g->table->n_params;
    g->weights = weights;
    if (!g->weights16) return SHOAL_OK;
    return kernel_convert(g->dev, view_make(g->weights16, DTYPE_BF16, n, 1),
                          view_make(weights, DTYPE_F32, n, 1));
}

/* Gradients of products are set by the first batch. What is left is always added to: vectors and
 * embeddings, but not an embedding that is the head too. */
enum shoal_status gpt_zero_grads(struct gpt *g)
{
    SHOAL_CHECK(g->grads, SHOAL_EARG, "model: created for judging only, it has no gradients");
    const struct param_table *t = g->table;
    const int64_t head = param_product(t, PRODUCT_HEAD, 0).offset;
    g->accumulate = false;
    for (int i = 0; i < t->n_tensors; i++) {
        const struct param_tensor *p = &t->tensor[i];
        if ((p->which != PARAM_WTE && p->which != PARAM_WPE) || p->offset == head) continue;
        SHOAL_TRY(device_zero(g->dev, g->grads + p->offset,
                              (size_t)(p->rows * p->cols) * sizeof *g->grads));
    }
    return device_zero(g->dev, g->grads + t->decay_end,
                       (size_t)(t->n_params - t->decay_end) * sizeof *g->grads);
}

float *gpt_grads(struct gpt *g)
{
    return g->grads;
}

void *gpt_weights16(struct gpt *g)
{
    return g->weights16;
}

/* ---- learning and judging -------------------------------------------------------------------- */

/* Tokens come from files: one outside the vocabulary would read outside the embedding. */
static enum shoal_status check_tokens(const struct gpt *g, const int32_t *tokens,
                                      const int32_t *targets, int64_t n, int64_t *n_targets)
{
    const int32_t vocab = g->table->shape.vocab;
    *n_targets = 0;
    for (int64_t i = 0; i < n; i++) {
        SHOAL_CHECK(tokens[i] >= 0 && tokens[i] < vocab, SHOAL_EARG,
                    "model: token %d at place %lld is not in the vocabulary of %d", tokens[i],
                    (long long)i, vocab);
        SHOAL_CHECK(targets[i] < vocab, SHOAL_EARG,
                    "model: target %d at place %lld is not in the vocabulary of %d", targets[i],
                    (long long)i, vocab);
        *n_targets += targets[i] >= 0;
    }
    SHOAL_CHECK(*n_targets > 0, SHOAL_EARG, "model: a batch without a single target");
    return SHOAL_OK;
}

/* By way of pinned memory, which is used again when the batch before the last one has left it. */
static enum shoal_status send_batch(struct gpt *g, const int32_t *tokens, const int32_t *targets,
                                    int64_t n)
{
    const int turn = g->turn;
    const size_t bytes = (size_t)n * sizeof *tokens;
    int32_t *const to = g->pinned[turn]->tokens;
    g->turn = !turn;
    SHOAL_TRY(device_reach(g->dev, GPT_MARK_TOKENS + turn));
    memcpy(to, tokens, bytes);
    memcpy(to + n, targets, bytes);
    SHOAL_TRY(device_put(g->dev, g->tokens.data, to, bytes));
    SHOAL_TRY(device_put(g->dev, g->targets.data, to + n, bytes));
    return device_mark(g->dev, GPT_MARK_TOKENS + turn);
}

/* Check a batch, lay the activations out for it and bring it to the device. */
static enum shoal_status take_batch(struct gpt *g, const int32_t *tokens, const int32_t *targets,
                                    int batch, int64_t *n_targets)
{
    const int64_t n = (int64_t)batch * g->setup.context;
    SHOAL_CHECK(batch > 0 && batch <= g->setup.batch, SHOAL_EARG,
                "model: a batch of %d sequences, but it was created for 1 to %d", batch,
                g->setup.batch);
    SHOAL_CHECK(g->weights, SHOAL_EARG, "model: no weights loaded");
    SHOAL_TRY(check_tokens(g, tokens, targets, n, n_targets));
    if (batch != g->batch) gpt_layout(g, batch);
    return send_batch(g, tokens, targets, n);
}

static enum shoal_status mean_loss(struct gpt *g, int64_t n_targets, double *loss)
{
    double sum;
    SHOAL_TRY(kernel_sum(g->dev, &sum, g->losses.data, view_count(g->losses)));
    *loss = sum / (double)n_targets;
    return SHOAL_OK;
}

enum shoal_status gpt_learn(struct gpt *g, const int32_t *tokens, const int32_t *targets, int batch,
                            float scale, double *loss)
{
    int64_t n_targets;
    SHOAL_CHECK(g->setup.learns, SHOAL_EARG, "model: created for judging only, it cannot learn");
    SHOAL_TRY(take_batch(g, tokens, targets, batch, &n_targets));
    SHOAL_TRY(gpt_pass(g, true, scale / (float)n_targets));
    const bool first = !g->accumulate;
    g->accumulate = true;
    if (loss) return mean_loss(g, n_targets, loss);
    return kernel_figures_loss(g->dev, g->figures, g->losses.data, view_count(g->losses),
                               (double)n_targets, !first);
}

enum shoal_status gpt_judge(struct gpt *g, const int32_t *tokens, const int32_t *targets, int batch,
                            double *loss)
{
    int64_t n_targets;
    SHOAL_TRY(take_batch(g, tokens, targets, batch, &n_targets));
    SHOAL_TRY(gpt_pass(g, false, 0.0f));
    return mean_loss(g, n_targets, loss);
}

/* ---- figures of a step ----------------------------------------------------------------------- */

struct figures *gpt_figures(struct gpt *g)
{
    return g->figures;
}

enum shoal_status gpt_send_figures(struct gpt *g, int which)
{
    SHOAL_TRY(device_get(g->dev, &g->pinned[which]->figures, g->figures, sizeof *g->figures));
    return device_mark(g->dev, GPT_MARK_FIGURES + which);
}

enum shoal_status gpt_take_figures(struct gpt *g, int which, struct figures *out)
{
    SHOAL_TRY(device_reach(g->dev, GPT_MARK_FIGURES + which));
    *out = g->pinned[which]->figures;
    return SHOAL_OK;
}
