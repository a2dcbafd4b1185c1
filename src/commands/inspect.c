/* inspect.c - `shoal inspect`: what is in a run, a snapshot or a shard. */
#include "commands/inspect.h"

#include <string.h>
#include "commands/args.h"
#include "commands/commands.h"
#include "snapshot/index.h"

/* A path without '/' at its end. */
static enum shoal_status trim(char *out, const char *path)
{
    SHOAL_TRY(path_format(out, "%s", path));
    for (size_t n = strlen(out); n > 1 && out[n - 1] == '/'; n--)
        out[n - 1] = 0;
    return SHOAL_OK;
}

static enum shoal_status inspect_run(const char *run, bool json)
{
    char index[SHOAL_MAX_PATH];
    SHOAL_CHECK(run_exists(run), SHOAL_EFORMAT,
                "%s is not a run directory: it has neither config.yaml nor snapshots/", run);
    SHOAL_TRY(index_find_latest(run, index));
    return inspect_snapshot(index, run, json);
}

static enum shoal_status inspect(const char *operand, bool json)
{
    char path[SHOAL_MAX_PATH], shard[SHOAL_MAX_PATH];
    SHOAL_TRY(trim(path, operand));
    if (path_is_dir(path)) return inspect_run(path, json);
    /* Only a shard resolves to itself. */
    SHOAL_TRY(snapshot_resolve(path, shard));
    if (strcmp(shard, path) == 0) return inspect_shard(path, json);
    return inspect_snapshot(path, NULL, json);
}

enum shoal_status command_inspect(int argc, char **argv)
{
    bool json = false, help = false;
    const struct arg_option options[] = {
        {"--json", ARG_FLAG, &json, NULL, "print one line of JSON"},
    };
    const struct arg_spec spec = {
        .usage = "shoal inspect RUN|SNAPSHOT|SHARD [--json]",
        .description =
            "Look at what a run has on disk; works while it is training.\n\n"
            "RUN       a run directory: its newest good snapshot, and which others there are\n"
            "SNAPSHOT  an index (RUN/snapshots/step-N.h5): the population at that step, best\n"
            "          first, and how the best fitness came down\n"
            "SHARD     one expert (RUN/experts/K/step-N.h5 or RUN/best.h5): where it comes\n"
            "          from and what its tensors look like\n\n"
            "Fitness is the mean loss in nats per token on the held-out slice; lower is better.\n"
            "'mean' is the recombinant, the mean of all experts, which competes with them. The\n"
            "best member is marked with a star. Parent: the member whose weights the expert\n"
            "last moved toward.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_operands = 1,
        .max_operands = 1,
        .examples = "  shoal inspect runs/quickstart\n"
                    "  shoal inspect runs/quickstart/snapshots/step-00000500.h5 --json\n"
                    "  shoal inspect runs/quickstart/best.h5\n",
    };
    struct arg_list operands = {0};
    SHOAL_TRY(args_parse(&spec, argc, argv, &operands, &help));
    enum shoal_status st = SHOAL_OK;
    if (help)
        args_help(&spec, stdout);
    else
        st = inspect(operands.item[0], json);
    args_free(&operands);
    return st;
}
