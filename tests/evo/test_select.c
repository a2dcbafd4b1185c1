/* Who follows whom: for every ranking and every set of the living of small populations. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include "evo/protocol.h"
#include "evo/select.h"

enum { MOST = 6 };

struct scene {
    struct selection s;
    struct live_set live;
    uint16_t ranked[SHOAL_MAX_EXPERTS];
    int32_t source[SHOAL_MAX_EXPERTS], room[2 * SHOAL_MAX_EXPERTS];
    int place[SHOAL_MAX_EXPERTS]; /* of an expert among the living, from 0; of the dead: -1 */
    int n;                        /* living */
};

static struct scene scene; /* too large for the stack */

/* The ranking number `code` of all there are, the living as the bits of `mask`. */
static void set_scene(struct scene *c, int experts, int code, unsigned mask)
{
    int left[MOST], n = experts;
    memset(c, 0, sizeof *c);
    for (int k = 0; k < experts; k++)
        left[k] = k;
    for (int i = 0; i < experts; i++, n--) {
        const int pick = code % n;
        code /= n;
        c->ranked[i] = (uint16_t)left[pick];
        memmove(left + pick, left + pick + 1, (size_t)(n - pick - 1) * sizeof *left);
    }
    c->live.word[0] = mask;
    for (int i = 0; i < experts; i++)
        c->place[c->ranked[i]] = mask >> c->ranked[i] & 1 ? c->n++ : -1;
    c->s = (struct selection){.experts = experts,
                              .seed = 7,
                              .round = 3,
                              .live = &c->live,
                              .ranked = c->ranked,
                              .top = 0.25};
}

/* Followers are distinct from the followed; the dead follow the best, or nobody. */
static int check_common(const struct scene *c)
{
    int followers = 0;
    for (int k = 0; k < c->s.experts; k++) {
        const int source = c->source[k];
        if (c->place[k] < 0) {
            assert_true(c->n > 0 ? c->place[source] == 0 : source == -1);
            continue;
        }
        if (source < 0) continue;
        followers++;
        assert_in_range(source, 0, c->s.experts - 1);
        assert_true(c->place[source] >= 0 && c->place[source] < c->place[k]);
        assert_int_equal(c->source[source], -1);
    }
    return followers;
}

static void check_top(struct scene *c)
{
    select_sources(ATTRACT_TOP, &c->s, c->source, c->room);
    int share = (int)(c->s.top * c->n);
    if (share < 1) share = 1;
    if (share > c->n / 2) share = c->n / 2;
    assert_int_equal(check_common(c), share);
    for (int k = 0; k < c->s.experts; k++) {
        if (c->place[k] < 0) continue;
        assert_int_equal(c->source[k] >= 0, c->place[k] >= c->n - share);
        if (c->source[k] >= 0) assert_true(c->place[c->source[k]] < share);
    }
}

static void check_pairs(struct scene *c)
{
    int followed[MOST] = {0};
    select_sources(ATTRACT_PAIR, &c->s, c->source, c->room);
    assert_int_equal(check_common(c), c->n / 2);
    for (int k = 0; k < c->s.experts; k++)
        if (c->place[k] >= 0 && c->source[k] >= 0) followed[c->source[k]]++;
    for (int k = 0; k < c->s.experts; k++)
        assert_true(followed[k] <= 1);
}

static void every_ranking_and_every_death(void **state)
{
    (void)state;
    int rankings = 1;
    for (int experts = 1; experts <= MOST; experts++) {
        rankings *= experts;
        for (int code = 0; code < rankings; code++) {
            for (unsigned mask = 0; mask < 1u << experts; mask++) {
                set_scene(&scene, experts, code, mask);
                check_pairs(&scene);
                scene.s.top = code % 3 == 0 ? 0.5 : code % 3 == 1 ? 0.25 : 0;
                check_top(&scene);
            }
        }
    }
}

/* Over many rounds everybody meets everybody, about equally often. */
static void all_pairs_meet(void **state)
{
    (void)state;
    enum { ROUNDS = 15000 };
    int met[MOST][MOST] = {{0}};
    set_scene(&scene, MOST, 0, (1u << MOST) - 1);
    for (int round = 0; round < ROUNDS; round++) {
        scene.s.round = round;
        select_sources(ATTRACT_PAIR, &scene.s, scene.source, scene.room);
        for (int k = 0; k < MOST; k++)
            if (scene.source[k] >= 0) met[k][scene.source[k]]++;
    }
    /* One of five others each time: 3000 with a deviation of 49. */
    for (int k = 0; k < MOST; k++)
        for (int j = 0; j < k; j++)
            assert_in_range(met[k][j] + met[j][k], 2755, 3245);
}

