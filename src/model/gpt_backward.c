/* gpt_backward.c - gradients, in the reverse order of gpt_forward.c.
 *
 * g->dx is the gradient of the residual stream, f32. A block adds each branch's contribution to it:
 * the sum in the forward pass hands dx unchanged to both of its terms. */
#include "model/gpt_impl.h"

/* dx in the type matmuls read. */
static enum shoal_status gradient_of_branch(struct gpt *g)
{
    if (g->dbranch.data == g->dx.data) return SHOAL_OK;
    return kernel_convert(g->dev, g->dbranch, g->dx);
}

static enum shoal_status feed_forward_grad(struct gpt *g, const struct gpt_block *b, int l)
{
    SHOAL_TRY(gradient_of_branch(g));
    SHOAL_TRY(kernel_matmul_grad_w(g->dev, gpt_grad(g, PARAM_FCPROJ_W, l),
                                   gpt_grad(g, PARAM_FCPROJ_B, l), g->dbranch, b->gelu));
    SHOAL_TRY(kernel_matmul_grad_x(g->dev, g->dwide, g->dbranch, gpt_matrix(g, PARAM_FCPROJ_W, l),
                                   false));
    SHOAL_TRY(kernel_gelu_grad(g->dev, g->dwide, g->dwide, b->fc));
    SHOAL_TRY(kernel_matmul_grad_w(g->dev, gpt_grad(g, PARAM_FC_W, l), gpt_grad(g, PARAM_FC_B, l),
                                   g->dwide, b->ln2));
    SHOAL_TRY(
        kernel_matmul_grad_x(g->dev, g->dnorm, g->dwide, gpt_matrix(g, PARAM_FC_W, l), false));
    return kernel_layernorm_grad(g->dev, g->dx, gpt_grad(g, PARAM_LN2_G, l),
                                 gpt_grad(g, PARAM_LN2_B, l), g->dnorm, b->mid, b->mean2, b->rstd2,
                                 gpt_master(g, PARAM_LN2_G, l));
}

static enum shoal_status attention_grad(struct gpt *g, const struct gpt_block *b, int l)
{
    struct view datt = b->att; /* the shape of att on the memory of dnorm */
    datt.data = g->dnorm.data;
    SHOAL_TRY(gradient_of_branch(g));
    SHOAL_TRY(kernel_matmul_grad_w(g->dev, gpt_grad(g, PARAM_PROJ_W, l),
                                   gpt_grad(g, PARAM_PROJ_B, l), g->dbranch, gpt_rows(b->att)));
    SHOAL_TRY(
        kernel_matmul_grad_x(g->dev, g->dnorm, g->dbranch, gpt_matrix(g, PARAM_PROJ_W, l), false));
    SHOAL_TRY(kernel_attention_grad(g->dev, g->dqkv, datt, b->att, b->stats, b->qkv,
                                    g->table->shape.heads));
    SHOAL_TRY(kernel_matmul_grad_w(g->dev, gpt_grad(g, PARAM_QKV_W, l), gpt_grad(g, PARAM_QKV_B, l),
                                   gpt_rows(g->dqkv), b->ln1));
    SHOAL_TRY(kernel_matmul_grad_x(g->dev, g->dnorm, gpt_rows(g->dqkv),
                                   gpt_matrix(g, PARAM_QKV_W, l), false));
    return kernel_layernorm_grad(g->dev, g->dx, gpt_grad(g, PARAM_LN1_G, l),
                                 gpt_grad(g, PARAM_LN1_B, l), g->dnorm, b->in, b->mean1, b->rstd1,
                                 gpt_master(g, PARAM_LN1_G, l));
}

/* From the last norm's output, where gpt_head left its gradient in g->dnorm. */
static enum shoal_status last_norm_grad(struct gpt *g)
{
    SHOAL_TRY(device_zero(g->dev, g->dx.data, (size_t)view_count(g->dx) * sizeof(float)));
    return kernel_layernorm_grad(g->dev, g->dx, gpt_grad(g, PARAM_LNF_G, 0),
                                 gpt_grad(g, PARAM_LNF_B, 0), g->dnorm,
                                 g->block[g->table->shape.layers - 1].out, g->lnf_mean, g->lnf_rstd,
                                 gpt_master(g, PARAM_LNF_G, 0));
}

enum shoal_status gpt_backward(struct gpt *g)
{
    SHOAL_TRY(last_norm_grad(g));
    for (int l = g->table->shape.layers - 1; l >= 0; l--) {
        SHOAL_TRY(feed_forward_grad(g, &g->block[l], l));
        SHOAL_TRY(attention_grad(g, &g->block[l], l));
    }
    return kernel_embed_grad(g->dev, gpt_grad(g, PARAM_WTE, 0), gpt_grad(g, PARAM_WPE, 0), g->dx,
                             g->tokens);
}
