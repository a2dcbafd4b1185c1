/* simulate - runs of the coordinator and its workers' protocol, each drawn from a seed.
 *
 * A seed that breaks a rule is replayed by the line this program prints. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include "base/log.h"
#include "commands/args.h"
#include "coordinator/simulator.h"

enum { EXIT_BROKEN = 1, MOST_SHOWN = 10 };

struct request {
    int64_t seed, seeds, workers;
    bool large, verbose, help;
    struct arg_list operands;
};

struct totals {
    int64_t broken, diverged, events, heard, sessions, deaths, disk_errors, strays, rounds, commits;
    int64_t wishes, halts;
};

static enum shoal_status parse(int argc, char **argv, struct request *q)
{
    const struct arg_option options[] = {
        {"--seed", ARG_INT, &q->seed, "N", "first seed (0)"},
        {"--seeds", ARG_INT, &q->seeds, "N", "how many runs, of one seed after the other (1)"},
        {"--workers", ARG_INT, &q->workers, "W", "workers of every run; 0: 1 to 64, drawn (0)"},
        {"--large", ARG_FLAG, &q->large, NULL, "one expert a worker, stragglers, no faults"},
        {"--verbose", ARG_FLAG, &q->verbose, NULL, "tell what happens"}};
    const struct arg_spec spec = {
        .usage = "simulate [--seed N] [--seeds N] [--workers W] [--large] [--verbose]",
        .description = "Simulate whole runs: the coordinator that shoal links, workers that follow "
                       "its\nprotocol, delays, stragglers, deaths and disk errors. Every event is "
                       "checked against\nwhat the run must come to. The exit code is 1 when a rule "
                       "was broken.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .examples = "  simulate --seeds 100000 --workers 64     a night's worth\n"
                    "  simulate --seed 17 --verbose             one run, event by event\n"
                    "  simulate --large --workers 16384         how fast it goes\n"};
    SHOAL_TRY(args_parse(&spec, argc, argv, &q->operands, &q->help));
    if (q->help) args_help(&spec, stdout);
    SHOAL_CHECK(q->help || (q->workers >= (q->large ? 1 : 0) && q->workers <= SHOAL_MAX_EXPERTS),
                SHOAL_EARG, "--workers is %" PRId64 ", not %d to %d", q->workers, q->large,
                SHOAL_MAX_EXPERTS);
    return SHOAL_OK;
}

static void add(struct totals *t, const struct outcome *out)
{
    t->broken += out->broken[0] != 0;
    t->diverged += out->diverged;
    t->events += out->events;
    t->heard += out->heard;
    t->sessions += out->sessions;
    t->deaths += out->deaths;
    t->disk_errors += out->disk_errors;
    t->strays += out->strays;
    t->rounds += out->rounds;
    t->commits += out->commits;
    t->wishes += out->wishes;
    t->halts += out->halts;
}

static void report(const struct request *q, int64_t seed, const struct outcome *out,
                   const char *program)
{
    printf("seed %" PRId64 ": %s\n", seed, out->broken);
    if (q->verbose) return;
    printf("  replay: %s --seed %" PRId64, program, seed);
    if (q->workers > 0) printf(" --workers %" PRId64, q->workers);
    printf("%s --verbose\n", q->large ? " --large" : "");
}

static void summary(const struct request *q, const struct totals *t, double seconds)
{
    printf("%" PRId64 " runs in %" PRId64 " sessions: %" PRId64 " rounds, %" PRId64
           " snapshots, %" PRId64 " diverged\n",
           q->seeds, t->sessions, t->rounds, t->commits, t->diverged);
    printf("%" PRId64 " deaths, %" PRId64 " disk errors, %" PRId64 " stray reports, %" PRId64
           " signals, %" PRId64 " halts\n",
           t->deaths, t->disk_errors, t->strays, t->wishes, t->halts);
    printf("%" PRId64 " events, %" PRId64 " of them at the coordinator, in %.2f s of processor "
           "time: %.2f million a second\n",
           t->events, t->heard, seconds, (double)t->events / seconds * 1e-6);
    printf("%" PRId64 " runs broke a rule\n", t->broken);
}

static int run_all(const struct request *q, const char *program)
{
    struct totals totals = {0};
    const clock_t begun = clock();
    for (int64_t seed = q->seed; seed < q->seed + q->seeds; seed++) {
        struct simulation sim;
        struct outcome out;
        if (q->large) simulation_large(&sim, (uint64_t)seed, (int)q->workers);
        if (!q->large) simulation_draw(&sim, (uint64_t)seed, (int)q->workers);
        simulate(&sim, q->verbose ? stdout : NULL, &out);
        add(&totals, &out);
        if (out.broken[0] && totals.broken <= MOST_SHOWN) report(q, seed, &out, program);
    }
    summary(q, &totals, (double)(clock() - begun) / CLOCKS_PER_SEC);
    return totals.broken > 0 ? EXIT_BROKEN : 0;
}

int main(int argc, char **argv)
{
    struct request q = {.seeds = 1};
    const enum shoal_status st = parse(argc, argv, &q);
    if (st != SHOAL_OK) log_error(shoal_failure_text());
    const int code = st != SHOAL_OK ? shoal_exit_code(st) : q.help ? 0 : run_all(&q, argv[0]);
    args_free(&q.operands);
    return code;
}
