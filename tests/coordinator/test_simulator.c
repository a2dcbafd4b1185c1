/* Thousands of simulated runs; the audit checks every event of each. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include "base/clock.h"
#include "coordinator/simulator.h"

static uint64_t pick(uint64_t *s, uint64_t below)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (*s >> 33) % below;
}

/* A run drawn from its seed. Never kills or disturbs: callers add that. */
static struct simulation draw_simulation(uint64_t seed)
{
    uint64_t s = seed;
    struct simulation sim = {.seed = seed + 1, .fifo = true};
    (void)pick(&s, 2);
    sim.shape.experts = 1 + (int)pick(&s, pick(&s, 8) == 0 ? 60 : 8);
    sim.shape.recombine = pick(&s, 3) > 0;
    sim.shape.every = 1 + (int64_t)pick(&s, 10);
    sim.shape.judge = sim.shape.every * (1 + (int64_t)pick(&s, 4));
    sim.shape.steps = (int64_t)pick(&s, 10) == 0 ? 0 : (int64_t)pick(&s, 200);
    sim.shape.snapshot_every = sim.shape.judge * (int64_t)pick(&s, 4);
    sim.workers = 1 + (int)pick(&s, (uint64_t)sim.shape.experts);
    sim.shape.eval_every = sim.shape.judge * (int64_t)pick(&s, 4);
    return sim;
}

enum { RUNS = 1500 };

static void every_run_keeps_the_rules(void **state)
{
    (void)state;
    int64_t finished = 0;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        struct simulation sim = draw_simulation(seed);
        struct outcome out;
        sim.noise_in_256 = seed % 3 == 0 ? 40 : 0;
        sim.fifo = seed % 5 != 0;
        sim.shape.minutes = seed % 7 == 0 ? 0.01 : 0.0;
        simulate(&sim, &out);
        finished += !out.diverged;
        if (sim.fifo && !out.diverged && sim.shape.minutes == 0.0) {
            const int64_t last = sim.shape.steps, judge = sim.shape.judge;
            assert_int_equal(out.standing.step, last);
            assert_int_equal(out.judgings, 1 + (last + judge - 1) / judge);
        }
    }
    assert_true(finished > RUNS / 2);
}

static void a_killed_run_ends_like_an_undisturbed_one(void **state)
{
    (void)state;
    int64_t kills = 0;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        struct simulation sim = draw_simulation(seed);
        struct outcome undisturbed, killed;
        simulate(&sim, &undisturbed);
        sim.max_kills = 5;
        sim.noise_in_256 = 10;
        simulate(&sim, &killed);
        assert_int_equal(killed.diverged, undisturbed.diverged);
        assert_memory_equal(&killed.standing, &undisturbed.standing, sizeof killed.standing);
        if (!killed.diverged) assert_int_equal(killed.judgings, undisturbed.judgings);
        kills += killed.kills;
    }
    assert_true(kills > RUNS);
}

/* The largest population there can be, one expert a worker. */
static void a_large_population(void **state)
{
    (void)state;
    const struct simulation sim = {.shape = {.experts = SHOAL_MAX_EXPERTS,
                                             .recombine = true,
                                             .steps = 100,
                                             .every = 10,
                                             .judge = 10,
                                             .snapshot_every = 20},
                                   .workers = SHOAL_MAX_EXPERTS,
                                   .seed = 7,
                                   .fifo = true};
    struct outcome out;
    const double begun_s = clock_now_s();
    simulate(&sim, &out);
    const double took_s = clock_now_s() - begun_s;
    assert_false(out.diverged);
    assert_int_equal(out.commits, 5);
    print_message("%lld events, %.1f million a second\n", (long long)out.events,
                  (double)out.events / took_s * 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_run_keeps_the_rules),
        cmocka_unit_test(a_killed_run_ends_like_an_undisturbed_one),
        cmocka_unit_test(a_large_population),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
