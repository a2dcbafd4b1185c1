/* The coordinator's decisions from made-up reports. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>
#include "coordinator/machine.h"
#include "base/status.h"

static void a_run_from_start_to_end(void **state)
{
    (void)state;
    struct coordinator_state *s = machine_new(&machine_plain);
    struct actions a = machine_start(s);
    machine_check_order(&a, (struct machine_order){.step = 0, .until = 0, .best = -1});
    assert_int_equal(a.order.live.word[0], 7);

    a = machine_judge(s, (double[]){5.0, 4.0, 4.5, 6.0}, 4, 0, 1.0);
    machine_check_order(&a,
                        (struct machine_order){.until = 40, .best = 1, .save_best = 1, .round = 1});
    assert_non_null(a.judged);
    assert_int_equal(a.judged->best, 1);
    assert_true(a.judged->fitness[3] == 6.0 && a.judged->time_s == 1.0 && a.judged->step == 0);
    assert_true(a.order.best_fitness == 4.0);

    a = machine_judge(s, (double[]){4.5, 4.25, 4.5, 4.25}, 4, 40, 2.0);
    machine_check_order(&a, (struct machine_order){.step = 40, .until = 80, .best = 3, .round = 1});

    a = machine_judge(s, (double[]){3.5, NAN, 3.0, 3.25}, 4, 80, 3.0);
    machine_check_order(
        &a, (struct machine_order){
                .step = 80, .until = 100, .best = 2, .save_best = 1, .round = 1, .snapshot = 1});
    assert_int_equal(a.order.live.word[0], 5);
    a = machine_write(s, 3, 80);
    assert_true(a.commit && a.commit_step == 80 && !a.finished);

    a = machine_judge(s, (double[]){3.0, 3.5, 3.5, 3.5}, 4, 100, 4.0);
    machine_check_order(
        &a, (struct machine_order){.step = 100, .until = 100, .best = 0, .snapshot = 1, .stop = 1});
    a = machine_write(s, 3, 100);
    assert_true(a.commit && a.commit_step == 100 && a.finished);

    struct standing now;
    coordinator_standing(s, &now);
    assert_true(now.champion == 2 && now.champion_step == 80 && now.champion_fitness == 3.0);
    coordinator_state_destroy(&s);
    assert_null(s);
}

static void the_first_of_equals_stays_champion(void **state)
{
    (void)state;
    struct coordinator_state *s = machine_new(&machine_plain);
    (void)machine_start(s);
    struct actions a = machine_judge(s, (double[]){0.0, 1.0, 1.0, 1.0}, 4, 0, 0.0);
    assert_true(a.order.save_best && a.order.best == 0);
    a = machine_judge(s, (double[]){1.0, -0.0, 1.0, 1.0}, 4, 40, 0.0);
    assert_true(!a.order.save_best && a.order.best == 1);
    coordinator_state_destroy(&s);
}

static void what_is_not_finite_never_wins(void **state)
{
    (void)state;
    struct coordinator_state *s = machine_new(&machine_plain);
    (void)machine_start(s);
    struct actions a = machine_judge(s, (double[]){NAN, -INFINITY, 7.0, INFINITY}, 4, 0, 0.0);
    assert_int_equal(a.order.best, 2);
    assert_int_equal(a.order.live.word[0], 4);
    assert_true(isnan(a.judged->fitness[0]) && a.judged->fitness[1] == -INFINITY);
    coordinator_state_destroy(&s);
}

/* The experts, best first, travel with every order where a rule compares them: after a resumption
 * as the last judging before it found. */
static void the_ranking_goes_with_the_order(void **state)
{
    (void)state;
    struct coordinator_state *s = machine_new(&machine_plain);
    struct actions a = machine_start(s);
    assert_null(a.ranked);
    coordinator_state_destroy(&s);

    struct config c;
    machine_config(&c, &machine_plain);
    c.evolution.io.attractor = ATTRACT_PAIR;
    assert_int_equal(coordinator_state_create(&c, c.population.experts, NULL, NULL, 0, &s),
                     SHOAL_OK);
    a = machine_start(s);
    for (int k = 0; k < 3; k++)
        assert_int_equal(a.ranked[k], k);
    a = machine_judge(s, (double[]){3.0, NAN, 1.0, 2.0}, 4, 0, 0.0);
    const uint16_t best_first[] = {2, 0, 1}; /* the last member is the mean */
    assert_memory_equal(a.ranked, best_first, sizeof best_first);
    struct standing standing;
    coordinator_standing(s, &standing);
    coordinator_state_destroy(&s);

    struct judging row = {.best = 2, .fitness = (double[]){3.0, NAN, 1.0, 2.0}};
    assert_int_equal(coordinator_state_create(&c, c.population.experts, &standing, &row, 1, &s),
                     SHOAL_OK);
    a = machine_start(s);
    assert_memory_equal(a.ranked, best_first, sizeof best_first);
    coordinator_state_destroy(&s);
}

