/* keep.c - `shoal keep`: a snapshot that training does not remove. */
#include <stdio.h>
#include <stdlib.h>
#include "commands/args.h"
#include "commands/commands.h"
#include "snapshot/index.h"

static enum shoal_status mark(const char *run, const char *text, bool keep)
{
    char *end = NULL;
    const long long step = strtoll(text, &end, 10);
    SHOAL_CHECK(end != text && *end == 0 && step >= 0, SHOAL_EARG,
                "keep: '%s' is no step; give its number, as shoal inspect %s lists them", text,
                run);
    SHOAL_CHECK(run_exists(run), SHOAL_EFORMAT,
                "%s is not a run directory: it has neither config.yaml nor snapshots/", run);
    SHOAL_TRY(index_mark(run, step, keep));
    printf("%s: the snapshot of step %lld %s\n", run, step,
           keep ? "is kept" : "may go when it is old");
    return SHOAL_OK;
}

enum shoal_status command_keep(int argc, char **argv)
{
    bool unmark = false, help = false;
    const struct arg_option options[] = {
        {"--unmark", ARG_FLAG, &unmark, NULL, "take the mark away"},
    };
    const struct arg_spec spec = {
        .usage = "shoal keep RUN STEP [--unmark]",
        .description =
            "Mark a snapshot, so that training keeps it beyond snapshot.keep. The mark is an\n"
            "empty file, RUN/snapshots/step-N.keep; works while the run is training.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_operands = 2,
        .max_operands = 2,
        .examples = "  shoal keep runs/quickstart 1600\n",
    };
    struct arg_list operands = {0};
    SHOAL_TRY(args_parse(&spec, argc, argv, &operands, &help));
    enum shoal_status st = SHOAL_OK;
    if (help)
        args_help(&spec, stdout);
    else
        st = mark(operands.item[0], operands.item[1], !unmark);
    args_free(&operands);
    return st;
}
