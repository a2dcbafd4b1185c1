/* evolve.c - what evolution does to a tensor: swarm step, crossover, mutation.
 *
 * Numbers are drawn by position (rng.h): element row * cols + col, row, or 0 for the whole tensor,
 * so a result depends neither on the team nor on how a tensor is cut into pieces. Pieces start at
 * multiples of four elements, one Philox block each, and are small enough for the drawn numbers to
 * stay in the first-level cache. Contraction stays off in this file: the GPU gives the same bits.
 */
#include <math.h>
#include <string.h>
#include "config/config.h"
#include "kernels/cpu/cpu.h"

enum { EVO_PIECE = 1024 };

/* A row of the tensor, or the whole of it, is worked on as pieces of a span. */
struct span {
    int64_t begin, n; /* elements */
};

/* Piece p of n elements. */
static struct span span_piece(int64_t n, int64_t p)
{
    const int64_t begin = p * EVO_PIECE, left = n - begin;
    const struct span s = {begin, left < EVO_PIECE ? left : EVO_PIECE};
    return s;
}

static int64_t span_pieces(int64_t n)
{
    return (n + EVO_PIECE - 1) / EVO_PIECE;
}

/* Random words of a span's elements; bits has room for EVO_PIECE. */
static void draw_bits(uint32_t *bits, struct rng_block mixed, struct span s)
{
    const uint64_t first = (uint64_t)s.begin / 4;
    const int64_t blocks = (s.n + 3) / 4;
#pragma omp simd
    for (int64_t i = 0; i < blocks; i++) {
        const struct rng_block b = rng_block_at(mixed, first + (uint64_t)i);
        bits[4 * i] = b.v[0];
        bits[4 * i + 1] = b.v[1];
        bits[4 * i + 2] = b.v[2];
        bits[4 * i + 3] = b.v[3];
    }
}

/* The koifish rule's factor: a normal squeezed into [0, 1] around 1/2. */
static inline float koifish_factor(uint32_t bits)
{
    const float r = (rng_to_normal(bits) + 3.0f) / 6.0f;
    return r < 0.0f ? 0.0f : r > 1.0f ? 1.0f : r;
}

