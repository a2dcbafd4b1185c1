/* gemm.c - which code multiplies: ours (gemm_tiles.c), where epilogues are part of the product, or
 * oneDNN for bf16 where the processor has matrix registers (AMX), where they follow it. */
#include "kernels/cpu/gemm_parts.h"

static struct view as_view(const struct gemm *g, void *data)
{
    return view_make(data, g->out, g->m, g->n);
}

/* What comes after oneDNN's product: c holds p, and for GEMM_GELU aux does. */
static enum shoal_status finish(struct device *dev, const struct gemm *g, const struct gemm_data *d)
{
    if (g->epilogue == GEMM_GELU) return cpu_gelu(dev, as_view(g, d->c), as_view(g, d->aux));
    if (g->epilogue == GEMM_GELU_GRAD || (g->epilogue == GEMM_RESIDUAL && d->aux != d->c))
        gemm_epilogue_in_place(dev, g, d);
    if (d->a_sums) cpu_add_column_sums(dev, d->a_sums, d->a, true, g->k, g->m);
    return SHOAL_OK;
}

enum shoal_status cpu_gemm(struct device *dev, const struct gemm *g, const struct gemm_data *d)
{
    if (g->in == DTYPE_F32 || !cpu_of(dev)->matrices16) return gemm_tiles_run(dev, g, d);
    const bool onto_c = g->epilogue == GEMM_ADD || (g->epilogue == GEMM_RESIDUAL && d->aux == d->c);
    const struct product p = {.m = g->m,
                              .n = g->n,
                              .k = g->k,
                              .kind = g->kind,
                              .out = g->out,
                              .bias = d->bias != NULL,
                              .accumulate = onto_c};
    SHOAL_TRY(
        gemm_dnnl_run(dev, &p, g->epilogue == GEMM_GELU ? d->aux : d->c, d->a, d->b, d->bias));
    return finish(dev, g, d);
}
