/* operators.c - one expert, one group, one round: walk the table's tensors and apply the rule.
 *
 * Each tensor is drawn for with its own key {seed, stream, expert, round, tensor}, so a result
 * depends neither on the order of the tensors nor on how a kernel divides one among threads.
 * A rule whose strengths are all zero returns before touching anything: x + 0 is not always x to
 * the bit (-0 + 0 is +0). */
#include "evo/operators.h"
#include <math.h>

static bool pulls(const struct evo_rule *r)
{
    return r->inertia > 0.0f || r->cognitive > 0.0f || r->social > 0.0f;
}

static bool mutates(const struct evo_rule *r)
{
    return r->mutation > 0.0f && r->mutation_scale > 0.0f;
}

bool evo_rule_active(const struct evo_rule *rule)
{
    return rule->attractor != ATTRACT_NONE &&
           (pulls(rule) || rule->crossover > 0.0f || mutates(rule));
}

bool evo_rule_copies(const struct evo_rule *rule)
{
    const bool all_the_way = rule->social == 1.0f && rule->draw == DRAW_CONSTANT &&
                             rule->inertia == 0.0f && rule->cognitive == 0.0f;
    return rule->attractor != ATTRACT_NONE && rule->tensors == SCOPE_ALL &&
           (all_the_way || rule->crossover == 1.0f) && !mutates(rule);
}

bool evo_needs_velocity(const struct config *c)
{
    const struct evo_rule *body = &c->evolution.body, *io = &c->evolution.io;
    return (evo_rule_active(body) && body->inertia > 0.0f) ||
           (evo_rule_active(io) && io->inertia > 0.0f);
}

bool evo_needs_own_best(const struct config *c)
{
    const struct evo_rule *body = &c->evolution.body, *io = &c->evolution.io;
    return (evo_rule_active(body) && body->cognitive > 0.0f) ||
           (evo_rule_active(io) && io->cognitive > 0.0f);
}

bool evo_needs_moments(const struct config *c)
{
    const struct evo_rule *body = &c->evolution.body, *io = &c->evolution.io;
    return (evo_rule_active(body) && body->moments == MOMENTS_INHERIT) ||
           (evo_rule_active(io) && io->moments == MOMENTS_INHERIT);
}

enum shoal_status evo_note_own_best(struct expert *e)
{
    /* NAN >= x is false: the first finite fitness is always noted. */
    if (!e->own_best || !isfinite(e->fitness) || e->fitness >= e->own_best_fitness) return SHOAL_OK;
    const size_t bytes = (size_t)e->table->n_params * sizeof(float);
    SHOAL_TRY(device_copy(e->dev, e->own_best, e->weights, bytes));
    e->own_best_fitness = e->fitness;
    return SHOAL_OK;
}

static struct rng_key key_for(const struct expert *e, const struct evolve_args *a,
                              enum rng_stream stream, int tensor)
{
    const struct rng_key key = {.seed = a->seed,
                                .stream = (uint32_t)stream,
                                .expert = (uint32_t)e->number,
                                .round = a->round,
                                .tensor = (uint32_t)tensor};
    return key;
}

static enum shoal_status swarm(struct expert *e, const struct evolve_args *a, int tensor)
{
    const struct evo_rule *r = a->rule;
    const struct param_tensor *t = &e->table->tensor[tensor];
    /* Until the expert has been judged once, its own best is where it stands: no pull. */
    const bool remembers = r->cognitive > 0.0f && isfinite(e->own_best_fitness);
    const struct swarm_args args = {.inertia = r->inertia,
                                    .cognitive = remembers ? r->cognitive : 0.0f,
                                    .social = r->social,
                                    .draw = r->draw,
                                    .law = r->law,
                                    .own = key_for(e, a, RNG_SWARM_OWN, tensor),
                                    .best = key_for(e, a, RNG_SWARM_BEST, tensor)};
    return kernel_swarm(e->dev, e->weights + t->offset,
                        r->inertia > 0.0f ? e->velocity + t->offset : NULL,
                        remembers ? e->own_best + t->offset : NULL, a->attractor + t->offset,
                        t->rows, t->cols, args);
}

