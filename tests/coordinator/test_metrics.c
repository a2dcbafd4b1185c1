/* metrics.jsonl: what a line holds, and what appending does to a file that a kill cut short. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/files.h"
#include "base/memory.h"
#include "coordinator/metrics.h"
#include "optim/outlier.h"

static int make_folder(void **state)
{
    static const char name[] = "/tmp/shoal-metrics-XXXXXX";
    char *folder = malloc(sizeof name);
    if (!folder) return -1;
    memcpy(folder, name, sizeof name);
    *state = folder;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char path[SHOAL_MAX_PATH];
    if (path_format(path, "%s/metrics.jsonl", (char *)*state) != SHOAL_OK) return -1;
    (void)remove(path);
    const int result = rmdir(*state);
    free(*state);
    return result;
}

/* The whole file; mem_free. */
static char *contents(const char *folder)
{
    char path[SHOAL_MAX_PATH], *text;
    size_t bytes;
    assert_int_equal(path_format(path, "%s/metrics.jsonl", folder), SHOAL_OK);
    assert_int_equal(file_read(path, &text, &bytes), SHOAL_OK);
    return text;
}

/* One line for each kind of report that has one, and one for a step that was skipped. */
static void write_reports(struct metrics *m)
{
    const struct report step = {.kind = REPORT_STEP,
                                .member = 1,
                                .step = 50,
                                .count = {3200},
                                .value = {2.5, 0.001, NAN, 640.5}};
    const struct report spike = {.kind = REPORT_STEP,
                                 .member = 0,
                                 .step = 51,
                                 .count = {3264, SKIP_LOSS},
                                 .value = {9.5, 0.001, 2.0, 640.5}};
    const struct report device = {.kind = REPORT_DEVICE, .worker = 3, .value = {NAN, 1000.0}};
    const struct report eval = {
        .kind = REPORT_EVAL, .member = 2, .step = 80, .count = {640}, .value = {0.0, 0.125}};
    const struct report round = {
        .kind = REPORT_ROUND, .member = 2, .step = 60, .count = {4000}, .value = {0.25}};
    assert_int_equal(metrics_write_device(m, 0.75, 40, &device), SHOAL_OK);
    assert_int_equal(metrics_write_step(m, 1.0, &step, 0.25), SHOAL_OK);
    assert_int_equal(metrics_write_step(m, 1.5, &spike, NAN), SHOAL_OK);
    assert_int_equal(metrics_write_round(m, 2.0, &round), SHOAL_OK);
    const struct report lineage = {.kind = REPORT_LINEAGE,
                                   .member = 3,
                                   .step = 60,
                                   .count = {2, -1},
                                   .value = {0.125, 1.5, LINEAGE_COPIED}};
    assert_int_equal(metrics_write_lineage(m, 2.0, &lineage), SHOAL_OK);
    assert_int_equal(metrics_write_eval(m, 2.5, &eval), SHOAL_OK);
}

