/* optim.c - see optim.h. */
#include "optim/optim.h"

#include <math.h>

/* How far step is from begin to end, in [0, 1]. */
static double progress(int64_t step, int64_t begin, int64_t end)
{
    if (step <= begin) return 0.0;
    if (step >= end) return 1.0;
    return (double)(step - begin) / (double)(end - begin);
}

/* From 1 at the end of the warm-up to 0 at the last step. */
static double shape_at(const struct config *c, int64_t step)
{
    const double pi = 3.14159265358979323846;
    const int64_t warmup = c->train.warmup, steps = c->run.steps;
    switch ((enum schedule)c->train.schedule) {
    case SCHEDULE_COSINE:
        return 0.5 * (1.0 + cos(pi * progress(step, warmup, steps)));
    case SCHEDULE_LINEAR:
        return 1.0 - progress(step, warmup, steps);
    case SCHEDULE_WSD: {
        const int64_t fall_from = steps - (int64_t)llround(c->train.wsd_decay * (double)steps);
        return 1.0 - progress(step, fall_from > warmup ? fall_from : warmup, steps);
    }
    case SCHEDULE_CONSTANT:
        break;
    }
    return 1.0;
}

double optim_lr(const struct config *c, int64_t step)
{
    const double peak = c->train.lr, last = c->train.lr * c->train.lr_final;
    if (step < c->train.warmup) return peak * (double)step / (double)c->train.warmup;
    return last + (peak - last) * shape_at(c, step);
}

/* Elements begin .. end - 1 of e's slabs. */
static enum shoal_status adamw_range(struct expert *e, struct gpt *g, int64_t begin, int64_t end,
                                     struct adamw_args a)
{
    uint16_t *const w16 = gpt_weights16(g);
    return kernel_adamw(e->dev, e->weights + begin, w16 ? w16 + begin : NULL, e->adam_m + begin,
                        e->adam_v + begin, gpt_grads(g) + begin, end - begin, a);
}

/* figures: NULL, or what decides in place of grad_scale. */
static enum shoal_status adamw(const struct config *c, struct expert *e, struct gpt *g, double lr,
                               double grad_scale, const struct figures *figures)
{
    const struct param_table *t = e->table;
    struct adamw_args a = {.lr = (float)lr,
                           .beta1 = (float)c->train.beta1,
                           .beta2 = (float)c->train.beta2,
                           .eps = (float)c->train.eps,
                           .decay = (float)c->train.decay,
                           .grad_scale = (float)grad_scale,
                           .step = e->step,
                           .figures = figures};
    SHOAL_TRY(adamw_range(e, g, 0, t->decay_end, a));
    a.decay = 0.0f;
    return adamw_range(e, g, t->decay_end, t->n_params, a);
}

enum shoal_status optim_step(const struct config *c, struct expert *e, struct gpt *g, double loss,
                             struct outlier *outlier, struct optim_result *result)
{
    double sumsq;
    SHOAL_CHECK(gpt_grads(g), SHOAL_EARG, "optimiser: the model was created for judging only");
    SHOAL_TRY(kernel_sumsq(e->dev, &sumsq, gpt_grads(g), e->table->n_params));
    e->step++;
    result->lr = optim_lr(c, e->step) * e->lr_scale;
    result->grad_norm = sqrt(sumsq);
    result->skip = outlier_judge(outlier, c->train.skip, c->train.skip_window,
                                 (struct outlier_row){loss, result->grad_norm});
    if (result->skip == SKIP_NONE) {
        const bool clips = c->train.clip > 0.0 && result->grad_norm > c->train.clip;
        const double grad_scale = clips ? c->train.clip / result->grad_norm : 1.0;
        SHOAL_TRY(adamw(c, e, g, result->lr, grad_scale, NULL));
    }
    return gpt_zero_grads(g);
}

enum shoal_status optim_queue(const struct config *c, struct expert *e, struct gpt *g, int which,
                              struct optim_result *result)
{
    struct figures *const figures = gpt_figures(g);
    SHOAL_CHECK(gpt_grads(g), SHOAL_EARG, "optimiser: the model was created for judging only");
    SHOAL_ASSERT(c->train.skip <= 0);
    e->step++;
    *result = (struct optim_result){.lr = optim_lr(c, e->step) * e->lr_scale};
    SHOAL_TRY(
        kernel_figures_norm(e->dev, figures, gpt_grads(g), e->table->n_params, c->train.clip));
    SHOAL_TRY(adamw(c, e, g, result->lr, 1.0, figures));
    SHOAL_TRY(gpt_send_figures(g, which));
    return gpt_zero_grads(g);
}

enum shoal_status optim_await(const struct config *c, struct gpt *g, int which,
                              struct outlier *outlier, double *loss, struct optim_result *result)
{
    struct figures f;
    SHOAL_TRY(gpt_take_figures(g, which, &f));
    *loss = f.loss;
    result->grad_norm = sqrt(f.sumsq);
    result->skip = outlier_judge(outlier, 0, c->train.skip_window,
                                 (struct outlier_row){f.loss, result->grad_norm});
    return SHOAL_OK;
}
