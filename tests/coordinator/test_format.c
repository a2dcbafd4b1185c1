/* Numbers and lines as people read them; the meter and the track behind them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>
#include "coordinator/format.h"
#include "coordinator/meter.h"
#include "coordinator/track.h"

static void durations(void **state)
{
    (void)state;
    const struct {
        double seconds;
        const char *text;
    } cases[] = {{0.0, "0.0s"},       {0.84, "0.8s"},    {9.94, "9.9s"},      {9.96, "10s"},
                 {59.4, "59s"},       {59.6, "1m00s"},   {83.0, "1m23s"},     {3599.4, "59m59s"},
                 {3599.6, "1h00m"},   {7500.0, "2h05m"}, {86399.0, "23h59m"}, {86400.0, "1d00h"},
                 {273600.0, "3d04h"}, {NAN, "-"},        {INFINITY, "-"},     {-1.0, "-"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[FORMAT_WORD];
        format_duration(text, cases[i].seconds);
        assert_string_equal(text, cases[i].text);
    }
}

static void counts(void **state)
{
    (void)state;
    const struct {
        double n;
        const char *text;
    } cases[] = {{0.0, "0"},         {7.4, "7"},          {999.4, "999"},     {999.6, "1.00k"},
                 {9994.0, "9.99k"},  {9996.0, "10.0k"},   {52100.0, "52.1k"}, {99960.0, "100k"},
                 {999400.0, "999k"}, {999600.0, "1.00M"}, {1.31e8, "131M"},   {6.4e9, "6.40B"},
                 {2.5e13, "25.0T"},  {NAN, "-"},          {-5.0, "-"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[FORMAT_WORD];
        format_count(text, cases[i].n);
        assert_string_equal(text, cases[i].text);
    }
}

static void bytes(void **state)
{
    (void)state;
    const struct {
        double n;
        const char *text;
    } cases[] = {{0.0, "0B"},         {999.0, "999B"},    {1234.0, "1.23kB"}, {40.8e6, "40.8MB"},
                 {1.966e9, "1.97GB"}, {2.5e15, "2500TB"}, {-1.0, "-"},        {NAN, "-"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[FORMAT_WORD];
        format_bytes(text, cases[i].n);
        assert_string_equal(text, cases[i].text);
    }
}

static void members_and_losses(void **state)
{
    (void)state;
    char text[FORMAT_WORD];
    format_member(text, 2, 4);
    assert_string_equal(text, "#2");
    format_member(text, 4, 4);
    assert_string_equal(text, "mean");
    format_member(text, -1, 4);
    assert_string_equal(text, "-");
    format_loss(text, 1.72344);
    assert_string_equal(text, "1.7234");
    format_loss(text, -NAN);
    assert_string_equal(text, "nan");
    format_loss(text, INFINITY);
    assert_string_equal(text, "inf");
}

static void the_live_line(void **state)
{
    (void)state;
    char line[128];
    struct progress p = {.step = 1200.75,
                         .steps = 4000,
                         .tokens_per_s = 52100.0,
                         .utilisation = 0.414,
                         .left_s = 83.0,
                         .experts = 4,
                         .best = 2,
                         .best_fitness = 1.7234};
    format_progress(line, sizeof line, &p);
    assert_string_equal(line, "step 1200/4000  30%  52.1k tok/s  MFU 41%  ETA 1m23s  "
                              "best #2 1.7234");
    assert_true(strlen(line) < 80);
    p.best = -1;
    p.tokens_per_s = p.left_s = p.utilisation = NAN;
    format_progress(line, sizeof line, &p);
    assert_string_equal(line, "step 1200/4000  30%  - tok/s  MFU -  ETA -");
    p.best = 4;
    memset(line, 'x', sizeof line);
    format_progress(line, 8, &p);
    assert_string_equal(line, "step 12");
    format_progress(line, 45, &p);
    assert_int_equal(strlen(line), 44);
    assert_int_equal(line[45], 'x');
}

static const struct judging_row row = {.step = 1200,
                                       .steps = 4000,
                                       .time_s = 83.0,
                                       .tokens_per_s = 52100.0,
                                       .utilisation = 0.0414,
                                       .experts = 4,
                                       .best = 4,
                                       .best_fitness = 1.7234,
                                       .champion_fitness = 1.7,
                                       .spread = 0.0119,
                                       .recombinant = 1.7234,
                                       .has_recombinant = true,
                                       .new_champion = true};

/* Where the last character of each word of a line stands. */
static int word_ends(const char *line, int *ends)
{
    int n = 0;
    for (int i = 0; line[i]; i++)
        if (line[i] != ' ' && (line[i + 1] == ' ' || !line[i + 1])) ends[n++] = i;
    return n;
}