static void the_top_is_followed_evenly(void **state)
{
    (void)state;
    int followed[MOST] = {0};
    set_scene(&scene, MOST, 0, (1u << MOST) - 1);
    scene.s.top = 0.5;
    for (int round = 0; round < 3000; round++) {
        scene.s.round = round;
        select_sources(ATTRACT_TOP, &scene.s, scene.source, scene.room);
        for (int k = 0; k < MOST; k++)
            if (scene.source[k] >= 0) followed[scene.source[k]]++;
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(followed[scene.ranked[i]], 2776, 3224);
}

static void draws_depend_on_seed_and_round_alone(void **state)
{
    (void)state;
    int32_t first[MOST];
    int same_seed = 0, same_round = 0;
    for (int round = 0; round < 100; round++) {
        set_scene(&scene, MOST, 5, (1u << MOST) - 1);
        scene.s.round = round;
        select_sources(ATTRACT_PAIR, &scene.s, scene.source, scene.room);
        memcpy(first, scene.source, sizeof first);
        select_sources(ATTRACT_PAIR, &scene.s, scene.source, scene.room);
        assert_memory_equal(first, scene.source, sizeof first);
        scene.s.seed++;
        select_sources(ATTRACT_PAIR, &scene.s, scene.source, scene.room);
        same_seed += memcmp(first, scene.source, sizeof first) == 0;
        scene.s.seed--;
        scene.s.round += 1000;
        select_sources(ATTRACT_PAIR, &scene.s, scene.source, scene.room);
        same_round += memcmp(first, scene.source, sizeof first) == 0;
    }
    /* One of fifteen pairings. */
    assert_true(same_seed < 20 && same_round < 20);
}

static void rates_go_up_or_down(void **state)
{
    (void)state;
    enum { ROUNDS = 4000 };
    int up = 0, alike = 0;
    set_scene(&scene, MOST, 0, (1u << MOST) - 1);
    for (int round = 0; round < ROUNDS; round++) {
        scene.s.round = round;
        const double first = select_rate(&scene.s, 0, 0.5, 1.25);
        const double other = select_rate(&scene.s, 1, 0.5, 1.25);
        assert_true(first == 0.625 || first == 0.4);
        up += first > 0.5;
        alike += (first > 0.5) == (other > 0.5);
        assert_true(select_rate(&scene.s, 0, 0.5, 1) == 0.5);
    }
    /* Half of them, within five deviations of 32. */
    assert_in_range(up, ROUNDS / 2 - 160, ROUNDS / 2 + 160);
    assert_in_range(alike, ROUNDS / 2 - 160, ROUNDS / 2 + 160);
}

static void as_many_as_there_may_be(void **state)
{
    (void)state;
    memset(&scene, 0, sizeof scene);
    live_all(&scene.live, SHOAL_MAX_EXPERTS);
    for (int i = 0; i < SHOAL_MAX_EXPERTS; i++)
        scene.ranked[i] = (uint16_t)(SHOAL_MAX_EXPERTS - 1 - i);
    scene.s = (struct selection){
        .experts = SHOAL_MAX_EXPERTS, .live = &scene.live, .ranked = scene.ranked, .top = 0.25};
    select_sources(ATTRACT_TOP, &scene.s, scene.source, scene.room);
    for (int k = 0; k < SHOAL_MAX_EXPERTS; k++) {
        assert_int_equal(scene.source[k] >= 0, k < SHOAL_MAX_EXPERTS / 4);
        if (scene.source[k] >= 0) assert_true(scene.source[k] >= SHOAL_MAX_EXPERTS / 4 * 3);
    }
}

static void only_what_compares_travels_with_the_order(void **state)
{
    (void)state;
    struct config c;
    memset(&c, 0, sizeof c);
    c.population.experts = 100;
    for (int a = ATTRACT_NONE; a <= ATTRACT_PAIR; a++) {
        const bool compares = a == ATTRACT_TOP || a == ATTRACT_PAIR;
        assert_int_equal(select_applies((enum attractor)a), compares);
        c.evolution.io.attractor = a;
        assert_int_equal(order_record_bytes(&c), order_bytes(100) + (compares ? 200 : 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_ranking_and_every_death),
        cmocka_unit_test(all_pairs_meet),
        cmocka_unit_test(the_top_is_followed_evenly),
        cmocka_unit_test(draws_depend_on_seed_and_round_alone),
        cmocka_unit_test(rates_go_up_or_down),
        cmocka_unit_test(as_many_as_there_may_be),
        cmocka_unit_test(only_what_compares_travels_with_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
