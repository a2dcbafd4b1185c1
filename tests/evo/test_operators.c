/* Laws of the operators as an expert sees them: who moves, what stays, which moments remain. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>
#include "evo/population.h"

static void assert_untouched(const struct population *p)
{
    const size_t bytes = population_bytes(p);
    assert_memory_equal(p->e->weights, p->weights, bytes);
    assert_memory_equal(p->e->adam_m, p->m, bytes);
    assert_memory_equal(p->e->adam_v, p->v, bytes);
    assert_memory_equal(p->e->velocity, p->velocity, bytes);
    assert_memory_equal(p->e->own_best, p->own_best, bytes);
}

/* A rule that does everything at once. */
static void everything(struct evo_rule *r)
{
    r->inertia = 0.5f;
    r->cognitive = 0.7f;
    r->social = 0.9f;
    r->draw = DRAW_ELEMENT;
    r->crossover = 0.3f;
    r->mutation = 0.2f;
    r->mutation_scale = 1.5f;
}

static void zero_strength_changes_not_one_bit(void **state)
{
    (void)state;
    struct population p;
    population_make(&p, 2, 1);
    for (int moments = MOMENTS_KEEP; moments <= MOMENTS_INHERIT; moments++) {
        for (int draw = DRAW_CONSTANT; draw <= DRAW_ELEMENT; draw++) {
            p.rule.moments = moments;
            p.rule.draw = draw;
            population_evolve(&p);
            assert_untouched(&p);
        }
    }
    everything(&p.rule);
    p.rule.attractor = ATTRACT_NONE;
    population_evolve(&p);
    assert_untouched(&p);
    population_free(&p);
}

static void the_attractor_stays(void **state)
{
    (void)state;
    struct population p;
    population_make(&p, 2, 1);
    everything(&p.rule);
    p.rule.moments = MOMENTS_ZERO;
    p.args.is_attractor = true;
    population_evolve(&p);
    assert_untouched(&p);
    population_free(&p);
}

static void full_pull_gives_the_attractor_to_the_bit(void **state)
{
    (void)state;
    struct population p;
    population_make(&p, 2, 1);
    p.rule.social = 1.0f;
    population_evolve(&p);
    assert_memory_equal(p.e->weights, p.attractor, population_bytes(&p));
    assert_memory_equal(p.e->adam_m, p.m, population_bytes(&p));
    population_free(&p);
}

static void assert_all_zero(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        assert_true(x[i] == 0.0f);
}

static void the_dead_take_the_attractor_whole(void **state)
{
    (void)state;
    for (int attractor = ATTRACT_NONE; attractor <= ATTRACT_BEST; attractor++) {
        struct population p;
        population_make(&p, 2, 1);
        for (int64_t i = 0; i < p.table->n_params; i += 7)
            p.e->weights[i] = p.e->adam_m[i] = p.e->velocity[i] = NAN;
        everything(&p.rule);
        p.rule.attractor = attractor;
        p.rule.tensors = SCOPE_MATRICES;
        p.rule.moments = MOMENTS_INHERIT;
        p.args.dead = true;
        population_evolve(&p);
        for (int i = 0; i < p.table->n_tensors; i++) {
            const struct param_tensor *t = &p.table->tensor[i];
            const int64_t n = t->rows * t->cols;
            assert_memory_equal(p.e->weights + t->offset, p.attractor + t->offset,
                                (size_t)n * sizeof(float));
            assert_all_zero(p.e->adam_m + t->offset, n);
            assert_all_zero(p.e->adam_v + t->offset, n);
            assert_all_zero(p.e->velocity + t->offset, n);
        }
        population_free(&p);
    }
}

/* Whether a tensor of the expert's weights differs from what it was. */
static bool changed(const struct population *p, const struct param_tensor *t)
{
    return memcmp(p->e->weights + t->offset, p->weights + t->offset,
                  (size_t)(t->rows * t->cols) * sizeof(float)) != 0;
}

static void scope_and_group_are_respected(void **state)
{
    (void)state;
    for (int scope = SCOPE_ALL; scope <= SCOPE_MATRICES; scope++) {
        for (int group = GROUP_IO; group <= GROUP_BODY; group++) {
            struct population p;
            population_make(&p, 2, 1);
            everything(&p.rule);
            p.rule.tensors = scope;
            p.args.group = (enum param_group)group;
            assert_int_equal(evolve_group(p.e, &p.args), SHOAL_OK);
            for (int i = 0; i < p.table->n_tensors; i++) {
                const struct param_tensor *t = &p.table->tensor[i];
                const bool in_scope = (int)t->group == group && (scope == SCOPE_ALL || t->matrix);
                assert_int_equal(changed(&p, t), in_scope);
            }
            population_free(&p);
        }
    }
}