static void table_columns_agree(void **state)
{
    (void)state;
    char header[128], line[128];
    int under[16], over[16];
    format_header(header, sizeof header, true);
    format_row(line, sizeof line, &row);
    assert_non_null(strstr(line, "1.7000* "));
    assert_true(strlen(line) < 80);
    assert_int_equal(word_ends(header, over), 9);
    assert_int_equal(word_ends(line, under), 9);
    for (int i = 0; i < 9; i++)
        assert_int_equal(over[i], under[i]);
    struct judging_row alone = row;
    alone.has_recombinant = alone.new_champion = false;
    format_row(line, sizeof line, &alone);
    assert_int_equal(word_ends(line, under), 8);
    assert_null(strchr(line, '*'));
}

static void a_plain_line_and_the_summary(void **state)
{
    (void)state;
    char text[512];
    format_plain(text, sizeof text, &row);
    assert_string_equal(text,
                        "step 1200/4000  elapsed 1m23s  52.1k tok/s  MFU 4.1%  best mean 1.7234  "
                        "all-time 1.7000  spread 0.0119  mean 1.7234");
    const struct evaluation e = {.step = 1200,
                                 .member = 4,
                                 .experts = 4,
                                 .loss = 1.7301,
                                 .tokens = 256000.0,
                                 .seconds = 0.8};
    format_evaluation(text, sizeof text, &e);
    assert_string_equal(
        text, "evaluated at step 1200: mean 1.7301 (perplexity 5.641) on 256k tokens in 0.8s");
    struct run_summary summary = {.step = 4000,
                                  .steps = 4000,
                                  .time_s = 83.0,
                                  .tokens = 1.31e8,
                                  .experts = 4,
                                  .champion = 2,
                                  .champion_step = 3900,
                                  .champion_fitness = 0.693147180559945309,
                                  .best_path = "runs/a/best.h5",
                                  .why = "",
                                  .config_path = "runs/a/config.yaml"};
    format_summary(text, sizeof text, &summary);
    assert_string_equal(text,
                        "finished after 4000 of 4000 steps, 131M tokens, 1m23s\n"
                        "best: #2 at step 3900, loss 0.6931 (perplexity 2, 1.0000 bits/token)\n"
                        "weights: runs/a/best.h5");
    summary.skipped = 1;
    format_summary(text, sizeof text, &summary);
    assert_non_null(strstr(text, "131M tokens, 1m23s, 1 step skipped\nbest: "));
    summary.skipped = 20;
    format_summary(text, sizeof text, &summary);
    assert_non_null(strstr(text, "1m23s, 20 steps skipped\n"));
    summary.steps = 5000;
    format_summary(text, sizeof text, &summary);
    assert_ptr_equal(strstr(text, "stopped after 4000 of 5000 steps"), text);
    assert_non_null(strstr(text, "best.h5\nresume: shoal train runs/a/config.yaml --resume"));
    summary.why = "SIGTERM";
    format_summary(text, sizeof text, &summary);
    assert_ptr_equal(strstr(text, "stopped (SIGTERM) after 4000 of 5000 steps"), text);
}

static void the_meter_forgets(void **state)
{
    (void)state;
    struct meter m = {0};
    assert_true(isnan(meter_rate(&m)));
    meter_add(&m, 0.0, 0.0);
    assert_true(isnan(meter_rate(&m)));
    /* slow for a while, then 100 a second for much longer than the window */
    double total = 0.0;
    for (int i = 1; i <= 1000; i++)
        meter_add(&m, i * 0.1, total += 1.0);
    assert_true(fabs(meter_rate(&m) - 10.0) < 0.2);
    for (int i = 1; i <= 1000; i++)
        meter_add(&m, 100.0 + i * 0.1, total += 10.0);
    assert_true(fabs(meter_rate(&m) - 100.0) < 1e-6);
    /* two samples at one instant give no rate */
    struct meter still = {0};
    meter_add(&still, 1.0, 1.0);
    meter_add(&still, 1.0, 2.0);
    assert_true(isnan(meter_rate(&still)));
}

