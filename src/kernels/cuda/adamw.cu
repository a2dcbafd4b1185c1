/* adamw.cu - AdamW in one pass: w, m, v, gradient read once, w, m, v and the bf16 copy written: 28
 * bytes an element, 30 with the copy. Bound by memory. */
#include "kernels/cuda/device.cuh"

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
    struct adamw_step s;
    s.beta1 = a->beta1;
    s.rest1 = (float)(1.0 - beta1);
    s.beta2 = a->beta2;
    s.rest2 = (float)(1.0 - beta2);
    s.grad_scale = a->grad_scale;
    s.rate = (float)((double)a->lr / (1.0 - pow(beta1, step)));
    s.unbias2 = (float)(1.0 / sqrt(1.0 - pow(beta2, step)));
    s.eps = a->eps;
    s.shrink = (float)((double)a->lr * (double)a->decay);
    return s;
}

/* w16 and figures may be NULL. `wide`: w, m, v and grad are aligned; `wide16`: w16 is. */
static __global__ void adamw_k(float *w, half_bits *w16, float *m, float *v, const float *grad,
                               int64_t n, struct adamw_step s, const struct figures *figures,
                               bool wide, bool wide16)
{
    if (figures) s.grad_scale = figures->scale;
    if (s.grad_scale != s.grad_scale) return;
    for (int64_t q = flat_begin(); 4 * q < n; q += flat_stride()) {
        struct four g = load4(grad, 4 * q, n, wide), wi = load4(w, 4 * q, n, wide),
                    mi = load4(m, 4 * q, n, wide), vi = load4(v, 4 * q, n, wide);
        for (int k = 0; k < 4; k++) {
            const float gk = g.v[k] * s.grad_scale;
            mi.v[k] = s.beta1 * mi.v[k] + s.rest1 * gk;
            vi.v[k] = s.beta2 * vi.v[k] + s.rest2 * (gk * gk);
            const float step = s.rate * mi.v[k] / (sqrtf(vi.v[k]) * s.unbias2 + s.eps);
            wi.v[k] = wi.v[k] - (step + s.shrink * wi.v[k]);
        }
        store4(m, 4 * q, n, wide, mi);
        store4(v, 4 * q, n, wide, vi);
        store4(w, 4 * q, n, wide, wi);
        if (w16) store4(w16, 4 * q, n, wide16, wi);
    }
}

enum shoal_status cuda_adamw(struct device *dev, float *w, void *w16, float *m, float *v,
                             const float *grad, int64_t n, struct adamw_args a)
{
    const bool wide = aligned16(w) && aligned16(m) && aligned16(v) && aligned16(grad);
    return launch(dev, flat_grid(n), adamw_k, w, (half_bits *)w16, m, v, grad, n,
                  adamw_step_make(&a), a.figures, wide, alignment_of(w16) >= 8);
}