static void gaps_and_padding_stay_zero(void **state)
{
    (void)state;
    struct population p;
    population_make(&p, 2, 1);
    everything(&p.rule);
    population_evolve(&p);
    int64_t end = 0;
    for (int i = 0; i < p.table->n_tensors; i++) {
        const struct param_tensor *t = &p.table->tensor[i];
        assert_all_zero(p.e->weights + end, t->offset - end);
        end = t->offset + t->rows * t->cols;
        assert_all_zero(p.e->weights + t->offset + t->real_rows * t->cols,
                        (t->rows - t->real_rows) * t->cols);
    }
    assert_all_zero(p.e->weights + end, p.table->n_params - end);
    population_free(&p);
}

static void moments_follow_the_policy(void **state)
{
    (void)state;
    for (int moments = MOMENTS_KEEP; moments <= MOMENTS_INHERIT; moments++) {
        struct population p;
        population_make(&p, 2, 1);
        p.rule.social = 0.5f;
        p.rule.tensors = SCOPE_MATRICES;
        p.rule.moments = moments;
        population_evolve(&p);
        for (int i = 0; i < p.table->n_tensors; i++) {
            const struct param_tensor *t = &p.table->tensor[i];
            const size_t bytes = (size_t)(t->rows * t->cols) * sizeof(float);
            const bool inherits = t->matrix && moments == MOMENTS_INHERIT;
            if (t->matrix && moments == MOMENTS_ZERO) {
                assert_all_zero(p.e->adam_m + t->offset, t->rows * t->cols);
                assert_all_zero(p.e->adam_v + t->offset, t->rows * t->cols);
            } else {
                assert_memory_equal(p.e->adam_m + t->offset,
                                    (inherits ? p.attractor_m : p.m) + t->offset, bytes);
                assert_memory_equal(p.e->adam_v + t->offset,
                                    (inherits ? p.attractor_v : p.v) + t->offset, bytes);
            }
        }
        population_free(&p);
    }
}

/* Two rounds of the swarm formula with constant factors, in double precision. */
static void swarm_follows_its_formula(void **state)
{
    (void)state;
    struct population p;
    population_make(&p, 2, 1);
    p.rule.inertia = 0.6f;
    p.rule.cognitive = 0.3f;
    p.rule.social = 0.8f;
    population_evolve(&p);
    population_evolve(&p);
    for (int64_t i = 0; i < p.table->n_params; i++) {
        double x = p.weights[i], v = p.velocity[i];
        for (int round = 0; round < 2; round++) {
            v = 0.6 * v + 0.3 * (p.own_best[i] - x) + 0.8 * (p.attractor[i] - x);
            x += v;
        }
        assert_true(fabs(x - p.e->weights[i]) < 1e-5);
        assert_true(fabs(v - p.e->velocity[i]) < 1e-5);
    }
    population_free(&p);
}

/* Mean and mean square of (x' - a) / (x - a), the share of an element's distance that is left. */
static void distance_left(const struct population *p, double *mean, double *square)
{
    double sum = 0.0, squares = 0.0;
    int64_t n = 0;
    for (int64_t i = 0; i < p->table->n_params; i++) {
        const double before = (double)p->weights[i] - p->attractor[i];
        if (fabs(before) < 0.05) continue; /* rounding would show */
        const double left = ((double)p->e->weights[i] - p->attractor[i]) / before;
        sum += left;
        squares += left * left;
        n++;
    }
    assert_true(n > 50000);
    *mean = sum / (double)n;
    *square = squares / (double)n;
}

/* The factor is 1 - 2 r with r = clip((z + 3) / 6, 0, 1): mean 0, mean square 1/9 less what the
 * clipping takes (4/36 * (1 - tails), integrated numerically: 0.1106), times 1 - crossover. */
static void koifish_rule_has_its_moments(void **state)
{
    (void)state;
    const double crossover[] = {0.0, 0.6}, expected[] = {0.1106, 0.0442};
    for (int i = 0; i < 2; i++) {
        struct population p;
        double mean, square;
        population_make(&p, 2, 1);
        p.rule.social = 2.0f;
        p.rule.draw = DRAW_ELEMENT;
        p.rule.law = LAW_KOIFISH;
        p.rule.crossover = (float)crossover[i];
        population_evolve(&p);
        distance_left(&p, &mean, &square);
        /* five standard errors at 50,000 elements */
        assert_true(fabs(mean) < 0.0075);
        assert_true(fabs(square - expected[i]) < 0.0035);
        population_free(&p);
    }
}

