/* The coordinator's loop with made-up workers: what it orders, commits and writes down. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/memory.h"
#include "coordinator/coordinator.h"
#include "coordinator/fakes.h"

static const char run_id[] = "12345678-1234-1234-1234-123456789012";

struct fixture {
    char folder[32];
    struct config config;
    struct comm comm;
    struct coordinator *c;
};

static int make_fixture(void **state)
{
    struct fixture *f;
    if (mem_alloc(sizeof *f, "a test", &f) != SHOAL_OK) return -1;
    memcpy(f->folder, "/tmp/shoal-loop-XXXXXX", sizeof "/tmp/shoal-loop-XXXXXX");
    if (!mkdtemp(f->folder)) return -1;
    config_defaults(&f->config);
    memcpy(f->config.run.out, f->folder, sizeof f->folder);
    f->config.population.experts = 2;
    f->config.evolution.recombine = true;
    f->config.evolution.every = 10;
    f->config.evolution.judge = 20;
    f->config.run.steps = 40;
    f->config.run.minutes = 0.0;
    f->config.snapshot.every = 20;
    f->config.snapshot.keep = 3;
    f->config.train.batch = 2;
    f->config.model.context = 8;
    memset(fake_index(), 0, sizeof *fake_index());
    *state = f;
    return 0;
}

static int free_fixture(void **state)
{
    struct fixture *f = *state;
    char path[SHOAL_MAX_PATH];
    coordinator_destroy(&f->c);
    if (path_format(path, "%s/metrics.jsonl", f->folder) != SHOAL_OK) return -1;
    (void)remove(path);
    const int result = rmdir(f->folder);
    mem_free(f);
    return result;
}

static void create(struct fixture *f, int world_size, const struct snapshot_index *resume)
{
    f->comm = (struct comm){.world_size = world_size};
    assert_int_equal(coordinator_create(&f->config, &f->comm, run_id, resume, 5000, &f->c),
                     SHOAL_OK);
}

static struct report report(enum report_kind kind, int member, int64_t step, double value,
                            int64_t number)
{
    struct report r = {
        .kind = kind, .member = member, .step = step, .count = {number}, .value = {value}};
    if (kind == REPORT_WROTE) r.value[1] = value; /* it stalled all the while */
    return r;
}

static enum shoal_status say(struct fixture *f, struct report r)
{
    return f->comm.hear(f->comm.owner, &r, sizeof r);
}

/* One whole judging of two experts and their mean. */
static void judge(struct fixture *f, int64_t step, double a, double b, double mean)
{
    assert_int_equal(say(f, report(REPORT_FITNESS, 0, step, a, 0)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_FITNESS, 1, step, b, 0)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_FITNESS, 2, step, mean, 0)), SHOAL_OK);
}

static int count_lines(const struct fixture *f, const char *what)
{
    char path[SHOAL_MAX_PATH], *text;
    size_t bytes;
    int n = 0;
    assert_int_equal(path_format(path, "%s/metrics.jsonl", f->folder), SHOAL_OK);
    assert_int_equal(file_read(path, &text, &bytes), SHOAL_OK);
    for (const char *at = text; (at = strstr(at, what)); at++)
        n++;
    mem_free(text);
    return n;
}

static void alone_it_hears_through_the_handler(void **state)
{
    struct fixture *f = *state;
    create(f, 1, NULL);
    assert_non_null(f->comm.hear);
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    assert_int_equal(f->comm.n_orders, 1);
    assert_int_equal(say(f, report(REPORT_DEVICE, 0, 0, 1e9, 0)), SHOAL_OK);
    judge(f, 0, 5.0, 4.0, 6.0);
    assert_int_equal(f->comm.n_orders, 2);
    assert_true(f->comm.orders[1].round && f->comm.orders[1].until == 20);
    assert_int_equal(say(f, report(REPORT_ROUND, 1, 0, 0.5, 800)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_STEP, 0, 10, 3.0, 160)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_STEP, 0, 10, 3.0, 160)), SHOAL_OK); /* repeated */
    judge(f, 20, NAN, 3.0, 3.5);
    assert_int_equal(say(f, report(REPORT_WROTE, 0, 20, 0.25, 100)), SHOAL_OK);
    assert_int_equal(fake_index()->n_written, 0);
    assert_int_equal(say(f, report(REPORT_WROTE, 1, 20, 0.75, 200)), SHOAL_OK);
    assert_int_equal(fake_index()->n_written, 1);
    assert_int_equal(count_lines(f, "\"event\":\"start\""), 1);
    assert_int_equal(count_lines(f, "\"event\":\"judge\""), 2);
    assert_int_equal(count_lines(f, "\"fitness\":[null,3,3.5],\"best\":1"), 1);
    assert_int_equal(count_lines(f, "\"event\":\"round\""), 1);
    assert_int_equal(count_lines(f, "\"event\":\"step\""), 1);
    assert_int_equal(count_lines(f, "\"stall_s\":1,\"bytes\":1300}"), 1);
    judge(f, 40, 2.0, 2.0, 2.0);
    struct report last = report(REPORT_WROTE, 1, 40, 0.25, 50);
    last.count[1] = 123456;
    assert_int_equal(say(f, report(REPORT_WROTE, 0, 40, 0.5, 50)), SHOAL_OK);
    assert_int_equal(say(f, last), SHOAL_OK);
    assert_int_equal(count_lines(f, "\"stall_s\":0.75,\"bytes\":1100}"), 1);
    assert_int_equal(count_lines(f, "\"peak_bytes\":[123456]}"), 1);
    coordinator_destroy(&f->c);
    assert_null(f->comm.hear);
}

