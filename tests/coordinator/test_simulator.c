/* A thousand simulated runs in which much goes wrong and no rule may be broken. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <inttypes.h>
#include <time.h>
#include <cmocka.h>
#include "coordinator/oracle.h"
#include "coordinator/simulator.h"

enum { SEEDS = 1000 };

static void must_hold(uint64_t seed, const struct outcome *out)
{
    if (!out->broken[0]) return;
    print_error("seed %" PRIu64 ": %s\n  replay: simulate --seed %" PRIu64 " --verbose\n", seed,
                out->broken, seed);
    fail();
}

static void no_schedule_breaks_a_rule(void **state)
{
    (void)state;
    struct outcome sum = {0};
    int64_t diverged = 0, interrupted = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct simulation sim;
        struct outcome out;
        simulation_draw(&sim, seed, 0);
        simulate(&sim, NULL, &out);
        must_hold(seed, &out);
        diverged += out.diverged;
        interrupted += out.sessions > 1;
        sum.events += out.events;
        sum.rounds += out.rounds;
        sum.deaths += out.deaths;
        sum.disk_errors += out.disk_errors;
        sum.strays += out.strays;
        sum.commits += out.commits;
        sum.wishes += out.wishes;
        sum.halts += out.halts;
        if (!out.diverged && sim.config.run.minutes == 0)
            assert_int_equal(out.standing.step, sim.config.run.steps);
    }
    print_message("%" PRId64 " events, %" PRId64 " deaths, %" PRId64 " disk errors, %" PRId64
                  " strays, %" PRId64 " rounds, %" PRId64 " snapshots, %" PRId64
                  " signals, %" PRId64 " halts\n",
                  sum.events, sum.deaths, sum.disk_errors, sum.strays, sum.rounds, sum.commits,
                  sum.wishes, sum.halts);
    /* Enough of everything, or the test says little. */
    assert_true(diverged > SEEDS / 100 && diverged < SEEDS / 3);
    assert_true(interrupted > SEEDS / 3);
    assert_true(sum.disk_errors > SEEDS / 10 && sum.deaths > SEEDS / 2);
    assert_true(sum.wishes > SEEDS && sum.halts > SEEDS / 5);
    assert_true(sum.strays > SEEDS && sum.rounds > 5 * SEEDS && sum.commits > SEEDS);
}

/* The largest schedules that are drawn. */
static void nor_do_runs_of_64_workers(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS / 10; seed++) {
        struct simulation sim;
        struct outcome out;
        simulation_draw(&sim, seed, 64);
        simulate(&sim, NULL, &out);
        must_hold(seed, &out);
    }
}

/* The same run with and without faults, and on one worker: the same end. */
static void faults_change_nothing_in_the_end(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS / 5; seed++) {
        struct simulation sim;
        struct outcome disturbed, quiet;
        simulation_draw(&sim, seed, 0);
        sim.config.run.minutes = 0.0;
        simulate(&sim, NULL, &disturbed);
        sim.max_faults = sim.noise_in_1024 = 0;
        sim.workers = 1;
        simulate(&sim, NULL, &quiet);
        must_hold(seed, &quiet);
        assert_int_equal(quiet.sessions, 1);
        assert_int_equal(quiet.diverged, disturbed.diverged);
        if (quiet.diverged) continue;
        assert_int_equal(quiet.judgings, disturbed.judgings);
        assert_int_equal(quiet.standing.champion_step, disturbed.standing.champion_step);
        assert_int_equal(quiet.standing.champion, disturbed.standing.champion);
        assert_true(quiet.standing.champion_fitness == disturbed.standing.champion_fitness);
    }
}

static void a_seed_replays(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct simulation sim;
        struct outcome one, two;
        simulation_draw(&sim, seed, 0);
        simulate(&sim, NULL, &one);
        simulate(&sim, NULL, &two);
        assert_true(one.events == two.events && one.heard == two.heard &&
                    one.deaths == two.deaths && one.strays == two.strays &&
                    one.commits == two.commits);
    }
}

/* The largest population there can be, one expert a worker. */
static void a_large_population(void **state)
{
    (void)state;
    struct simulation sim;
    struct outcome out;
    simulation_large(&sim, 7, SHOAL_MAX_EXPERTS);
    const clock_t begun = clock();
    simulate(&sim, NULL, &out);
    const double took_s = (double)(clock() - begun) / CLOCKS_PER_SEC;
    must_hold(7, &out);
    assert_false(out.diverged);
    assert_int_equal(out.standing.step, 100);
    assert_int_equal(out.commits, 3);
    print_message("%" PRId64 " events, %.2f million a second of processor time\n", out.events,
                  (double)out.events / took_s * 1e-6);
}

/* The oracle that judges all this, on a run small enough to follow by hand. */
static void the_oracle_knows_a_small_run(void **state)
{
    (void)state;
    struct oracle o;
    const struct physics p = {.seed = 3};
    struct config c = {.population.experts = 2,
                       .evolution = {.every = 5, .judge = 10, .recombine = true},
                       .run.steps = 12};
    c.evolution.body.attractor = ATTRACT_LAST;
    c.evolution.io.attractor = ATTRACT_MEAN;
    oracle_make(&o, &c, &p);
    assert_int_equal(o.n_judgings, 3);
    assert_true(o.judgings[1].step == 10 && o.judgings[2].step == 12);
    assert_ptr_equal(oracle_find(&o, 12), &o.judgings[2]);
    assert_null(oracle_find(&o, 11));
    assert_null(oracle_find(&o, 20));
    /* Both experts are the same at first, their mean is not. */
    assert_true(o.judgings[0].fitness[0] == o.judgings[0].fitness[1]);
    assert_int_equal(o.n_rounds, 3); /* 0, 5, 10: none at the end */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(o.rounds[i].step, 5 * i);
        assert_int_equal(o.rounds[i].toward[PHYSICS_BODY], i % 2);
        assert_int_equal(o.rounds[i].toward[PHYSICS_IO], 2);
        assert_int_equal(o.rounds[i].live[0], 3);
    }
    assert_int_equal(oracle_round_from(&o, 6), 2);
    oracle_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oracle_knows_a_small_run),
        cmocka_unit_test(no_schedule_breaks_a_rule),
        cmocka_unit_test(nor_do_runs_of_64_workers),
        cmocka_unit_test(faults_change_nothing_in_the_end),
        cmocka_unit_test(a_seed_replays),
        cmocka_unit_test(a_large_population),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