static void all_diverged_ends_the_run_with_advice(void **state)
{
    (void)state;
    const double fitness[] = {NAN, INFINITY, -INFINITY, NAN};
    struct coordinator_state *s = machine_new(&machine_plain);
    struct actions a = machine_start(s);
    for (int i = 0; i < 4; i++) {
        const struct event event = {
            .kind = EVENT_REPORT,
            .report = {.kind = REPORT_FITNESS, .member = i, .value = {fitness[i]}}};
        assert_int_equal(coordinator_step(s, &event, &a), i < 3 ? SHOAL_OK : SHOAL_ENUMERIC);
    }
    assert_non_null(strstr(shoal_failure_text(), "train.lr"));
    assert_true(a.judged && a.judged->best == -1 && !a.send);
    coordinator_state_destroy(&s);
}

/* Every order of arrival of four reports leads to the same bytes. */
static void arrival_does_not_matter(void **state)
{
    (void)state;
    const double fitness[] = {2.0, 2.0, NAN, 3.0};
    struct order first = {0};
    int tried = 0;
    for (int code = 0; code < 256; code++) {
        const int order[] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6};
        if ((1 << order[0] | 1 << order[1] | 1 << order[2] | 1 << order[3]) != 15) continue;
        struct coordinator_state *s = machine_new(&machine_plain);
        struct actions a = machine_start(s);
        for (int i = 0; i < 4; i++)
            a = machine_say(s, REPORT_FITNESS, order[i], 0, fitness[order[i]], 0.0);
        assert_true(a.send);
        if (tried++ == 0) first = a.order;
        assert_memory_equal(&a.order, &first, sizeof first);
        coordinator_state_destroy(&s);
    }
    assert_int_equal(tried, 24);
    assert_int_equal(first.best, 0);
}

static void check_late(struct coordinator_state *s, enum report_kind kind, int member, int64_t step)
{
    const struct actions a = machine_say(s, kind, member, step, 1.0, 0.0);
    assert_true(a.late);
    assert_false(a.send || a.commit || a.finished || a.judged);
}

static void strange_reports_are_ignored(void **state)
{
    (void)state;
    struct coordinator_state *s = machine_new(&machine_plain);
    check_late(s, REPORT_FITNESS, 0, 0); /* before the start */
    (void)machine_start(s);
    check_late(s, REPORT_FITNESS, 4, 0);
    check_late(s, REPORT_FITNESS, -1, 0);
    check_late(s, REPORT_FITNESS, 0, 40);
    check_late(s, REPORT_WROTE, 0, 0);
    check_late(s, REPORT_EVAL, 0, 0);
    check_late(s, (enum report_kind)99, 0, 0);
    assert_false(machine_say(s, REPORT_FITNESS, 1, 0, 9.0, 0.0).late);
    check_late(s, REPORT_FITNESS, 1, 0);
    for (int member = 0; member < 4; member++)
        if (member != 1) (void)machine_say(s, REPORT_FITNESS, member, 0, 8.0, 0.0);
    check_late(s, REPORT_FITNESS, 2, 0);

    assert_false(machine_say(s, REPORT_STEP, 0, 10, 1.0, 0.0).late);
    check_late(s, REPORT_STEP, 0, 10);
    check_late(s, REPORT_STEP, 0, 41);
    check_late(s, REPORT_STEP, 3, 20);
    assert_false(machine_say(s, REPORT_STEP, 0, 40, 1.0, 0.0).late);
    assert_false(machine_say(s, REPORT_ROUND, 3, 0, 1.0, 0.0).late);
    check_late(s, REPORT_ROUND, 3, 0);
    assert_false(machine_say(s, REPORT_ROUND, -1, 10, 1.0, 0.0).late);
    check_late(s, REPORT_ROUND, 3, 50);
    coordinator_state_destroy(&s);
}