static void the_track_counts_the_whole_population(void **state)
{
    (void)state;
    struct config c;
    struct track t;
    struct progress p;
    struct judging_row out;
    memset(&c, 0, sizeof c);
    c.population.experts = 2;
    c.run.steps = 100;
    c.train.batch = 4;
    c.model.context = 8;
    const struct standing start = {.step = 10, .best = -1, .champion = -1};
    track_begin(&t, &c, 2, &start, 5.0);
    assert_true(track_tokens(&t) == 10.0 * 2 * 4 * 8);
    track_step(&t, 0, 20, 6.0);
    track_step(&t, 1, 20, 7.0);
    track_progress(&t, 7.0, &p);
    assert_true(p.step == 20.0 && p.best == -1);
    assert_true(fabs(p.tokens_per_s - 10.0 * 2 * 32 / 2.0) < 1e-9);
    assert_true(fabs(p.left_s - 16.0) < 1e-9); /* 80 steps at 5 a second */
    const struct judging judged = {
        .step = 30, .time_s = 10.0, .best = 1, .fitness = (double[]){3.0, 2.5, 2.75}};
    const struct standing now = {
        .best = 1, .champion = 1, .champion_step = 30, .champion_fitness = 2.5};
    track_judging(&t, &judged, 3, &now, &out);
    assert_true(fabs(out.tokens_per_s - 20.0 * 2 * 32 / 5.0) < 1e-9);
    assert_true(out.new_champion && out.has_recombinant && out.recombinant == 2.75);
    assert_true(out.spread == 0.5 && out.best == 1 && out.best_fitness == 2.5);
    assert_true(track_tokens(&t) == 30.0 * 2 * 32);
    c.run.minutes = 0.2;
    track_begin(&t, &c, 2, &start, 5.0);
    track_progress(&t, 5.0, &p);
    assert_true(fabs(p.left_s - 7.0) < 1e-9);
    track_step(&t, 0, 30, 6.0); /* ten steps a second: eight more seconds */
    track_progress(&t, 6.0, &p);
    assert_true(fabs(p.left_s - 6.0) < 1e-9);
    track_step(&t, 1, 30, 7.0);
    track_step(&t, 1, 90, 7.5); /* twenty a second */
    track_progress(&t, 7.5, &p);
    assert_true(fabs(p.left_s - 2.0) < 1e-9);
}

static void utilisation_is_a_share_of_the_peaks(void **state)
{
    (void)state;
    struct config c;
    struct track t;
    struct progress p;
    memset(&c, 0, sizeof c);
    c.population.experts = 2;
    c.run.steps = 100;
    c.train.batch = 4;
    c.model.context = 8;
    const struct standing start = {.best = -1, .champion = -1};
    track_begin(&t, &c, 2, &start, 0.0);
    track_device(&t, 0, 1e6, 100.0);
    assert_true(fabs(track_utilisation(&t, 0, 5000.0) - 0.5) < 1e-12);
    assert_true(isnan(track_utilisation(&t, -1, 5000.0))); /* the other has not spoken yet */
    track_device(&t, 1, 3e6, 100.0);
    track_device(&t, 2, 1e9, 100.0); /* there is no such worker */
    assert_true(fabs(track_utilisation(&t, 1, 6000.0) - 0.2) < 1e-12);
    assert_true(fabs(track_utilisation(&t, -1, 10000.0) - 0.25) < 1e-12);
    assert_true(isnan(track_utilisation(&t, 2, 1.0)));
    track_step(&t, 0, 10, 1.0);
    track_step(&t, 1, 10, 2.0); /* 640 tokens in two seconds */
    track_progress(&t, 2.0, &p);
    assert_true(fabs(p.utilisation - 320.0 * 100.0 / 4e6) < 1e-12);
    track_device(&t, 1, NAN, 100.0);
    assert_true(isnan(track_utilisation(&t, -1, 10000.0)));
    track_progress(&t, 2.0, &p);
    assert_true(isnan(p.utilisation));
}

static void skipped_steps_are_counted_once(void **state)
{
    (void)state;
    struct config c;
    struct track t;
    const struct standing start = {.best = -1, .champion = -1};
    memset(&c, 0, sizeof c);
    c.population.experts = 2;
    track_begin(&t, &c, 1, &start, 0.0);
    track_skipped(&t, 0, 3);
    track_skipped(&t, 1, 1);
    track_skipped(&t, 2, 99); /* the recombinant */
    track_skipped(&t, 0, 5);
    assert_int_equal(track_all_skipped(&t), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(counts),
        cmocka_unit_test(bytes),
        cmocka_unit_test(members_and_losses),
        cmocka_unit_test(the_live_line),
        cmocka_unit_test(table_columns_agree),
        cmocka_unit_test(a_plain_line_and_the_summary),
        cmocka_unit_test(the_meter_forgets),
        cmocka_unit_test(the_track_counts_the_whole_population),
        cmocka_unit_test(utilisation_is_a_share_of_the_peaks),
        cmocka_unit_test(skipped_steps_are_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
