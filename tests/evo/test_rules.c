/* What is known of a rule before it is applied. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include "evo/population.h"

static void needs_follow_the_rules(void **state)
{
    (void)state;
    struct config c;
    memset(&c, 0, sizeof c);
    c.evolution.body.attractor = c.evolution.io.attractor = ATTRACT_BEST;
    assert_false(evo_rule_active(&c.evolution.body));
    c.evolution.io.moments = MOMENTS_INHERIT;
    assert_false(evo_needs_moments(&c));
    c.evolution.io.social = 1.0f;
    assert_true(evo_rule_active(&c.evolution.io));
    assert_true(evo_needs_moments(&c));
    assert_false(evo_needs_velocity(&c) || evo_needs_own_best(&c));
    c.evolution.io.inertia = 0.5f;
    assert_true(evo_needs_velocity(&c));
    c.evolution.body.cognitive = 0.5f;
    assert_true(evo_needs_own_best(&c));
    c.evolution.body.attractor = c.evolution.io.attractor = ATTRACT_NONE;
    assert_false(evo_needs_velocity(&c) || evo_needs_own_best(&c) || evo_needs_moments(&c));
    c.evolution.body = (struct evo_rule){.attractor = ATTRACT_BEST, .mutation = 1.0f};
    assert_false(evo_rule_active(&c.evolution.body));
    c.evolution.body.mutation_scale = 1.0f;
    assert_true(evo_rule_active(&c.evolution.body));
}

static void what_copies_is_known(void **state)
{
    (void)state;
    struct population p;
    const struct evo_rule copies = {.attractor = ATTRACT_PAIR, .social = 1.0f};
    struct evo_rule others[8];
    for (int i = 0; i < 8; i++)
        others[i] = copies;
    others[0].attractor = ATTRACT_NONE;
    others[1].social = 0.5f;
    others[2].tensors = SCOPE_MATRICES;
    others[3].draw = DRAW_ROW;
    others[4].inertia = 0.5f;
    others[5].cognitive = 0.5f;
    others[6].mutation = others[6].mutation_scale = 0.5f;
    others[7].social = 0.0f;
    others[7].crossover = 0.999f;
    assert_true(evo_rule_copies(&copies));
    for (int i = 0; i < 8; i++)
        assert_false(evo_rule_copies(&others[i]));
    others[7].crossover = 1.0f;
    assert_true(evo_rule_copies(&others[7]));
    population_make(&p, 2, 1);
    p.rule = others[7];
    p.rule.crossover_by = DRAW_ELEMENT;
    population_evolve(&p);
    assert_memory_equal(p.e->weights, p.attractor, population_bytes(&p));
    population_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needs_follow_the_rules),
        cmocka_unit_test(what_copies_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