/* Evaluations and skipped steps are written down, and counted in the end. */
static void what_is_reported_is_written_down(void **state)
{
    struct fixture *f = *state;
    f->config.eval.every = 20;
    f->config.run.steps = 20;
    create(f, 1, NULL);
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    struct report device = report(REPORT_DEVICE, 0, 0, 1e6, 0);
    device.value[1] = 500.0;
    assert_int_equal(say(f, device), SHOAL_OK);
    judge(f, 0, 5.0, 4.0, 6.0);
    struct report step = report(REPORT_STEP, 1, 3, 9.0, 48);
    step.count[1] = 2; /* SKIP_LOSS */
    step.value[3] = 400.0;
    assert_int_equal(say(f, step), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_FITNESS, 0, 20, 3.0, 4)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_FITNESS, 1, 20, 2.0, 5)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_FITNESS, 2, 20, 2.5, 0)), SHOAL_OK);
    assert_true(f->comm.orders[2].eval && f->comm.orders[2].best == 1);
    assert_int_equal(say(f, report(REPORT_EVAL, 1, 20, 0.0, 64)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_WROTE, 0, 20, 0.0, 0)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_WROTE, 1, 20, 0.0, 0)), SHOAL_OK);
    assert_int_equal(count_lines(f, "\"worker\":0,\"peak_flops_per_s\":1000000}"), 1);
    assert_int_equal(count_lines(f, "\"mfu\":0.2,\"skipped\":true,\"reason\":\"loss\"}"), 1);
    assert_int_equal(count_lines(f, "\"member\":1,\"loss\":0,\"perplexity\":1,\"tokens\":64"), 1);
    assert_int_equal(count_lines(f, "\"skipped\":9,\"late\":0,\"peak_bytes\":["), 1);
}

static void an_index_holds_what_a_restart_needs(void **state)
{
    struct fixture *f = *state;
    struct fake_index *written = fake_index();
    create(f, 1, NULL);
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    judge(f, 0, 5.0, 4.0, 6.0);
    judge(f, 20, NAN, 5.0, 4.5);
    assert_int_equal(say(f, report(REPORT_WROTE, 0, 20, 0.0, 0)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_WROTE, 1, 20, 0.0, 0)), SHOAL_OK);
    assert_string_equal(written->run, f->folder);
    assert_string_equal(written->index.run_id, run_id);
    assert_true(written->index.experts == 2 && written->index.members == 3);
    assert_int_equal(written->index.workers, 1);
    assert_int_equal(written->n_pruned, 1);
    assert_int_equal(written->keep, 3);
    assert_non_null(strstr(written->config, "experts: 2"));
    const struct standing *standing = &written->index.standing;
    assert_true(standing->step == 20 && standing->best == 2 && standing->round_done == 0);
    assert_true(standing->champion == 1 && standing->champion_step == 0);
    assert_true(standing->champion_fitness == 4.0 && standing->best_fitness == 4.5);
    assert_true(standing->live.word[0] == 2);
    assert_int_equal(written->index.n_judgings, 2);
    assert_true(isnan(written->fitness[1][0]) && written->fitness[1][2] == 4.5);
    assert_true(written->fitness[0][0] == 5.0);
}

