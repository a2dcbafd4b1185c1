/* adamw.c - AdamW in one pass: w, m, v, gradient read once, w, m, v and the bf16 copy written. */
#include <math.h>
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/cpu.h"

/* What does not depend on the element. */
struct adamw_step {
    float beta1, rest1, beta2, rest2; /* rest = 1 - beta */
    float grad_scale;
    float rate;        /* lr / (1 - beta1^step) */
    float unbias2;     /* 1 / sqrt(1 - beta2^step) */
    float eps, shrink; /* shrink = lr * decay */
};

static struct adamw_step adamw_step_make(const struct adamw_args *a)
{
    const double beta1 = (double)a->beta1, beta2 = (double)a->beta2, step = (double)a->step;
    const struct adamw_step s = {.beta1 = a->beta1,
                                 .rest1 = (float)(1.0 - beta1),
                                 .beta2 = a->beta2,
                                 .rest2 = (float)(1.0 - beta2),
                                 .grad_scale = a->grad_scale,
                                 .rate = (float)((double)a->lr / (1.0 - pow(beta1, step))),
                                 .unbias2 = (float)(1.0 / sqrt(1.0 - pow(beta2, step))),
                                 .eps = a->eps,
                                 .shrink = (float)((double)a->lr * (double)a->decay)};
    return s;
}

SPECIALISED void adamw_piece(float *w, uint16_t *w16, float *m, float *v, const float *grad,
                             int64_t n, struct adamw_step s, bool with16)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float g = grad[i] * s.grad_scale;
        const float mi = s.beta1 * m[i] + s.rest1 * g;
        const float vi = s.beta2 * v[i] + s.rest2 * (g * g);
        const float wi = w[i] - (s.rate * mi / (sqrtf(vi) * s.unbias2 + s.eps) + s.shrink * w[i]);
        m[i] = mi;
        v[i] = vi;
        w[i] = wi;
        if (with16) w16[i] = bf16_from_f32(wi);
    }
}

enum shoal_status cpu_adamw(struct device *dev, float *w, void *w16, float *m, float *v,
                            const float *grad, int64_t n, struct adamw_args a)
{
    struct adamw_step s = adamw_step_make(&a);
    if (a.figures) s.grad_scale = a.figures->scale;
    if (isnan(s.grad_scale)) return SHOAL_OK;
    const int team = cpu_team(dev, n);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t p = 0; p < cpu_pieces(n); p++) {
        const int64_t at = p * CPU_PIECE, count = cpu_piece(n, p);
        if (w16)
            adamw_piece(w + at, (uint16_t *)w16 + at, m + at, v + at, grad + at, count, s, true);
        else
            adamw_piece(w + at, NULL, m + at, v + at, grad + at, count, s, false);
    }
    return SHOAL_OK;
}