/* The one share of the distance to `target` that a pull of strength 1 took in tensor i. */
static double tensor_factor(const struct population *p, const float *target, int i)
{
    const struct param_tensor *t = &p->table->tensor[i];
    double first = NAN;
    for (int64_t j = t->offset; j < t->offset + t->rows * t->cols; j++) {
        const double distance = (double)target[j] - p->weights[j];
        if (fabs(distance) < 0.1) continue;
        const double taken = ((double)p->e->weights[j] - p->weights[j]) / distance;
        if (isnan(first)) first = taken;
        assert_true(fabs(taken - first) < 1e-5);
    }
    assert_true(first > 0.0 && first < 1.0);
    return first;
}

static void a_draw_per_expert_is_one_number_per_pull(void **state)
{
    (void)state;
    struct population own, best;
    population_make(&own, 2, 1);
    population_make(&best, 2, 1);
    own.rule.draw = best.rule.draw = DRAW_EXPERT;
    own.rule.cognitive = best.rule.social = 1.0f;
    population_evolve(&own);
    population_evolve(&best);
    const double r1 = tensor_factor(&own, own.own_best, 0);
    const double r2 = tensor_factor(&best, best.attractor, 0);
    for (int i = 1; i < own.table->n_tensors; i++) {
        assert_true(fabs(tensor_factor(&own, own.own_best, i) - r1) < 1e-5);
        assert_true(fabs(tensor_factor(&best, best.attractor, i) - r2) < 1e-5);
    }
    assert_true(fabs(r1 - r2) > 1e-3);
    population_free(&own);
    population_free(&best);
}

static void a_draw_per_tensor_is_another_for_each(void **state)
{
    (void)state;
    struct population p;
    population_make(&p, 2, 1);
    p.rule.social = 1.0f;
    p.rule.draw = DRAW_TENSOR;
    population_evolve(&p);
    for (int i = 0; i < p.table->n_tensors; i++)
        for (int j = 0; j < i; j++)
            assert_true(
                fabs(tensor_factor(&p, p.attractor, i) - tensor_factor(&p, p.attractor, j)) > 1e-5);
    population_free(&p);
}

static void evolve_with(struct population *p, int number, uint64_t seed, uint32_t round,
                        int threads, int by)
{
    population_make(p, number, threads);
    everything(&p->rule);
    p->rule.draw = p->rule.crossover_by = by;
    p->args.seed = seed;
    p->args.round = round;
    population_evolve(p);
}

static void randomness_is_a_function_of_its_key(void **state)
{
    (void)state;
    for (int by = DRAW_EXPERT; by <= DRAW_ELEMENT; by++) {
        struct population p, same, other[3];
        evolve_with(&p, 2, 11, 3, 1, by);
        evolve_with(&same, 2, 11, 3, 3, by);
        evolve_with(&other[0], 1, 11, 3, 1, by);
        evolve_with(&other[1], 2, 12, 3, 1, by);
        evolve_with(&other[2], 2, 11, 4, 1, by);
        const size_t bytes = population_bytes(&p);
        assert_memory_equal(p.e->weights, same.e->weights, bytes);
        assert_memory_equal(p.e->velocity, same.e->velocity, bytes);
        for (int i = 0; i < 3; i++) {
            assert_memory_not_equal(p.e->weights, other[i].e->weights, bytes);
            population_free(&other[i]);
        }
        population_free(&same);
        population_free(&p);
    }
}

static void crossover_takes_parents_values_at_its_rate(void **state)
{
    (void)state;
    struct population p;
    population_make(&p, 2, 1);
    p.rule.crossover = 0.3f;
    population_evolve(&p);
    int64_t taken = 0, n = 0;
    for (int64_t i = 0; i < p.table->n_params; i++) {
        if (p.weights[i] == p.attractor[i]) continue;
        const bool theirs = p.e->weights[i] == p.attractor[i];
        assert_true(theirs || p.e->weights[i] == p.weights[i]);
        taken += theirs;
        n++;
    }
    assert_true(fabs((double)taken / (double)n - 0.3) < 5.0 * sqrt(0.21 / (double)n));
    population_free(&p);
}

