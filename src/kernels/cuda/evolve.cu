/* evolve.cu - what evolution does to a tensor: swarm step, crossover, mutation.
 *
 * A thread owns four neighbours at a time: they share one Philox block (rng.h), which stays in
 * registers. Numbers are drawn by position (element row * cols + col, row, or 0 for the whole
 * tensor), and the operations of src/kernels/cpu/evolve.c are done in the same order, without
 * contraction, so that CPU and GPU give the same bits. Bound by memory: 12 bytes an element for a
 * step without velocity, 20 with, 16 for a mutation. */
#include "kernels/cuda/device.cuh"

/* The koifish rule's factor: a normal squeezed into [0, 1] around 1/2. */
static __host__ __device__ float koifish_factor(uint32_t bits)
{
    const float r = (rng_to_normal(bits) + 3.0f) / 6.0f;
    return r < 0.0f ? 0.0f : r > 1.0f ? 1.0f : r;
}
static __host__ __device__ float factor_of(int law, uint32_t bits)
{
    return law == LAW_KOIFISH ? koifish_factor(bits) : rng_to_uniform(bits);
}

/* ---- swarm -------------------------------------------------------------------------------------
 */

/* One pull's factors: drawn by element or row from a mixed key, or one for all. */
struct pull {
    float strength, all;
    struct rng_block key;
};

struct swarm {
    float *x, *velocity; /* velocity NULL: not kept */
    const float *own_best, *attractor;
    int64_t n, cols;
    float inertia;
    int draw, law;
    struct pull own, best;
    bool plain; /* x += strength * (attractor - x), without velocity or a draw by element */
    bool wide;
};

DEVICE_FN float row_factor(const struct swarm *t, struct rng_block key, int64_t row)
{
    return factor_of(t->law, rng_block_at(key, (uint64_t)row / 4).v[row % 4]);
}

/* Factors of elements 4q .. 4q + 3. */
DEVICE_FN struct four factors(const struct swarm *t, const struct pull *p, int64_t q)
{
    struct four r = four_of(p->all);
    if (t->draw == DRAW_ELEMENT) {
        const struct rng_block bits = rng_block_at(p->key, (uint64_t)q);
        for (int k = 0; k < 4; k++)
            r.v[k] = factor_of(t->law, bits.v[k]);
    }
    if (t->draw == DRAW_ROW)
        for (int k = 0; k < 4; k++)
            r.v[k] = row_factor(t, p->key, (4 * q + k) / t->cols);
    return r;
}

/* delta += strength * r * (target - x) */
DEVICE_FN void pull(struct four *delta, const struct swarm *t, const struct pull *p,
                    const float *target, struct four x, int64_t q)
{
    const struct four r = factors(t, p, q), to = load4(target, 4 * q, t->n, t->wide);
    for (int k = 0; k < 4; k++)
        delta->v[k] = delta->v[k] + p->strength * r.v[k] * (to.v[k] - x.v[k]);
}

/* The plain step: the product of strength and factor first, and no delta. */
DEVICE_FN void plain_step(const struct swarm *t, struct four *x, int64_t q)
{
    const struct four r = factors(t, &t->best, q), to = load4(t->attractor, 4 * q, t->n, t->wide);
    for (int k = 0; k < 4; k++)
        x->v[k] = x->v[k] + t->best.strength * r.v[k] * (to.v[k] - x->v[k]);
}

static __global__ void swarm_k(struct swarm t)
{
    for (int64_t q = flat_begin(); 4 * q < t.n; q += flat_stride()) {
        struct four x = load4(t.x, 4 * q, t.n, t.wide), delta = four_of(0.0f);
        if (t.plain) {
            plain_step(&t, &x, q);
            store4(t.x, 4 * q, t.n, t.wide, x);
            continue;
        }
        if (t.velocity) {
            const struct four v = load4(t.velocity, 4 * q, t.n, t.wide);
            for (int k = 0; k < 4; k++)
                delta.v[k] = t.inertia * v.v[k];
        }
        if (t.own.strength != 0.0f) pull(&delta, &t, &t.own, t.own_best, x, q);
        if (t.best.strength != 0.0f) pull(&delta, &t, &t.best, t.attractor, x, q);
        for (int k = 0; k < 4; k++)
            x.v[k] = x.v[k] + delta.v[k];
        store4(t.x, 4 * q, t.n, t.wide, x);
        if (t.velocity) store4(t.velocity, 4 * q, t.n, t.wide, delta);
    }
}

static struct pull pull_make(const struct swarm_args *a, float strength, struct rng_key key)
{
    struct pull p;
    p.strength = strength;
    p.all = 1.0f;
    if (a->draw == DRAW_EXPERT) key.tensor = 0;
    if (a->draw == DRAW_EXPERT || a->draw == DRAW_TENSOR)
        p.all = factor_of(a->law, rng_bits(key, 0));
    p.key = rng_mix(key);
    return p;
}