static void shards_count_once_and_only_for_their_snapshot(void **state)
{
    (void)state;
    const double fitness[] = {3.0, 2.0, 1.0, 4.0};
    struct coordinator_state *s = machine_new(&machine_plain);
    (void)machine_start(s);
    (void)machine_judge(s, fitness, 4, 0, 0.0);
    (void)machine_judge(s, fitness, 4, 40, 0.0);
    (void)machine_judge(s, fitness, 4, 80, 0.0);
    assert_false(machine_say(s, REPORT_WROTE, 2, 80, 0.0, 0.0).late);
    check_late(s, REPORT_WROTE, 2, 80);
    check_late(s, REPORT_WROTE, 1, 40);
    check_late(s, REPORT_WROTE, 3, 80); /* the mean has no shard */
    assert_false(machine_say(s, REPORT_WROTE, 0, 80, 0.0, 0.0).commit);
    assert_true(machine_say(s, REPORT_WROTE, 1, 80, 0.0, 0.0).commit);
    check_late(s, REPORT_WROTE, 1, 80);
    coordinator_state_destroy(&s);
}

static void a_shard_that_fails_costs_its_snapshot(void **state)
{
    (void)state;
    const double fitness[] = {3.0, 2.0, 1.0, 4.0};
    struct coordinator_state *s = machine_new(&machine_plain);
    (void)machine_start(s);
    for (int64_t step = 0; step <= 80; step += 40)
        (void)machine_judge(s, fitness, 4, step, 0.0);
    check_late(s, REPORT_FAILED, 0, 40);
    check_late(s, REPORT_FAILED, 3, 80);
    struct actions a = machine_say(s, REPORT_FAILED, 1, 80, 0.0, 0.0);
    assert_false(a.late || a.commit || a.abandon);
    check_late(s, REPORT_WROTE, 1, 80);
    assert_false(machine_say(s, REPORT_WROTE, 0, 80, 0.0, 0.0).abandon);
    a = machine_say(s, REPORT_WROTE, 2, 80, 0.0, 0.0);
    assert_true(a.abandon && a.abandon_step == 80 && !a.commit && !a.finished);
    /* The next one starts afresh. */
    a = machine_judge(s, fitness, 4, 100, 0.0);
    assert_true(a.order.stop && a.order.snapshot && !a.abandon);
    assert_true(machine_write(s, 3, 100).finished);
    coordinator_state_destroy(&s);
}

static void a_last_snapshot_that_fails_ends_the_run_too(void **state)
{
    (void)state;
    const double fitness[] = {3.0, 2.0, 1.0, 4.0};
    struct machine_shape shape = machine_plain;
    shape.steps = 0;
    struct coordinator_state *s = machine_new(&shape);
    (void)machine_start(s);
    (void)machine_judge(s, fitness, 4, 0, 0.0);
    for (int k = 0; k < 2; k++)
        assert_false(machine_say(s, REPORT_FAILED, k, 0, 0.0, 0.0).finished);
    const struct actions a = machine_say(s, REPORT_FAILED, 2, 0, 0.0, 0.0);
    assert_true(a.abandon && a.finished && !a.commit);
    coordinator_state_destroy(&s);
}

/* A run that stops by the clock may order its last snapshot before the one before is complete. */
static void a_new_snapshot_replaces_one_that_is_not_done(void **state)
{
    (void)state;
    struct machine_shape shape = machine_plain;
    shape.minutes = 1.0;
    shape.steps = 1000;
    const double fitness[] = {3.0, 2.0, 1.0, 4.0};
    struct coordinator_state *s = machine_new(&shape);
    (void)machine_start(s);
    for (int64_t step = 0; step <= 80; step += 40)
        (void)machine_judge(s, fitness, 4, step, 0.0);
    assert_false(machine_say(s, REPORT_WROTE, 0, 80, 0.0, 0.0).late);
    assert_false(machine_say(s, REPORT_WROTE, 1, 80, 0.0, 0.0).late);
    struct actions a = machine_judge(s, fitness, 4, 120, 60.0);
    assert_true(a.order.stop && a.order.snapshot && a.abandon && a.abandon_step == 80);
    check_late(s, REPORT_WROTE, 2, 80);
    a = machine_write(s, 3, 120);
    assert_true(a.finished && a.commit_step == 120);
    coordinator_state_destroy(&s);
}

