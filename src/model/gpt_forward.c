/* gpt_forward.c - tokens to losses.
 *
 *   x = wte[token] + wpe[position]
 *   each block: x = x + attention(norm(x)); x = x + feed_forward(norm(x))
 *   loss = cross-entropy(norm(x) . wte^T, target)
 *
 * The residual stream x stays f32; what matmuls read and write is g->act. */
#include "model/gpt_impl.h"
#include "model/views.h"

static enum shoal_status attention_branch(struct gpt *g, const struct gpt_block *b, int l)
{
    SHOAL_TRY(kernel_layernorm(g->dev, b->ln1, b->mean1, b->rstd1, b->in,
                               gpt_master(g, PARAM_LN1_G, l), gpt_master(g, PARAM_LN1_B, l),
                               GPT_LAYERNORM_EPS));
    SHOAL_TRY(kernel_matmul(g->dev, gpt_rows(b->qkv), b->ln1, gpt_matrix(g, PARAM_QKV_W, l),
                            gpt_master(g, PARAM_QKV_B, l)));
    SHOAL_TRY(kernel_attention(g->dev, b->att, b->stats, b->qkv, g->table->shape.heads));
    SHOAL_TRY(kernel_matmul(g->dev, g->branch, gpt_rows(b->att), gpt_matrix(g, PARAM_PROJ_W, l),
                            gpt_master(g, PARAM_PROJ_B, l)));
    return kernel_add(g->dev, b->mid, b->in, g->branch);
}

static enum shoal_status feed_forward_branch(struct gpt *g, const struct gpt_block *b, int l)
{
    SHOAL_TRY(kernel_layernorm(g->dev, b->ln2, b->mean2, b->rstd2, b->mid,
                               gpt_master(g, PARAM_LN2_G, l), gpt_master(g, PARAM_LN2_B, l),
                               GPT_LAYERNORM_EPS));
    SHOAL_TRY(kernel_matmul(g->dev, b->fc, b->ln2, gpt_matrix(g, PARAM_FC_W, l),
                            gpt_master(g, PARAM_FC_B, l)));
    SHOAL_TRY(kernel_gelu(g->dev, b->gelu, b->fc));
    SHOAL_TRY(kernel_matmul(g->dev, g->branch, b->gelu, gpt_matrix(g, PARAM_FCPROJ_W, l),
                            gpt_master(g, PARAM_FCPROJ_B, l)));
    return kernel_add(g->dev, b->out, b->mid, g->branch);
}

enum shoal_status gpt_forward(struct gpt *g)
{
    const int layers = g->table->shape.layers;
    SHOAL_TRY(kernel_embed(g->dev, g->embedded, g->tokens, gpt_master(g, PARAM_WTE, 0),
                           gpt_master(g, PARAM_WPE, 0)));
    for (int l = 0; l < layers; l++) {
        SHOAL_TRY(attention_branch(g, &g->block[l], l));
        SHOAL_TRY(feed_forward_branch(g, &g->block[l], l));
    }
    return kernel_layernorm(g->dev, g->lnf, g->lnf_mean, g->lnf_rstd, g->block[layers - 1].out,
                            gpt_master(g, PARAM_LNF_G, 0), gpt_master(g, PARAM_LNF_B, 0),
                            GPT_LAYERNORM_EPS);
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
    const struct view x = view_rows(g->lnf, begin, n), wte = gpt_matrix(g, PARAM_WTE, 0);
    const struct view none = {NULL, {0, 0, 0, 0}, DTYPE_F32};
    SHOAL_TRY(kernel_matmul(g->dev, logits, x, wte, none));
    SHOAL_TRY(kernel_xent(g->dev, view_rows(g->losses, begin, n), logits,
                          view_rows(g->targets, begin, n), g->table->shape.vocab, scale,
                          with_grad));
    if (!with_grad) return SHOAL_OK;
    SHOAL_TRY(kernel_matmul_grad_w(g->dev, gpt_grad(g, PARAM_WTE, 0), none, logits, x));
    return kernel_matmul_grad_x(g->dev, view_rows(g->dnorm, begin, n), logits, wte, false);
}

enum shoal_status gpt_head(struct gpt *g, bool with_grad, float scale)
{
    const struct view memory = logits_memory(g, with_grad);
    const int64_t rows = view_count(g->losses);
    for (int64_t begin = 0; begin < rows; begin += memory.dim[0]) {
        const int64_t n = rows - begin < memory.dim[0] ? rows - begin : memory.dim[0];
        SHOAL_TRY(head_rows(g, view_rows(memory, 0, n), begin, with_grad, scale));
    }
    return SHOAL_OK;
}
