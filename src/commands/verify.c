/* verify.c - `shoal verify`: is what is on disk still what was written? */
#include "snapshot/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include "base/json.h"
#include "commands/args.h"
#include "commands/commands.h"
#include "coordinator/format.h"

static void print_text(const char *path, const struct verified *v)
{
    char bytes[FORMAT_WORD];
    format_bytes(bytes, (double)v->bytes);
    for (int i = 0; i < v->n_findings; i++)
        printf("%s: %s\n", v->findings[i].path, v->findings[i].what);
    printf("%s: %" PRId64 " file%s, %s read, ", path, v->files, v->files == 1 ? "" : "s", bytes);
    if (v->n_findings == 0)
        printf("all as written");
    else
        printf("%d finding%s", v->n_findings, v->n_findings == 1 ? "" : "s");
    if (v->snapshots > 0) printf("; %d of %d snapshots good", v->good, v->snapshots);
    if (v->newest >= 0) printf(", the newest of step %" PRId64, v->newest);
    printf("\n");
}

static enum shoal_status print_json(const char *path, const struct verified *v)
{
    struct json j;
    json_begin(&j);
    json_string(&j, "path", path);
    json_bool(&j, "good", v->n_findings == 0);
    json_int(&j, "files", v->files);
    json_int(&j, "bytes", v->bytes);
    json_int(&j, "snapshots", v->snapshots);
    json_int(&j, "good_snapshots", v->good);
    json_int(&j, "newest_good", v->newest);
    json_open(&j, "findings", '[');
    for (int i = 0; i < v->n_findings; i++) {
        json_open(&j, NULL, '{');
        json_string(&j, "path", v->findings[i].path);
        json_string(&j, "what", v->findings[i].what);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    return json_end(&j, stdout);
}

static enum shoal_status verify_and_print(const char *path, bool json)
{
    struct verified v;
    enum shoal_status st = verify(path, &v);
    if (st == SHOAL_OK) {
        if (json)
            st = print_json(path, &v);
        else
            print_text(path, &v);
    }
    if (st == SHOAL_OK && v.n_findings > 0)
        st = SHOAL_FAIL(SHOAL_EFORMAT, "%s: not all is as it was written (%d finding%s)", path,
                        v.n_findings, v.n_findings == 1 ? "" : "s");
    verified_free(&v);
    return st;
}

enum shoal_status command_verify(int argc, char **argv)
{
    bool json = false, help = false;
    const struct arg_option options[] = {
        {"--json", ARG_FLAG, &json, NULL, "print one line of JSON"},
    };
    const struct arg_spec spec = {
        .usage = "shoal verify RUN|SNAPSHOT|SHARD [--json]",
        .description =
            "Check that files are what was written: all their bytes against their seals, every\n"
            "dataset against its checksum, and what must belong together: run, step, expert,\n"
            "configuration, ledger, links, best.h5. Nothing is changed; works while it trains.\n\n"
            "RUN       every snapshot of a run directory, best.h5 and config.yaml\n"
            "SNAPSHOT  one index (RUN/snapshots/step-N.h5) and its shards\n"
            "SHARD     one file\n\n"
            "One line per finding, with what to do. Exit code 0 when nothing was found, else 3.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_operands = 1,
        .max_operands = 1,
        .examples = "  shoal verify runs/quickstart\n"
                    "  shoal verify runs/quickstart/latest --json\n",
    };
    struct arg_list operands = {0};
    SHOAL_TRY(args_parse(&spec, argc, argv, &operands, &help));
    enum shoal_status st = SHOAL_OK;
    if (help)
        args_help(&spec, stdout);
    else
        st = verify_and_print(operands.item[0], json);
    args_free(&operands);
    return st;
}