static void no_steps_still_judges_and_writes(void **state)
{
    (void)state;
    struct machine_shape shape = machine_plain;
    shape.steps = 0;
    struct coordinator_state *s = machine_new(&shape);
    struct actions a = machine_start(s);
    machine_check_order(&a, (struct machine_order){.best = -1});
    a = machine_judge(s, (double[]){3.0, 2.0, 1.0, 4.0}, 4, 0, 0.0);
    machine_check_order(
        &a, (struct machine_order){.best = 2, .save_best = 1, .snapshot = 1, .stop = 1});
    a = machine_write(s, 3, 0);
    assert_true(a.commit && a.finished);
    check_late(s, REPORT_FITNESS, 0, 0);
    coordinator_state_destroy(&s);
}

static void minutes_stop_at_the_next_judging(void **state)
{
    (void)state;
    struct machine_shape shape = machine_plain;
    shape.minutes = 2.0;
    struct coordinator_state *s = machine_new(&shape);
    const double fitness[] = {3.0, 2.0, 1.0, 4.0};
    (void)machine_start(s);
    struct actions a = machine_judge(s, fitness, 4, 0, 119.9);
    assert_false(a.order.stop);
    a = machine_judge(s, fitness, 4, 40, 120.0);
    machine_check_order(
        &a, (struct machine_order){.step = 40, .until = 40, .best = 2, .snapshot = 1, .stop = 1});
    assert_true(machine_write(s, 3, 40).finished);
    coordinator_state_destroy(&s);
}

static void evaluations_come_with_some_judgings_and_at_the_end(void **state)
{
    (void)state;
    struct machine_shape shape = machine_plain;
    shape.eval_every = 80;
    struct coordinator_state *s = machine_new(&shape);
    const double fitness[] = {3.0, 2.0, 1.0, 4.0};
    assert_false(machine_start(s).order.eval);
    assert_false(machine_judge(s, fitness, 4, 0, 0.0).order.eval);
    check_late(s, REPORT_EVAL, 2, 0);
    assert_false(machine_judge(s, fitness, 4, 40, 0.0).order.eval);
    assert_true(machine_judge(s, fitness, 4, 80, 0.0).order.eval);
    check_late(s, REPORT_EVAL, 1, 80); /* not the best */
    check_late(s, REPORT_EVAL, 2, 40);
    assert_false(machine_say(s, REPORT_EVAL, 2, 80, 1.5, 0.0).late);
    check_late(s, REPORT_EVAL, 2, 80);
    const struct actions a = machine_judge(s, fitness, 4, 100, 0.0);
    assert_true(a.order.eval && a.order.stop);
    assert_false(machine_say(s, REPORT_EVAL, 2, 100, 1.5, 0.0).late);
    coordinator_state_destroy(&s);
}

static void one_expert_without_a_recombinant(void **state)
{
    (void)state;
    const struct machine_shape shape = {.experts = 1, .steps = 5, .every = 5, .judge = 5};
    struct coordinator_state *s = machine_new(&shape);
    struct actions a = machine_start(s);
    a = machine_judge(s, (double[]){3.0}, 1, 0, 0.0);
    machine_check_order(&a, (struct machine_order){.until = 5, .save_best = 1, .round = 1});
    a = machine_judge(s, (double[]){2.0}, 1, 5, 0.0);
    machine_check_order(&a, (struct machine_order){
                                .step = 5, .until = 5, .save_best = 1, .snapshot = 1, .stop = 1});
    coordinator_state_destroy(&s);
}

static void resume_repeats_the_round_but_not_the_judging(void **state)
{
    (void)state;
    struct coordinator_state *s = machine_new(&machine_plain);
    (void)machine_start(s);
    (void)machine_judge(s, (double[]){5.0, 4.0, 4.5, 6.0}, 4, 0, 0.0);
    (void)machine_judge(s, (double[]){4.5, 4.0, 4.5, 5.0}, 4, 40, 0.0);
    const struct actions before = machine_judge(s, (double[]){5.5, NAN, 5.0, 5.25}, 4, 80, 0.0);
    (void)machine_write(s, 3, 80);
    struct coordinator_state *again = machine_resumed(s, &machine_plain);
    struct actions a = machine_start(again);
    /* The snapshot was taken before the round of its step. */
    machine_check_order(&a,
                        (struct machine_order){.step = 80, .until = 100, .best = 2, .round = 1});
    assert_memory_equal(&a.order.live, &before.order.live, sizeof a.order.live);
    a = machine_judge(again, (double[]){4.5, 4.5, 4.0, 4.5}, 4, 100, 0.0);
    assert_false(a.order.save_best); /* the champion of step 0 is remembered: 4.0 */
    (void)machine_write(again, 3, 100);
    struct standing standing;
    int64_t n;
    const struct judging *rows = coordinator_snapshot(again, &standing, &n);
    assert_int_equal(n, 4);
    assert_true(rows[0].step == 0 && rows[3].step == 100 && isnan(rows[2].fitness[1]));
    assert_true(standing.champion == 1 && standing.champion_step == 0);
    coordinator_state_destroy(&again);
    coordinator_state_destroy(&s);
}