static enum shoal_status mutate(struct expert *e, const struct evolve_args *a, int tensor)
{
    const struct param_tensor *t = &e->table->tensor[tensor];
    const struct mutate_args args = {.rate = a->rule->mutation,
                                     .scale = a->rule->mutation_scale,
                                     .lr = a->lr,
                                     .beta1 = a->beta1,
                                     .beta2 = a->beta2,
                                     .eps = a->eps,
                                     .step = e->step,
                                     .which = key_for(e, a, RNG_MUTATE, tensor),
                                     .noise = key_for(e, a, RNG_NOISE, tensor)};
    return kernel_mutate(e->dev, e->weights + t->offset, e->adam_m + t->offset,
                         e->adam_v + t->offset, t->rows * t->cols, args);
}

static enum shoal_status zero_moments(struct expert *e, int64_t offset, size_t bytes)
{
    SHOAL_TRY(device_zero(e->dev, e->adam_m + offset, bytes));
    SHOAL_TRY(device_zero(e->dev, e->adam_v + offset, bytes));
    return SHOAL_OK;
}

/* What the moments of a tensor that moved become. After mutation, which is measured by the
 * expert's own. */
static enum shoal_status settle_moments(struct expert *e, const struct evolve_args *a, int tensor)
{
    const struct param_tensor *t = &e->table->tensor[tensor];
    const size_t bytes = (size_t)(t->rows * t->cols) * sizeof(float);
    if (a->rule->moments == MOMENTS_ZERO) SHOAL_TRY(zero_moments(e, t->offset, bytes));
    if (a->rule->moments == MOMENTS_INHERIT) {
        SHOAL_TRY(device_copy(e->dev, e->adam_m + t->offset, a->attractor_m + t->offset, bytes));
        SHOAL_TRY(device_copy(e->dev, e->adam_v + t->offset, a->attractor_v + t->offset, bytes));
    }
    return SHOAL_OK;
}

static enum shoal_status evolve_tensor(struct expert *e, const struct evolve_args *a, int tensor)
{
    const struct evo_rule *r = a->rule;
    const struct param_tensor *t = &e->table->tensor[tensor];
    if (pulls(r)) SHOAL_TRY(swarm(e, a, tensor));
    if (r->crossover > 0.0f)
        SHOAL_TRY(kernel_crossover(e->dev, e->weights + t->offset, a->attractor + t->offset,
                                   t->rows, t->cols, r->crossover, r->crossover_by,
                                   key_for(e, a, RNG_CROSSOVER, tensor)));
    if (mutates(r)) SHOAL_TRY(mutate(e, a, tensor));
    return settle_moments(e, a, tensor);
}

/* A diverged expert starts again from the attractor; nothing of its past is worth keeping. */
static enum shoal_status revive_tensor(struct expert *e, const struct evolve_args *a, int tensor)
{
    const struct param_tensor *t = &e->table->tensor[tensor];
    const size_t bytes = (size_t)(t->rows * t->cols) * sizeof(float);
    SHOAL_TRY(device_copy(e->dev, e->weights + t->offset, a->attractor + t->offset, bytes));
    SHOAL_TRY(zero_moments(e, t->offset, bytes));
    if (e->velocity) SHOAL_TRY(device_zero(e->dev, e->velocity + t->offset, bytes));
    return SHOAL_OK;
}

enum shoal_status evolve_group(struct expert *e, const struct evolve_args *args)
{
    const struct evo_rule *r = args->rule;
    if (args->is_attractor || (!args->dead && !evo_rule_active(r))) return SHOAL_OK;
    SHOAL_CHECK(args->attractor, SHOAL_EARG, "expert %d evolves without an attractor", e->number);
    SHOAL_CHECK(args->dead || r->inertia == 0.0f || e->velocity, SHOAL_EARG,
                "expert %d evolves with inertia but has no velocity", e->number);
    SHOAL_CHECK(args->dead || r->cognitive == 0.0f || e->own_best, SHOAL_EARG,
                "expert %d evolves toward its own best but keeps none", e->number);
    SHOAL_CHECK(args->dead || r->moments != MOMENTS_INHERIT ||
                    (args->attractor_m && args->attractor_v),
                SHOAL_EARG, "expert %d inherits moments but the attractor brought none", e->number);
    for (int i = 0; i < e->table->n_tensors; i++) {
        const struct param_tensor *t = &e->table->tensor[i];
        if (t->group != args->group || t->offset < args->begin || t->offset >= args->end) continue;
        if (args->dead)
            SHOAL_TRY(revive_tensor(e, args, i));
        else if (t->matrix || r->tensors == SCOPE_ALL)
            SHOAL_TRY(evolve_tensor(e, args, i));
    }
    return SHOAL_OK;
}