static void resumed_it_goes_on_from_the_index(void **state)
{
    struct fixture *f = *state;
    struct judging rows[] = {{.step = 0, .best = 1, .fitness = (double[]){5.0, 4.0, 6.0}},
                             {.step = 20, .best = 2, .fitness = (double[]){5.0, 5.0, 4.5}}};
    const struct snapshot_index resume = {.experts = 2,
                                          .members = 3,
                                          .time_s = 1000.0,
                                          .standing = {.step = 20,
                                                       .best = 2,
                                                       .round_done = 1,
                                                       .best_fitness = 4.5,
                                                       .champion = 1,
                                                       .champion_step = 0,
                                                       .champion_fitness = 4.0,
                                                       .live = {{3}}},
                                          .n_judgings = 2,
                                          .judgings = rows};
    create(f, 1, &resume);
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    assert_true(f->comm.orders[0].step == 20 && f->comm.orders[0].until == 40);
    assert_true(f->comm.orders[0].round == 0 && f->comm.orders[0].best == 2);
    judge(f, 40, 4.25, 4.25, 4.25);
    assert_true(f->comm.orders[1].stop && !f->comm.orders[1].save_best);
    assert_int_equal(say(f, report(REPORT_WROTE, 1, 40, 0.0, 0)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_WROTE, 0, 40, 0.0, 0)), SHOAL_OK);
    assert_int_equal(fake_index()->index.n_judgings, 3);
    assert_true(fake_index()->index.time_s >= 1000.0 && fake_index()->index.time_s < 1100.0);
    assert_int_equal(count_lines(f, "\"event\":\"start\",\"time\":100"), 1);
    assert_int_equal(count_lines(f, "\"step\":20,\"run_id\":\"1234"), 1);
    assert_int_equal(count_lines(f, "\"event\":\"end\""), 1);
    assert_int_equal(count_lines(f, "\"best\":1,\"best_step\":0,\"best_fitness\":4,"), 1);
}

static void among_others_it_listens_until_the_end(void **state)
{
    struct fixture *f = *state;
    f->config.run.steps = 0;
    create(f, 3, NULL);
    assert_null(f->comm.hear);
    const struct report script[] = {
        report(REPORT_FITNESS, 2, 0, 3.0, 0), report(REPORT_FITNESS, 0, 0, 2.0, 0),
        report(REPORT_FITNESS, 0, 0, 2.0, 0), report(REPORT_FITNESS, 1, 0, 4.0, 0),
        report(REPORT_WROTE, 1, 0, 0.5, 10),  report(REPORT_WROTE, 0, 0, 0.25, 10)};
    memcpy(f->comm.reports, script, sizeof script);
    f->comm.n_reports = sizeof script / sizeof script[0];
    f->comm.reports[3].worker = f->comm.reports[4].worker = 1;
    f->comm.silence = true;
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    assert_int_equal(coordinator_run(f->c), SHOAL_OK);
    assert_int_equal(f->comm.n_heard, f->comm.n_reports);
    assert_int_equal(f->comm.n_orders, 2);
    assert_true(f->comm.orders[1].stop && f->comm.orders[1].best == 0);
    assert_int_equal(fake_index()->index.workers, 2);
    assert_int_equal(count_lines(f, "\"stall_s\":0.5,\"bytes\":1020}"), 1);
    assert_int_equal(count_lines(f, "\"late\":1,\"peak_bytes\":["), 1);
}

static void a_lost_peer_ends_the_loop(void **state)
{
    struct fixture *f = *state;
    create(f, 2, NULL);
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    assert_int_equal(coordinator_run(f->c), SHOAL_EPEER);
}

/* A shard that cannot be written costs a snapshot, and only the last one the run's good end. */
static void a_lost_snapshot_is_given_up(void **state)
{
    struct fixture *f = *state;
    create(f, 1, NULL);
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    judge(f, 0, 5.0, 4.0, 6.0);
    judge(f, 20, 5.0, 3.0, 3.5);
    assert_int_equal(say(f, report(REPORT_FAILED, 1, 20, 0.0, 0)), SHOAL_OK);
    assert_int_equal(fake_index()->n_dropped, 0);
    assert_int_equal(say(f, report(REPORT_WROTE, 0, 20, 0.25, 100)), SHOAL_OK);
    assert_true(fake_index()->n_dropped == 1 && fake_index()->dropped == 20);
    assert_int_equal(fake_index()->n_written, 0);
    assert_int_equal(count_lines(f, "\"snapshot_failed\""), 1);
    assert_int_equal(count_lines(f, "\"newest\":null}"), 1);
    judge(f, 40, 2.0, 2.0, 2.0);
    fake_index()->full = true;
    assert_int_equal(say(f, report(REPORT_WROTE, 0, 40, 0.5, 50)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_WROTE, 1, 40, 0.5, 50)), SHOAL_EIO);
    assert_non_null(strstr(shoal_failure_text(), "the last snapshot, of step 40, could not"));
    assert_true(fake_index()->n_dropped == 2 && fake_index()->dropped == 40);
    assert_int_equal(count_lines(f, "\"event\":\"end\""), 1);
}

