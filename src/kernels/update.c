/* update.c - checks and dispatch of the kernels that work on slabs: sums, optimiser, evolution. */
#include "config/config.h"
#include "kernels/check.h"
#define SHOAL_KERNELS_PRIVATE
#include "kernels/kernels_impl.h"

enum shoal_status kernel_sum(struct device *dev, double *out, const float *x, int64_t n)
{
    SHOAL_TRY(check_pointer("sum", "x", x, n));
    return dev->ops->sum(dev, out, x, n);
}

enum shoal_status kernel_sumsq(struct device *dev, double *out, const float *x, int64_t n)
{
    SHOAL_TRY(check_pointer("sumsq", "x", x, n));
    return dev->ops->sumsq(dev, out, x, n);
}

enum shoal_status kernel_figures_loss(struct device *dev, struct figures *f, const float *losses,
                                      int64_t n, double over, bool add)
{
    SHOAL_TRY(check_pointer("figures_loss", "f", f, 1));
    SHOAL_TRY(check_pointer("figures_loss", "losses", losses, n));
    return dev->ops->figures_loss(dev, f, losses, n, over, add);
}

enum shoal_status kernel_figures_norm(struct device *dev, struct figures *f, const float *grad,
                                      int64_t n, double clip)
{
    SHOAL_TRY(check_pointer("figures_norm", "f", f, 1));
    SHOAL_TRY(check_pointer("figures_norm", "grad", grad, n));
    return dev->ops->figures_norm(dev, f, grad, n, clip);
}

enum shoal_status kernel_adamw(struct device *dev, float *w, void *w16, float *m, float *v,
                               const float *grad, int64_t n, struct adamw_args a)
{
    SHOAL_TRY(check_pointer("adamw", "w", w, n));
    SHOAL_TRY(check_pointer("adamw", "m", m, n));
    SHOAL_TRY(check_pointer("adamw", "v", v, n));
    SHOAL_TRY(check_pointer("adamw", "grad", grad, n));
    SHOAL_CHECK(a.step >= 1, SHOAL_EARG, "adamw: step %lld; steps count from 1", (long long)a.step);
    return dev->ops->adamw(dev, w, w16, m, v, grad, n, a);
}

enum shoal_status kernel_swarm(struct device *dev, float *x, float *velocity, const float *own_best,
                               const float *attractor, int64_t rows, int64_t cols,
                               struct swarm_args a)
{
    const int64_t n = rows * cols;
    SHOAL_TRY(check_pointer("swarm", "x", x, n));
    SHOAL_TRY(check_pointer("swarm", "attractor", attractor, n));
    SHOAL_CHECK(velocity || a.inertia == 0.0f, SHOAL_EARG, "swarm: inertia without a velocity");
    SHOAL_CHECK(own_best || a.cognitive == 0.0f, SHOAL_EARG,
                "swarm: a cognitive pull without an own best");
    SHOAL_CHECK(a.draw >= DRAW_CONSTANT && a.draw <= DRAW_ELEMENT, SHOAL_EARG, "swarm: no draw %d",
                a.draw);
    SHOAL_CHECK(a.law == LAW_UNIFORM || a.law == LAW_KOIFISH, SHOAL_EARG, "swarm: no law %d",
                a.law);
    return dev->ops->swarm(dev, x, velocity, own_best, attractor, rows, cols, a);
}

enum shoal_status kernel_crossover(struct device *dev, float *x, const float *attractor,
                                   int64_t rows, int64_t cols, float rate, int by,
                                   struct rng_key key)
{
    SHOAL_TRY(check_pointer("crossover", "x", x, rows * cols));
    SHOAL_TRY(check_pointer("crossover", "attractor", attractor, rows * cols));
    SHOAL_CHECK(by >= DRAW_EXPERT && by <= DRAW_ELEMENT, SHOAL_EARG,
                "crossover: cannot draw by %d; use expert, tensor, row or element", by);
    return dev->ops->crossover(dev, x, attractor, rows, cols, rate, by, key);
}

enum shoal_status kernel_mutate(struct device *dev, float *x, const float *m, const float *v,
                                int64_t n, struct mutate_args a)
{
    SHOAL_TRY(check_pointer("mutate", "x", x, n));
    SHOAL_TRY(check_pointer("mutate", "m", m, n));
    SHOAL_TRY(check_pointer("mutate", "v", v, n));
    return dev->ops->mutate(dev, x, m, v, n, a);
}

enum shoal_status kernel_axpby(struct device *dev, float *out, const float *x, int64_t n,
                               float alpha, float beta)
{
    SHOAL_TRY(check_pointer("axpby", "out", out, n));
    SHOAL_TRY(check_pointer("axpby", "x", x, n));
    return dev->ops->axpby(dev, out, x, n, alpha, beta);
}

static enum shoal_status check_packing(const char *op, enum packing p)
{
    SHOAL_CHECK((int)p >= 0 && p < PACKINGS, SHOAL_EARG, "%s: no packing %d", op, (int)p);
    return SHOAL_OK;
}

enum shoal_status kernel_pack(struct device *dev, void *packed, float *lost, const float *x,
                              const float *base, int64_t n, enum packing p)
{
    SHOAL_TRY(check_pointer("pack", "packed", packed, n));
    SHOAL_TRY(check_pointer("pack", "x", x, n));
    SHOAL_TRY(check_packing("pack", p));
    return dev->ops->pack(dev, packed, lost, x, base, n, p);
}

enum shoal_status kernel_unpack(struct device *dev, float *out, const void *packed, int64_t n,
                                enum packing p, float alpha, float beta)
{
    SHOAL_TRY(check_pointer("unpack", "out", out, n));
    SHOAL_TRY(check_pointer("unpack", "packed", packed, n));
    SHOAL_TRY(check_packing("unpack", p));
    return dev->ops->unpack(dev, out, packed, n, p, alpha, beta);
}