/* Factors r of a span's elements, drawn one by one. */
static void draw_factors(float *r, int law, struct rng_block mixed, struct span s)
{
    uint32_t bits[EVO_PIECE];
    draw_bits(bits, mixed, s);
    if (law == LAW_KOIFISH) {
#pragma omp simd
        for (int64_t i = 0; i < s.n; i++)
            r[i] = koifish_factor(bits[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < s.n; i++)
            r[i] = rng_to_uniform(bits[i]);
    }
}

/* The one factor of a row (index = row), or of a tensor or expert (index = 0). */
static float draw_factor(int law, int draw, struct rng_key key, int64_t index)
{
    if (draw == DRAW_CONSTANT) return 1.0f;
    if (draw == DRAW_EXPERT) key.tensor = 0;
    const uint32_t bits = rng_bits(key, (uint64_t)index);
    return law == LAW_KOIFISH ? koifish_factor(bits) : rng_to_uniform(bits);
}

static void fill(float *r, float value, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        r[i] = value;
}

/* delta += strength * r * (target - x) */
static void pull(float *delta, float strength, const float *r, const float *target, const float *x,
                 int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        delta[i] += strength * r[i] * (target[i] - x[i]);
}

/* Pointers to the tensor's first element; velocity and own_best may be NULL. */
struct swarm {
    float *x, *velocity;
    const float *own_best, *attractor;
    struct swarm_args args;
    struct rng_block own, best; /* mixed keys */
};

/* x += strength * (target - x): a step without memory whose factor is one number. Bound by memory.
 */
static void step(float *x, float strength, const float *target, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        x[i] += strength * (target[i] - x[i]);
}

/* The factors of one pull over a span: one by one, or `row`'s. */
static void swarm_factors(float *r, const struct swarm_args *a, struct rng_block mixed,
                          struct rng_key key, struct span s, int64_t row)
{
    if (a->draw == DRAW_ELEMENT)
        draw_factors(r, a->law, mixed, s);
    else
        fill(r, draw_factor(a->law, a->draw, key, row), s.n);
}

static void swarm_span(const struct swarm *t, struct span s, int64_t row)
{
    float delta[EVO_PIECE], r[EVO_PIECE];
    float *const x = t->x + s.begin, *const v = t->velocity ? t->velocity + s.begin : NULL;
    if (!v && t->args.cognitive == 0.0f && t->args.draw != DRAW_ELEMENT) {
        const float factor = draw_factor(t->args.law, t->args.draw, t->args.best, row);
        step(x, t->args.social * factor, t->attractor + s.begin, s.n);
        return;
    }
    fill(delta, 0.0f, s.n);
    if (v)
        for (int64_t i = 0; i < s.n; i++)
            delta[i] = t->args.inertia * v[i];
    if (t->args.cognitive != 0.0f) {
        swarm_factors(r, &t->args, t->own, t->args.own, s, row);
        pull(delta, t->args.cognitive, r, t->own_best + s.begin, x, s.n);
    }
    if (t->args.social != 0.0f) {
        swarm_factors(r, &t->args, t->best, t->args.best, s, row);
        pull(delta, t->args.social, r, t->attractor + s.begin, x, s.n);
    }
#pragma omp simd
    for (int64_t i = 0; i < s.n; i++)
        x[i] += delta[i];
    if (v)
        for (int64_t i = 0; i < s.n; i++)
            v[i] = delta[i];
}

/* A whole row as spans, none longer than a piece. */
static void swarm_row(const struct swarm *t, int64_t row, int64_t cols)
{
    for (int64_t p = 0; p < span_pieces(cols); p++) {
        struct span s = span_piece(cols, p);
        s.begin += row * cols;
        swarm_span(t, s, row);
    }
}

enum shoal_status cpu_swarm(struct device *dev, float *x, float *velocity, const float *own_best,
                            const float *attractor, int64_t rows, int64_t cols, struct swarm_args a)
{
    const int64_t n = rows * cols;
    const int team = cpu_team(dev, n);
    float *const kept = a.inertia == 0.0f ? NULL : velocity;
    const struct swarm t = {x, kept, own_best, attractor, a, rng_mix(a.own), rng_mix(a.best)};
    if (a.inertia == 0.0f && a.cognitive == 0.0f) {
        if (a.social == 0.0f) return SHOAL_OK; /* x + 0 would turn -0 into 0 */
        if (a.social == 1.0f && a.draw == DRAW_CONSTANT)
            return dev->ops->copy(dev, x, attractor, (size_t)n * sizeof *x);
    }
    if (a.draw == DRAW_ROW) {
#pragma omp parallel for schedule(static) num_threads(team)
        for (int64_t row = 0; row < rows; row++)
            swarm_row(&t, row, cols);
    } else {
#pragma omp parallel for schedule(static) num_threads(team)
        for (int64_t p = 0; p < span_pieces(n); p++)
            swarm_span(&t, span_piece(n, p), 0);
    }
    return SHOAL_OK;
}

static void crossover_span(float *x, const float *attractor, float rate, struct rng_block mixed,
                           struct span s)
{
    uint32_t bits[EVO_PIECE];
    draw_bits(bits, mixed, s);
    x += s.begin;
    attractor += s.begin;
#pragma omp simd
    for (int64_t i = 0; i < s.n; i++)
        x[i] = rng_to_uniform(bits[i]) < rate ? attractor[i] : x[i];
}

enum shoal_status cpu_crossover(struct device *dev, float *x, const float *attractor, int64_t rows,
                                int64_t cols, float rate, int by, struct rng_key key)
{
    const int64_t n = rows * cols;
    const int team = cpu_team(dev, n);
    if (by == DRAW_ELEMENT) {
        const struct rng_block mixed = rng_mix(key);
#pragma omp parallel for schedule(static) num_threads(team)
        for (int64_t p = 0; p < span_pieces(n); p++)
            crossover_span(x, attractor, rate, mixed, span_piece(n, p));
    } else if (by == DRAW_ROW) {
#pragma omp parallel for schedule(static) num_threads(team)
        for (int64_t row = 0; row < rows; row++)
            if (rng_to_uniform(rng_bits(key, (uint64_t)row)) < rate)
                memcpy(x + row * cols, attractor + row * cols, (size_t)cols * sizeof *x);
    } else {
        if (by == DRAW_EXPERT) key.tensor = 0;
        if (rng_to_uniform(rng_bits(key, 0)) < rate)
            return dev->ops->copy(dev, x, attractor, (size_t)n * sizeof *x);
    }
    return SHOAL_OK;
}

/* What does not depend on the element. */
struct mutation {
    struct rng_block which, noise; /* mixed keys */
    float rate, size;              /* size = scale * lr / (1 - beta1^step) */
    float unbias2, eps;            /* unbias2 = 1 / sqrt(1 - beta2^step) */
};

static void mutate_span(float *x, const float *m, const float *v, const struct mutation *t,
                        struct span s)
{
    uint32_t which[EVO_PIECE], noise[EVO_PIECE];
    draw_bits(which, t->which, s);
    draw_bits(noise, t->noise, s);
    x += s.begin;
    m += s.begin;
    v += s.begin;
#pragma omp simd
    for (int64_t i = 0; i < s.n; i++) {
        const float deviation = t->size * fabsf(m[i]) / (sqrtf(v[i]) * t->unbias2 + t->eps);
        const float moved = x[i] + rng_to_normal(noise[i]) * deviation;
        x[i] = rng_to_uniform(which[i]) < t->rate ? moved : x[i];
    }
}

enum shoal_status cpu_mutate(struct device *dev, float *x, const float *m, const float *v,
                             int64_t n, struct mutate_args a)
{
    if (a.step < 1 || a.rate <= 0.0f || a.scale == 0.0f) return SHOAL_OK;
    const double step = (double)a.step, unbias1 = 1.0 - pow((double)a.beta1, step);
    const struct mutation t = {.which = rng_mix(a.which),
                               .noise = rng_mix(a.noise),
                               .rate = a.rate,
                               .size = (float)((double)a.scale * (double)a.lr / unbias1),
                               .unbias2 = (float)(1.0 / sqrt(1.0 - pow((double)a.beta2, step))),
                               .eps = a.eps};
    const int team = cpu_team(dev, 4 * n);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t p = 0; p < span_pieces(n); p++)
        mutate_span(x, m, v, &t, span_piece(n, p));
    return SHOAL_OK;
}