static void all_diverged_is_written_down_and_ends_the_run(void **state)
{
    struct fixture *f = *state;
    create(f, 1, NULL);
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_FITNESS, 0, 0, NAN, 0)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_FITNESS, 1, 0, INFINITY, 0)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_FITNESS, 2, 0, NAN, 0)), SHOAL_ENUMERIC);
    assert_int_equal(count_lines(f, "\"fitness\":[null,null,null],\"best\":-1"), 1);
    assert_int_equal(f->comm.n_orders, 1);
}

/* The handler without a record: has anybody signalled, or is the job's time over? */
static void it_looks_around_when_nothing_is_said(void **state)
{
    struct fixture *f = *state;
    char end[32];
    snprintf(end, sizeof end, "%lld", (long long)time(NULL) + 60 * 60);
    assert_int_equal(setenv("SLURM_JOB_END_TIME", end, 1), 0);
    f->config.run.margin = 59.9;
    create(f, 1, NULL);
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    judge(f, 0, 5.0, 4.0, 6.0);
    assert_int_equal(f->comm.hear(f->comm.owner, NULL, 0), SHOAL_OK);
    assert_int_equal(f->comm.n_orders, 2);
    coordinator_destroy(&f->c);
    f->config.run.margin = 60.1;
    create(f, 1, NULL);
    assert_int_equal(unsetenv("SLURM_JOB_END_TIME"), 0);
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    judge(f, 0, 5.0, 4.0, 6.0);
    assert_true(f->comm.orders[1].halt && f->comm.orders[2].stop);
    assert_int_equal(f->comm.hear(f->comm.owner, NULL, 0), SHOAL_OK);
    assert_int_equal(f->comm.n_orders, 3);
    assert_int_equal(say(f, report(REPORT_WROTE, 0, 0, 0.0, 0)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_WROTE, 1, 0, 0.0, 0)), SHOAL_OK);
    assert_int_equal(count_lines(f, "\"why\":\"the job's time is nearly over\"}"), 1);
}

/* A signal to a worker comes as a report; the run is saved where it halts, and ends there. */
static void a_signalled_run_ends_where_it_halts(void **state)
{
    struct fixture *f = *state;
    create(f, 1, NULL);
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    judge(f, 0, 5.0, 4.0, 6.0);
    struct report wish = report(REPORT_WISH, 0, 7, 0.0, WISH_STOP);
    wish.count[1] = 15;
    wish.worker = 3;
    assert_int_equal(say(f, wish), SHOAL_OK);
    assert_true(f->comm.n_orders == 3 && f->comm.orders[2].halt);
    assert_int_equal(say(f, report(REPORT_HALTED, 0, 10, 0.0, 1)), SHOAL_OK);
    assert_true(f->comm.orders[3].stop && f->comm.orders[3].step == 10);
    assert_int_equal(say(f, report(REPORT_WROTE, 0, 10, 0.0, 0)), SHOAL_OK);
    assert_int_equal(say(f, report(REPORT_WROTE, 1, 10, 0.0, 0)), SHOAL_OK);
    const struct standing *standing = &fake_index()->index.standing;
    assert_true(standing->step == 10 && standing->judged_step == 0 && !standing->round_done);
    assert_int_equal(fake_index()->index.n_judgings, 1);
    assert_int_equal(count_lines(f, "\"why\":\"SIGTERM to worker 3\"}"), 1);
}

static void a_record_of_another_size_is_ignored(void **state)
{
    struct fixture *f = *state;
    create(f, 1, NULL);
    assert_int_equal(coordinator_start(f->c), SHOAL_OK);
    assert_int_equal(f->comm.hear(f->comm.owner, "?", 1), SHOAL_OK);
    assert_int_equal(f->comm.n_orders, 1);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, free_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(alone_it_hears_through_the_handler),
        LOOP_TEST(what_is_reported_is_written_down),
        LOOP_TEST(an_index_holds_what_a_restart_needs),
        LOOP_TEST(resumed_it_goes_on_from_the_index),
        LOOP_TEST(among_others_it_listens_until_the_end),
        LOOP_TEST(a_lost_peer_ends_the_loop),
        LOOP_TEST(a_lost_snapshot_is_given_up),
        LOOP_TEST(all_diverged_is_written_down_and_ends_the_run),
        LOOP_TEST(it_looks_around_when_nothing_is_said),
        LOOP_TEST(a_signalled_run_ends_where_it_halts),
        LOOP_TEST(a_record_of_another_size_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
