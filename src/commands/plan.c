/* plan.c - `shoal plan`: what a run will take, without training. */
#include <inttypes.h>
#include "commands/args.h"
#include "commands/commands.h"
#include "commands/plan.h"

struct plan_args {
    struct arg_list config; /* one operand: the file */
    struct arg_list sets;
    int64_t workers, machines;
    bool measure, json, help;
};

static enum shoal_status parse(int argc, char **argv, struct plan_args *a)
{
    const struct arg_option options[] = {
        {"--workers", ARG_INT, &a->workers, "N", "workers that share the experts (default: 1)"},
        {"--machines", ARG_INT, &a->machines, "M",
         "machines like this one that the workers are spread over (default: 1)"},
        {"--set", ARG_LIST, &a->sets, "KEY=VALUE", "set an option over the file; may be repeated"},
        {"--measure", ARG_FLAG, &a->measure, NULL,
         "time a few real steps of one worker instead of assuming their speed"},
        {"--json", ARG_FLAG, &a->json, NULL, "print one line of JSON"}};
    const struct arg_spec spec = {
        .usage = "shoal plan CONFIG [--workers N] [--machines M] [--set KEY=VALUE]... [--measure] "
                 "[--json]",
        .description =
            "Say what `shoal train CONFIG` with N workers will take, without training: "
            "parameters,\n"
            "memory of a worker item by item, what workers send each other and how much data\n"
            "parallel training would send, files, and time. It reads the configuration and, if "
            "they\n"
            "are there, the token files, and writes nothing.\n\n"
            "Memory is counted by the code that allocates it and holds for the fullest worker at\n"
            "its peak. What does not fit into this machine is said, with what would.\n\n"
            "Data parallel training is the comparison because it is what an uncut model of the\n"
            "same depth would need: its gradients in float32, all-reduced in a ring at every "
            "step,\n"
            "2 (N - 1) P 4 bytes for P parameters. All figures of traffic are of all workers "
            "together.\n\n"
            "Time is an estimate for machines like this one: a short measurement of the peak of\n"
            "its matrix products, times the share of it that training usually reaches. With\n"
            "--measure one worker's step is timed for some seconds (it needs the memory of one\n"
            "expert). Neither counts exchange and writing of files.\n\n"
            "--json prints the keys name, workers, workers_per_machine, experts_per_worker,\n"
            "threads, parameters, memory (an item each, and peak), machine, exchange, files,\n"
            "compute and, where there is some, advice. Bytes, seconds and FLOP are plain numbers.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_operands = 1,
        .max_operands = 1,
        .examples = "  shoal plan configs/quickstart.yaml --workers 4\n"
                    "  shoal plan configs/gpt2-1558m-6x8.yaml --workers 6 --machines 6\n"
                    "  shoal plan mine.yaml --set train.micro_batch=4 --set "
                    "train.recompute=block --measure\n"};
    SHOAL_TRY(args_parse(&spec, argc, argv, &a->config, &a->help));
    if (a->help) args_help(&spec, stdout);
    return SHOAL_OK;
}

static enum shoal_status check_counts(const struct plan_args *a)
{
    SHOAL_CHECK(a->workers >= 1 && a->workers <= SHOAL_MAX_EXPERTS, SHOAL_EARG,
                "plan: --workers %" PRId64 " is not 1 to %d", a->workers, SHOAL_MAX_EXPERTS);
    SHOAL_CHECK(a->machines >= 1 && a->machines <= a->workers, SHOAL_EARG,
                "plan: --machines %" PRId64 " is not 1 to the number of workers, %" PRId64,
                a->machines, a->workers);
    return SHOAL_OK;
}

/* Valid but for token files, which may be made later. */
static enum shoal_status read_config(const struct plan_args *a, struct config *c)
{
    SHOAL_TRY(config_load(c, a->config.item[0], a->sets.item, a->sets.count));
    struct config complete = *c;
    complete.data.train[0] = complete.data.val[0] = '?';
    return config_validate(&complete, (int)a->workers);
}

static enum shoal_status plan(const struct plan_args *a)
{
    const struct plan_request request = {(int)a->workers, (int)a->machines, a->measure};
    enum shoal_status st = SHOAL_OK;
    struct config c;
    struct plan p;
    SHOAL_TRY(check_counts(a));
    SHOAL_TRY(read_config(a, &c));
    SHOAL_GOTO(plan_make(&c, &request, &p));
    if (a->json)
        SHOAL_GOTO(plan_print_json(&p));
    else
        plan_print_text(&p);
done:
    plan_free(&p);
    return st;
}

enum shoal_status command_plan(int argc, char **argv)
{
    struct plan_args a = {.workers = 1, .machines = 1};
    SHOAL_TRY(parse(argc, argv, &a));
    const enum shoal_status st = a.help ? SHOAL_OK : plan(&a);
    args_free(&a.config);
    args_free(&a.sets);
    return st;
}
