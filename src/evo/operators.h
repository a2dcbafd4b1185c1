/* operators.h - what evolution does to an expert's tensors. Runs on workers; never communicates.
 *
 * Swarm (Kennedy & Eberhart 1995):  v <- inertia v + cognitive r1 (own_best - x) + social r2 (a -
 * x), x <- x + v, where a is the attractor and r1, r2 are 1 or drawn per element, row, tensor or
 * expert. Crossover: x <- a where a number drawn per element, row or tensor is below the rate.
 * Mutation: x += N(0,1) * scale * lr |m_hat| / (sqrt(v_hat) + eps) with a probability per element,
 * so that noise is measured in AdamW steps. In this order, for every tensor of the group in scope.
 */
#pragma once
#include "model/expert.h"

struct evolve_args {
    const struct evo_rule *rule;
    enum param_group group;
    int64_t begin, end;       /* tensors that begin in these elements of a slab */
    const float *attractor;   /* n_params f32 on the device, read only */
    const float *attractor_m; /* moments of the attractor for MOMENTS_INHERIT; NULL otherwise */
    const float *attractor_v;
    bool is_attractor; /* this expert is the attractor: it stays exactly as it is */
    bool dead;         /* not finite at the last judging: takes the attractor's tensors whole and
                          zero moments and velocity, whatever the rule's scope and strengths (also
                          ATTRACT_NONE, when an attractor is given) */
    uint64_t seed;
    uint32_t round; /* number of this round */
    float lr;       /* learning rate of the present step, for mutation */
    float beta1, beta2, eps;
};

/* Evolve one group of e's tensors, or a part of it. Strengths of zero change nothing, not one bit.
 */
enum shoal_status evolve_group(struct expert *e, const struct evolve_args *args);
/* Whether a rule needs e->velocity, e->own_best, or moments on the wire. */
bool evo_needs_velocity(const struct config *c);
bool evo_needs_own_best(const struct config *c);
bool evo_needs_moments(const struct config *c);
/* Whether the rule can change anything. */
bool evo_rule_active(const struct evo_rule *rule);
/* Whether the mean is left behind by an outer step, so that `agreed` and `velocity` are kept. */
bool evo_outer_steps(const struct config *c);
/* An outer step over n elements: with d = mean - agreed,
 * v <- momentum v + d;  agreed <- agreed + lr (d + momentum v);  mean <- agreed.
 * agreed begins as the weights that all experts started from, v as zero. */
enum shoal_status evo_outer_step(struct device *dev, float *mean, float *agreed, float *velocity,
                                 int64_t n, const struct config *c);
/* Whether all tensors of a group become exactly the attractor's. */
bool evo_rule_copies(const struct evo_rule *rule);
/* Remember the present weights when fitness is this expert's lowest so far (finite). */
enum shoal_status evo_note_own_best(struct expert *e);