static void a_stopped_run_can_be_lengthened(void **state)
{
    (void)state;
    struct machine_shape shape = machine_plain;
    shape.minutes = 1.0;
    struct coordinator_state *s = machine_new(&shape);
    (void)machine_start(s);
    (void)machine_judge(s, (double[]){5.0, 4.0, 4.5, 6.0}, 4, 0, 99.0);
    (void)machine_write(s, 3, 0);
    struct coordinator_state *again = machine_resumed(s, &machine_plain);
    struct actions a = machine_start(again);
    machine_check_order(&a, (struct machine_order){.until = 40, .best = 1, .round = 1});
    coordinator_state_destroy(&again);

    /* A last step between two rounds is no place for one. */
    struct machine_shape odd = machine_plain;
    odd.steps = 45;
    struct coordinator_state *t = machine_new(&odd);
    (void)machine_start(t);
    for (int64_t step = 0; step < 46; step += step < 40 ? 40 : 5)
        (void)machine_judge(t, (double[]){5.0, 4.0, 4.5, 6.0}, 4, step, 0.0);
    (void)machine_write(t, 3, 45);
    again = machine_resumed(t, &machine_plain);
    a = machine_start(again);
    machine_check_order(&a, (struct machine_order){.step = 45, .until = 80, .best = 1});
    coordinator_state_destroy(&again);
    coordinator_state_destroy(&t);
    coordinator_state_destroy(&s);
}

static void a_finished_run_only_stops(void **state)
{
    (void)state;
    struct machine_shape shape = machine_plain;
    shape.steps = 40;
    struct coordinator_state *s = machine_new(&shape);
    (void)machine_start(s);
    (void)machine_judge(s, (double[]){5.0, 4.0, 4.5, 6.0}, 4, 0, 0.0);
    (void)machine_judge(s, (double[]){5.0, 4.0, 4.5, 6.0}, 4, 40, 0.0);
    (void)machine_write(s, 3, 40);
    struct coordinator_state *again = machine_resumed(s, &shape);
    const struct actions a = machine_start(again);
    machine_check_order(&a, (struct machine_order){.step = 40, .until = 40, .best = 1, .stop = 1});
    assert_true(a.finished);
    coordinator_state_destroy(&again);
    coordinator_state_destroy(&s);
}

static void starting_twice_is_refused(void **state)
{
    (void)state;
    struct coordinator_state *s = machine_new(&machine_plain);
    const struct event event = {.kind = EVENT_START};
    struct actions a = machine_start(s);
    assert_int_equal(coordinator_step(s, &event, &a), SHOAL_EARG);
    coordinator_state_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_from_start_to_end),
        cmocka_unit_test(the_first_of_equals_stays_champion),
        cmocka_unit_test(what_is_not_finite_never_wins),
        cmocka_unit_test(the_ranking_goes_with_the_order),
        cmocka_unit_test(all_diverged_ends_the_run_with_advice),
        cmocka_unit_test(arrival_does_not_matter),
        cmocka_unit_test(strange_reports_are_ignored),
        cmocka_unit_test(shards_count_once_and_only_for_their_snapshot),
        cmocka_unit_test(a_shard_that_fails_costs_its_snapshot),
        cmocka_unit_test(a_last_snapshot_that_fails_ends_the_run_too),
        cmocka_unit_test(a_new_snapshot_replaces_one_that_is_not_done),
        cmocka_unit_test(no_steps_still_judges_and_writes),
        cmocka_unit_test(minutes_stop_at_the_next_judging),
        cmocka_unit_test(evaluations_come_with_some_judgings_and_at_the_end),
        cmocka_unit_test(one_expert_without_a_recombinant),
        cmocka_unit_test(resume_repeats_the_round_but_not_the_judging),
        cmocka_unit_test(a_stopped_run_can_be_lengthened),
        cmocka_unit_test(a_finished_run_only_stops),
        cmocka_unit_test(starting_twice_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
