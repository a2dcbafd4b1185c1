/* What reaches a terminal and what reaches a file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "coordinator/display.h"

enum { TEXT = 4096 };

static const struct progress progress = {.step = 10.0,
                                         .steps = 40,
                                         .tokens_per_s = 1000.0,
                                         .utilisation = 0.5,
                                         .left_s = 30.0,
                                         .experts = 2,
                                         .best = 1,
                                         .best_fitness = 2.0};
static const struct judging_row row = {.step = 20, .steps = 40, .experts = 2, .best = 1};
static const struct evaluation evaluation = {
    .step = 20, .member = 1, .experts = 2, .loss = 2.5, .tokens = 640.0, .seconds = 0.5};
static const struct display_shape shape = {
    .experts = 2, .workers = 1, .params = 1234567, .steps = 40, .out = "runs/a"};

/* Play one short run into text. */
static void play(char *text, bool live, int width)
{
    FILE *to = tmpfile();
    struct display *d;
    assert_non_null(to);
    assert_int_equal(display_create(to, live, width, &d), SHOAL_OK);
    display_start(d, &shape);
    for (int i = 0; i < 100; i++) /* ten seconds */
        display_progress(d, 1.0 + 0.1 * i, &progress);
    display_judging(d, &row);
    display_evaluation(d, &evaluation);
    display_progress(d, 11.01, &progress);
    display_destroy(&d);
    rewind(to);
    text[fread(text, 1, TEXT - 1, to)] = 0;
    fclose(to);
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static void a_file_gets_plain_lines(void **state)
{
    (void)state;
    char text[TEXT];
    play(text, false, 80);
    assert_null(strchr(text, '\r'));
    assert_null(strchr(text, '\033'));
    assert_int_equal(count(text, "\n"), 3);
    assert_non_null(
        strstr(text, "runs/a: 2 experts of 1.23M parameters, 1 worker, step 0 of 40\n"));
    assert_non_null(strstr(text, "\nstep 20/40  elapsed"));
    assert_non_null(strstr(text, "\nevaluated at step 20: #1 2.5000 (perplexity 12.18) on 640 "));
}

static void a_terminal_gets_a_live_line(void **state)
{
    (void)state;
    char text[TEXT];
    play(text, true, 80);
    /* at most five a second for ten seconds, one taken away by the row, one more after it */
    const int drawn =
        count(text, "\rstep 10/40  25%  1.00k tok/s  MFU 50%  ETA 30s  best #1 2.0000");
    assert_in_range(drawn, 40, 52);
    assert_int_equal(count(text, "\r\033[K"), 1);
    assert_int_equal(count(text, "\n"), 5); /* start, header, row, evaluation, last line */
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void the_live_line_fits_the_terminal(void **state)
{
    (void)state;
    char text[TEXT];
    play(text, true, 30);
    const char *line = strstr(text, "\rstep");
    assert_non_null(line);
    assert_int_equal(strstr(line, "\033[K") - (line + 1), 29);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_gets_plain_lines),
        cmocka_unit_test(a_terminal_gets_a_live_line),
        cmocka_unit_test(the_live_line_fits_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
