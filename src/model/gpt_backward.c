/* gpt_backward.c - gradients, in the reverse order of gpt_forward.c.
 *
 * g->dx is the gradient of the residual stream, f32. A block adds each branch's contribution to it:
 * the sum in the forward pass hands dx unchanged to both of its terms. g->dbranch is the same in
 * the type products read, written by the norms' gradients as they go.
 *
 * What the forward pass did not keep is computed again first, by the same calls on the same
 * numbers, so that train.recompute changes no bit. */
#include "model/gpt_impl.h"
#include "model/views.h"

/* dx, also as dbranch, += the gradient through a norm whose output's gradient is g->dnorm. */
static enum shoal_status norm_grad(struct gpt *g, struct view x, struct view mean, struct view rstd,
                                   enum param gain, enum param bias, int l)
{
    const struct view dx16 = g->act == DTYPE_BF16 ? g->dbranch : view_none();
    return kernel_norm_grad(g->dev, g->dx, dx16, gpt_grad(g, gain, l), gpt_grad(g, bias, l),
                            g->dnorm, x, mean, rstd, gpt_param(g, gain, l));
}

/* g->dbranch -> *dwide, the gradient of b->wide: in gpt2 where dhidden is, since the product brings
 * GELU's derivative along; in llama in place of b->wide. */
static enum shoal_status wide_grad(struct gpt *g, const struct gpt_block *b, int l,
                                   struct view *dwide)
{
    const struct view w = gpt_matrix(g, PRODUCT_FCPROJ, l);
    *dwide = gpt_is_llama(g) ? b->wide : g->dhidden;
    if (!gpt_is_llama(g)) return kernel_matmul_gelu_grad_x(g->dev, *dwide, g->dbranch, w, b->wide);
    SHOAL_TRY(kernel_matmul_grad_x(g->dev, g->dhidden, g->dbranch, w));
    return kernel_swiglu_grad(g->dev, *dwide, g->dhidden, b->wide);
}

static enum shoal_status feed_forward_grad(struct gpt *g, const struct gpt_block *b, int l)
{
    struct view dwide;
    SHOAL_TRY(kernel_matmul_grad_w(g->dev, gpt_matrix_grad(g, PRODUCT_FCPROJ, l),
                                   gpt_grad(g, PARAM_FCPROJ_B, l), g->dbranch, g->hidden,
                                   g->accumulate));
    SHOAL_TRY(wide_grad(g, b, l, &dwide));
    SHOAL_TRY(kernel_matmul_grad_w(g->dev, gpt_matrix_grad(g, PRODUCT_FC, l),
                                   gpt_grad(g, PARAM_FC_B, l), dwide, b->norm2, g->accumulate));
    SHOAL_TRY(kernel_matmul_grad_x(g->dev, g->dnorm, dwide, gpt_matrix(g, PRODUCT_FC, l)));
    return norm_grad(g, b->mid, b->mean2, b->rstd2, PARAM_LN2_G, PARAM_LN2_B, l);
}

static enum shoal_status attention_grad(struct gpt *g, const struct gpt_block *b, int l)
{
    const struct attention_shape heads = gpt_heads(g);
    struct view datt = b->att; /* the shape of att on the memory of dnorm */
    datt.data = g->dnorm.data;
    SHOAL_TRY(kernel_matmul_grad_w(g->dev, gpt_matrix_grad(g, PRODUCT_PROJ, l),
                                   gpt_grad(g, PARAM_PROJ_B, l), g->dbranch, gpt_rows(b->att),
                                   g->accumulate));
    SHOAL_TRY(kernel_matmul_grad_x(g->dev, g->dnorm, g->dbranch, gpt_matrix(g, PRODUCT_PROJ, l)));
    SHOAL_TRY(kernel_attention_grad(g->dev, g->dqkv, datt, b->att, b->stats, b->qkv, heads));
    if (gpt_is_llama(g))
        SHOAL_TRY(kernel_rope(g->dev, g->dqkv, heads, 0, g->table->shape.rope_theta, true));
    SHOAL_TRY(kernel_matmul_grad_w(g->dev, gpt_matrix_grad(g, PRODUCT_QKV, l),
                                   gpt_grad(g, PARAM_QKV_B, l), gpt_rows(g->dqkv), b->norm1,
                                   g->accumulate));
    SHOAL_TRY(
        kernel_matmul_grad_x(g->dev, g->dnorm, gpt_rows(g->dqkv), gpt_matrix(g, PRODUCT_QKV, l)));
    return norm_grad(g, b->in, b->mean1, b->rstd1, PARAM_LN1_G, PARAM_LN1_B, l);
}

/* Bring back what block l's gradients need. The forward pass ended with the last block, whose
 * values are still there. g->hidden is never kept: it is one pass over b->wide, made the same way
 * whether or not that was kept, because a product's own GELU need not round alike. */
static enum shoal_status restore(struct gpt *g, const struct gpt_block *b, int l)
{
    const bool kept = l == g->table->shape.layers - 1;
    if (!kept && g->setup.recompute == RECOMPUTE_BLOCK) SHOAL_TRY(gpt_attention(g, b, l));
    if (!kept && g->setup.recompute != RECOMPUTE_NONE) SHOAL_TRY(gpt_wide(g, b, l));
    return gpt_is_llama(g) ? kernel_swiglu(g->dev, g->hidden, b->wide)
                           : kernel_gelu(g->dev, g->hidden, b->wide);
}

enum shoal_status gpt_backward(struct gpt *g)
{
    const int last = g->table->shape.layers - 1;
    SHOAL_TRY(device_zero(g->dev, g->dx.data, (size_t)view_count(g->dx) * sizeof(float)));
    SHOAL_TRY(
        norm_grad(g, g->block[last].out, g->lnf_mean, g->lnf_rstd, PARAM_LNF_G, PARAM_LNF_B, 0));
    for (int l = last; l >= 0; l--) {
        SHOAL_TRY(restore(g, &g->block[l], l));
        SHOAL_TRY(feed_forward_grad(g, &g->block[l], l));
        SHOAL_TRY(attention_grad(g, &g->block[l], l));
    }
    return kernel_embed_grad(g->dev, gpt_grad(g, PARAM_WTE, 0), gpt_grad(g, PARAM_WPE, 0), g->dx,
                             g->tokens);
}