static void lines_hold_what_is_promised(void **state)
{
    struct metrics *m;
    assert_int_equal(metrics_open(*state, &m), SHOAL_OK);
    const struct metrics_start start = {.run_id = "abc",
                                        .resumed = true,
                                        .experts = 2,
                                        .members = 3,
                                        .workers = 1,
                                        .params = 1000,
                                        .step = 40,
                                        .steps = 100,
                                        .tokens_per_step = 64};
    const struct metrics_end end = {.tokens = 12800,
                                    .skipped = 7,
                                    .late = 1,
                                    .peak_bytes = (double[]){2.5e9, 0.0},
                                    .workers = 2};
    const struct judging judged = {
        .step = 80, .time_s = 3.0, .best = 2, .fitness = (double[]){2.0, NAN, 1.5}};
    const struct standing standing = {
        .step = 80, .champion = 0, .champion_step = 40, .champion_fitness = 1.25};
    assert_int_equal(metrics_write_start(m, 0.5, &start), SHOAL_OK);
    write_reports(m);
    assert_int_equal(metrics_write_judging(m, 3.0, &judged, 2, 3, &standing), SHOAL_OK);
    assert_int_equal(metrics_write_snapshot(m, 4.0, 80, 0.75, 0.5, 9000), SHOAL_OK);
    assert_int_equal(metrics_write_end(m, 5.0, &standing, &end), SHOAL_OK);
    char *text = contents(*state); /* before closing: every line is flushed */
    assert_string_equal(
        text,
        "{\"event\":\"start\",\"time\":0.5,\"step\":40,\"run_id\":\"abc\","
        "\"shoal_version\":\"" SHOAL_VERSION "\",\"resumed\":true,\"experts\":2,\"members\":3,"
        "\"workers\":1,\"params\":1000,\"steps\":100,\"tokens_per_step\":64}\n"
        "{\"event\":\"worker\",\"time\":0.75,\"step\":40,\"worker\":3,\"peak_flops_per_s\":null}\n"
        "{\"event\":\"step\",\"time\":1,\"step\":50,\"expert\":1,\"loss\":2.5,\"lr\":0.001,"
        "\"grad_norm\":null,\"tokens\":3200,\"tokens_per_s\":640.5,\"mfu\":0.25}\n"
        "{\"event\":\"step\",\"time\":1.5,\"step\":51,\"expert\":0,\"loss\":9.5,\"lr\":0.001,"
        "\"grad_norm\":2,\"tokens\":3264,\"tokens_per_s\":640.5,\"skipped\":true,"
        "\"reason\":\"loss\"}\n"
        "{\"event\":\"round\",\"time\":2,\"step\":60,\"source\":2,\"seconds\":0.25,\"stall_s\":0,"
        "\"bytes\":4000}"
        "\n"
        "{\"event\":\"lineage\",\"time\":2,\"step\":60,\"expert\":3,\"kind\":\"copied\",\"body\":2,"
        "\"io\":-1,\"distance\":0.125,\"lr_scale\":1.5}"
        "\n"
        "{\"event\":\"eval\",\"time\":2.5,\"step\":80,\"member\":2,\"loss\":0,\"perplexity\":1,"
        "\"tokens\":640,\"seconds\":0.125}\n"
        "{\"event\":\"judge\",\"time\":3,\"step\":80,\"fitness\":[2,null,1.5],\"best\":2,"
        "\"best_fitness\":1.5,\"spread\":0,\"champion\":0,\"champion_step\":40,"
        "\"champion_fitness\":1.25}\n"
        "{\"event\":\"snapshot\",\"time\":4,\"step\":80,\"seconds\":0.75,\"stall_s\":0.5,"
        "\"bytes\":9000}\n"
        "{\"event\":\"end\",\"time\":5,\"step\":80,\"best\":0,\"best_step\":40,"
        "\"best_fitness\":1.25,\"tokens\":12800,\"skipped\":7,\"late\":1,"
        "\"peak_bytes\":[2500000000,0]}\n");
    mem_free(text);
    metrics_close(&m);
    assert_null(m);
}

/* Put text into the file, open and close it, and see what is left. */
static void check_reopened(const char *folder, const char *before, size_t bytes, const char *after)
{
    char path[SHOAL_MAX_PATH];
    struct metrics *m;
    assert_int_equal(path_format(path, "%s/metrics.jsonl", folder), SHOAL_OK);
    assert_int_equal(file_write(path, before, bytes), SHOAL_OK);
    assert_int_equal(metrics_open(folder, &m), SHOAL_OK);
    metrics_close(&m);
    char *text = contents(folder);
    assert_string_equal(text, after);
    mem_free(text);
}

static void a_torn_line_is_removed(void **state)
{
    check_reopened(*state, "", 0, "");
    check_reopened(*state, "{\"a\":1}\n", 8, "{\"a\":1}\n");
    check_reopened(*state, "{\"a\":1}\n{\"b\":", 13, "{\"a\":1}\n");
    check_reopened(*state, "{\"b\":", 5, "");
    char *torn = malloc(20000);
    assert_non_null(torn);
    memset(torn, 'x', 20000); /* longer than what is looked at in one go */
    memcpy(torn, "{}\n", 3);
    check_reopened(*state, torn, 20000, "{}\n");
    check_reopened(*state, torn, 4096 + 3, "{}\n");
    free(torn);
}

static void a_folder_that_is_not_there_is_refused(void **state)
{
    (void)state;
    struct metrics *m;
    assert_int_equal(metrics_open("/tmp/shoal-no-such-folder/run", &m), SHOAL_EIO);
    assert_null(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_hold_what_is_promised, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_torn_line_is_removed, make_folder, remove_folder),
        cmocka_unit_test(a_folder_that_is_not_there_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