static void mutation_is_measured_in_adamw_steps(void **state)
{
    (void)state;
    struct population p;
    population_make(&p, 2, 1);
    p.rule.mutation = 0.25f;
    p.rule.mutation_scale = 2.0f;
    population_evolve(&p);
    const double bias1 = 1.0 - pow(0.9, 100.0), bias2 = 1.0 - pow(0.95, 100.0);
    double squares = 0.0;
    int64_t moved = 0, n = 0;
    for (int64_t i = 0; i < p.table->n_params; i++) {
        const double m = p.m[i] / bias1, v = p.v[i] / bias2;
        if (fabs(m) < 0.05 || v < 0.01) continue;
        const double step = 0.01 * fabs(m) / (sqrt(v) + 1e-8);
        const double z = ((double)p.e->weights[i] - p.weights[i]) / step;
        squares += z * z;
        moved += z != 0.0;
        n++;
    }
    assert_true(n > 50000);
    assert_true(fabs((double)moved / (double)n - 0.25) < 0.01);
    assert_true(fabs(squares / (double)moved - 4.0) < 0.25);
    population_free(&p);
}

static void own_best_is_the_lowest_finite(void **state)
{
    (void)state;
    struct population p;
    population_make(&p, 2, 1);
    const size_t bytes = population_bytes(&p);
    const double rejected[] = {NAN, INFINITY, -INFINITY, 2.5, 2.0};
    for (size_t i = 0; i < sizeof rejected / sizeof rejected[0]; i++) {
        p.e->fitness = rejected[i];
        assert_int_equal(evo_note_own_best(p.e), SHOAL_OK);
        assert_memory_equal(p.e->own_best, p.own_best, bytes);
        assert_true(p.e->own_best_fitness == 2.0);
    }
    p.e->fitness = 1.5;
    assert_int_equal(evo_note_own_best(p.e), SHOAL_OK);
    assert_memory_equal(p.e->own_best, p.weights, bytes);
    assert_true(p.e->own_best_fitness == 1.5);
    memcpy(p.e->own_best, p.own_best, bytes);
    p.e->own_best_fitness = NAN;
    p.e->fitness = 9.0;
    assert_int_equal(evo_note_own_best(p.e), SHOAL_OK);
    assert_memory_equal(p.e->own_best, p.weights, bytes);
    assert_true(p.e->own_best_fitness == 9.0);
    population_free(&p);
}

static void no_own_best_no_pull(void **state)
{
    (void)state;
    struct population p;
    population_make(&p, 2, 1);
    p.rule.cognitive = 1.0f;
    p.e->own_best_fitness = NAN;
    population_evolve(&p);
    assert_untouched(&p);
    population_free(&p);
}

static void what_is_missing_is_refused(void **state)
{
    (void)state;
    struct population p;
    population_make(&p, 2, 1);
    float *const velocity = p.e->velocity;
    everything(&p.rule);
    p.e->velocity = NULL;
    assert_int_equal(evolve_group(p.e, &p.args), SHOAL_EARG);
    p.e->velocity = velocity;
    p.rule.moments = MOMENTS_INHERIT;
    p.args.attractor_v = NULL;
    assert_int_equal(evolve_group(p.e, &p.args), SHOAL_EARG);
    p.args.attractor = NULL;
    assert_int_equal(evolve_group(p.e, &p.args), SHOAL_EARG);
    assert_untouched(&p);
    population_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_strength_changes_not_one_bit),
        cmocka_unit_test(the_attractor_stays),
        cmocka_unit_test(full_pull_gives_the_attractor_to_the_bit),
        cmocka_unit_test(the_dead_take_the_attractor_whole),
        cmocka_unit_test(scope_and_group_are_respected),
        cmocka_unit_test(gaps_and_padding_stay_zero),
        cmocka_unit_test(moments_follow_the_policy),
        cmocka_unit_test(swarm_follows_its_formula),
        cmocka_unit_test(koifish_rule_has_its_moments),
        cmocka_unit_test(a_draw_per_expert_is_one_number_per_pull),
        cmocka_unit_test(a_draw_per_tensor_is_another_for_each),
        cmocka_unit_test(randomness_is_a_function_of_its_key),
        cmocka_unit_test(crossover_takes_parents_values_at_its_rate),
        cmocka_unit_test(mutation_is_measured_in_adamw_steps),
        cmocka_unit_test(own_best_is_the_lowest_finite),
        cmocka_unit_test(no_own_best_no_pull),
        cmocka_unit_test(what_is_missing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
