/* gpt_forward.c - tokens to losses.
 *
 *   x = wte[token] (gpt2: + wpe[position])
 *   each block: x = x + attention(norm(x)); x = x + feed_forward(norm(x))
 *   loss = cross-entropy(norm(x) . head^T, target)
 *
 * The residual stream x stays f32; what products read and write is g->act. The architectures differ
 * in what is missing (llama's biases, means and wpe are views of nothing), in how positions come in
 * and in the feed-forward's non-linearity. */
#include "model/gpt_impl.h"
#include "model/views.h"

enum shoal_status gpt_attention(struct gpt *g, const struct gpt_block *b, int l)
{
    const struct attention_shape heads = gpt_heads(g);
    SHOAL_TRY(kernel_norm(g->dev, b->norm1, b->mean1, b->rstd1, b->in, gpt_param(g, PARAM_LN1_G, l),
                          gpt_param(g, PARAM_LN1_B, l), GPT_NORM_EPS));
    SHOAL_TRY(kernel_matmul(g->dev, gpt_rows(b->qkv), b->norm1, gpt_matrix(g, PRODUCT_QKV, l),
                            gpt_param(g, PARAM_QKV_B, l)));
    if (gpt_is_llama(g))
        SHOAL_TRY(kernel_rope(g->dev, b->qkv, heads, 0, g->table->shape.rope_theta, false));
    SHOAL_TRY(kernel_attention(g->dev, b->att, b->stats, b->qkv, heads));
    return kernel_matmul_residual(g->dev, b->mid, b->in, gpt_rows(b->att),
                                  gpt_matrix(g, PRODUCT_PROJ, l), gpt_param(g, PARAM_PROJ_B, l));
}

enum shoal_status gpt_wide(struct gpt *g, const struct gpt_block *b, int l)
{
    const struct view w = gpt_matrix(g, PRODUCT_FC, l);
    SHOAL_TRY(kernel_norm(g->dev, b->norm2, b->mean2, b->rstd2, b->mid,
                          gpt_param(g, PARAM_LN2_G, l), gpt_param(g, PARAM_LN2_B, l),
                          GPT_NORM_EPS));
    if (gpt_is_llama(g)) return kernel_matmul(g->dev, b->wide, b->norm2, w, view_none());
    return kernel_matmul_gelu(g->dev, g->hidden, b->wide, b->norm2, w, gpt_param(g, PARAM_FC_B, l));
}

static enum shoal_status feed_forward(struct gpt *g, const struct gpt_block *b, int l)
{
    SHOAL_TRY(gpt_wide(g, b, l));
    if (gpt_is_llama(g)) SHOAL_TRY(kernel_swiglu(g->dev, g->hidden, b->wide));
    return kernel_matmul_residual(g->dev, b->out, b->mid, g->hidden,
                                  gpt_matrix(g, PRODUCT_FCPROJ, l),
                                  gpt_param(g, PARAM_FCPROJ_B, l));
}

enum shoal_status gpt_forward(struct gpt *g)
{
    const int layers = g->table->shape.layers;
    SHOAL_TRY(kernel_embed(g->dev, g->embedded, g->tokens, gpt_param(g, PARAM_WTE, 0),
                           gpt_param(g, PARAM_WPE, 0)));
    for (int l = 0; l < layers; l++) {
        SHOAL_TRY(gpt_attention(g, &g->block[l], l));
        SHOAL_TRY(feed_forward(g, &g->block[l], l));
    }
    return kernel_norm(g->dev, g->lnf, g->lnf_mean, g->lnf_rstd, g->block[layers - 1].out,
                       gpt_param(g, PARAM_LNF_G, 0), gpt_param(g, PARAM_LNF_B, 0), GPT_NORM_EPS);
}

/* ---- the head, some rows at a time ----------------------------------------------------------- */

/* The memory of g->logits for this pass: judging compares experts that differ by little, so its
 * logits are f32 whatever the activations are. */
static struct view logits_memory(const struct gpt *g, bool with_grad)
{
    struct view v = g->logits;
    if (with_grad || v.dtype == DTYPE_F32) return v;
    const int64_t rows = v.dim[0] * (int64_t)dtype_bytes(v.dtype) / (int64_t)sizeof(float);
    return view_make(v.data, DTYPE_F32, rows, v.dim[1]);
}

static enum shoal_status head_rows(struct gpt *g, struct view logits, int64_t begin, bool with_grad,
                                   float scale)
{
    const int64_t n = logits.dim[0];
    const struct view x = view_rows(g->lnf, begin, n), w = gpt_matrix(g, PRODUCT_HEAD, 0);
    SHOAL_TRY(kernel_matmul(g->dev, logits, x, w, view_none()));
    SHOAL_TRY(kernel_xent(g->dev, view_rows(g->losses, begin, n), logits,
                          view_rows(g->targets, begin, n), g->table->shape.vocab, scale,
                          with_grad));
    if (!with_grad) return SHOAL_OK;
    SHOAL_TRY(kernel_matmul_grad_w(g->dev, gpt_matrix_grad(g, PRODUCT_HEAD, 0), view_none(), logits,
                                   x, g->accumulate || begin > 0));
    return kernel_matmul_grad_x(g->dev, view_rows(g->dnorm, begin, n), logits, w);
}

enum shoal_status gpt_head(struct gpt *g, bool with_grad, float scale)
{
    const struct view memory = logits_memory(g, with_grad);
    const int64_t rows = view_count(g->losses), most = memory.dim[0];
    const int64_t parts = (rows + most - 1) / most;
    const int64_t part = (rows + parts - 1) / parts; /* equal parts: a short last one is slow */
    for (int64_t begin = 0; begin < rows; begin += part) {
        const int64_t n = rows - begin < part ? rows - begin : part;
        SHOAL_TRY(head_rows(g, view_rows(memory, 0, n), begin, with_grad, scale));
    }
    return SHOAL_OK;
}