enum shoal_status cuda_swarm(struct device *dev, float *x, float *velocity, const float *own_best,
                             const float *attractor, int64_t rows, int64_t cols,
                             struct swarm_args a)
{
    struct swarm t;
    if (a.inertia == 0.0f && a.cognitive == 0.0f) {
        if (a.social == 0.0f) return SHOAL_OK; /* x + 0 would turn -0 into 0 */
        if (a.social == 1.0f && a.draw == DRAW_CONSTANT)
            return dev->ops->copy(dev, x, attractor, (size_t)(rows * cols) * sizeof *x);
    }
    t.x = x;
    t.velocity = a.inertia == 0.0f ? NULL : velocity;
    t.own_best = own_best;
    t.attractor = attractor;
    t.n = rows * cols;
    t.cols = cols;
    t.inertia = a.inertia;
    t.draw = a.draw;
    t.law = a.law;
    t.own = pull_make(&a, a.cognitive, a.own);
    t.best = pull_make(&a, a.social, a.best);
    t.plain = !t.velocity && a.cognitive == 0.0f && a.draw != DRAW_ELEMENT;
    t.wide = aligned16(x) && aligned16(t.velocity) && aligned16(own_best) && aligned16(attractor);
    return launch(dev, flat_grid(t.n), swarm_k, t);
}

/* ---- crossover ---------------------------------------------------------------------------------
 */

static __global__ void crossover_k(float *x, const float *attractor, int64_t n, int64_t cols,
                                   float rate, bool by_row, struct rng_block key, bool wide)
{
    for (int64_t q = flat_begin(); 4 * q < n; q += flat_stride()) {
        struct four to = load4(x, 4 * q, n, wide);
        const struct four from = load4(attractor, 4 * q, n, wide);
        const struct rng_block bits = rng_block_at(key, (uint64_t)q);
        for (int k = 0; k < 4; k++) {
            const uint64_t row = (uint64_t)((4 * q + k) / cols);
            const uint32_t drawn = by_row ? rng_block_at(key, row / 4).v[row % 4] : bits.v[k];
            to.v[k] = rng_to_uniform(drawn) < rate ? from.v[k] : to.v[k];
        }
        store4(x, 4 * q, n, wide, to);
    }
}

enum shoal_status cuda_crossover(struct device *dev, float *x, const float *attractor, int64_t rows,
                                 int64_t cols, float rate, int by, struct rng_key key)
{
    const int64_t n = rows * cols;
    if (by == DRAW_ELEMENT || by == DRAW_ROW)
        return launch(dev, flat_grid(n), crossover_k, x, attractor, n, cols, rate, by == DRAW_ROW,
                      rng_mix(key), aligned16(x) && aligned16(attractor));
    if (by == DRAW_EXPERT) key.tensor = 0;
    if (!(rng_to_uniform(rng_bits(key, 0)) < rate)) return SHOAL_OK;
    return dev->ops->copy(dev, x, attractor, (size_t)n * sizeof *x);
}

/* ---- mutation ----------------------------------------------------------------------------------
 */

/* What does not depend on the element. */
struct mutation {
    struct rng_block which, noise; /* mixed keys */
    float rate, size;              /* size = scale * lr / (1 - beta1^step) */
    float unbias2, eps;            /* unbias2 = 1 / sqrt(1 - beta2^step) */
};

static __global__ void mutate_k(float *x, const float *m, const float *v, int64_t n,
                                struct mutation t, bool wide)
{
    for (int64_t q = flat_begin(); 4 * q < n; q += flat_stride()) {
        struct four to = load4(x, 4 * q, n, wide);
        const struct four mi = load4(m, 4 * q, n, wide), vi = load4(v, 4 * q, n, wide);
        const struct rng_block which = rng_block_at(t.which, (uint64_t)q),
                               noise = rng_block_at(t.noise, (uint64_t)q);
        for (int k = 0; k < 4; k++) {
            const float deviation = t.size * fabsf(mi.v[k]) / (sqrtf(vi.v[k]) * t.unbias2 + t.eps);
            const float moved = to.v[k] + rng_to_normal(noise.v[k]) * deviation;
            to.v[k] = rng_to_uniform(which.v[k]) < t.rate ? moved : to.v[k];
        }
        store4(x, 4 * q, n, wide, to);
    }
}

enum shoal_status cuda_mutate(struct device *dev, float *x, const float *m, const float *v,
                              int64_t n, struct mutate_args a)
{
    if (a.step < 1 || a.rate <= 0.0f || a.scale == 0.0f) return SHOAL_OK;
    const double step = (double)a.step, unbias1 = 1.0 - pow((double)a.beta1, step);
    struct mutation t;
    t.which = rng_mix(a.which);
    t.noise = rng_mix(a.noise);
    t.rate = a.rate;
    t.size = (float)((double)a.scale * (double)a.lr / unbias1);
    t.unbias2 = (float)(1.0 / sqrt(1.0 - pow((double)a.beta2, step)));
    t.eps = a.eps;
    return launch(dev, flat_grid(n), mutate_k, x, m, v, n, t,
                  aligned16(x) && aligned16(m) && aligned16(v));
}
