/* main.c - the program: one subcommand, its error, its exit code. */
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/memory.h"
#include "base/openmp_wait.h"
#include "base/status.h"
#include "base/text.h"
#include "commands/commands.h"

struct command {
    const char *name;
    enum shoal_status (*run)(int argc, char **argv);
    const char *help, *example;
};

static const struct command commands[] = {
    {"tokenize", command_tokenize, "text files to token shards",
     "shoal tokenize --tokenizer bytes --out data/book book.txt"},
    {"plan", command_plan, "what a run will take: memory, traffic, files, time",
     "shoal plan configs/quickstart.yaml --workers 4"},
    {"train", command_train, "train a population, alone or under mpirun",
     "mpirun -n 5 shoal train configs/quickstart.yaml --set run.name=first"},
    {"inspect", command_inspect, "leaderboard and history of a run, contents of a file",
     "shoal inspect runs/first"},
    {"report", command_report, "a page of plots of one run, or two compared",
     "shoal report runs/first --out report.html"},
    {"verify", command_verify, "whether a run's files are still what was written",
     "shoal verify runs/first"},
    {"keep", command_keep, "mark a snapshot so that it is not removed",
     "shoal keep runs/first 1000"},
    {"eval", command_eval, "loss of a trained expert on a text",
     "shoal eval runs/first --data 'data/book/val_*.bin'"},
    {"generate", command_generate, "text from a trained expert",
     "shoal generate runs/first --prompt 'Once' --tokens 200"},
    {"merge", command_merge, "several experts averaged into one",
     "shoal merge runs/first/experts/*/step-00003200.h5 --out mean.h5"},
    {"export", command_export, "a trained expert for Hugging Face's transformers or llm.c",
     "shoal export runs/first --to hf --out first-hf"},
    {"import", command_import, "a model of theirs as an expert", "shoal import gpt2 --out gpt2.h5"},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_overview(FILE *to)
{
    fprintf(to,
            "shoal %s - trains a population of language models that learn from their best\n\n"
            "Usage: shoal COMMAND [arguments]\n\nCommands:\n",
            SHOAL_VERSION);
    for (int i = 0; i < N_COMMANDS; i++) {
        fprintf(to, "  %-10s %s\n             $ %s\n", commands[i].name, commands[i].help,
                commands[i].example);
    }
    fprintf(to,
            "\n`shoal COMMAND --help` explains a command, `shoal --version` prints the version.\n"
            "Exit codes: 0 success, 2 arguments or configuration, 3 files, 4 memory or device,\n"
            "5 communication, 6 a loss is not finite, 7 a worker that was counted out, 8 a worker "
            "without a\n"
            "coordinator.\n");
}

static enum shoal_status fail_unknown(const char *name)
{
    const char *nearest = commands[0].name;
    for (int i = 1; i < N_COMMANDS; i++) {
        if (text_distance(name, commands[i].name) < text_distance(name, nearest)) {
            nearest = commands[i].name;
        }
    }
    return SHOAL_FAIL(SHOAL_EARG,
                      "unknown command '%s'; did you mean '%s'? `shoal --help` lists them", name,
                      nearest);
}

static enum shoal_status dispatch(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return SHOAL_FAIL(SHOAL_EARG, "no command given; start with `shoal --help`");
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_overview(stdout);
        return SHOAL_OK;
    }
    if (strcmp(name, "--version") == 0) {
        printf("shoal %s\n", SHOAL_VERSION);
        return SHOAL_OK;
    }
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    }
    return fail_unknown(name);
}

int main(int argc, char **argv)
{
    openmp_wait_briefly(argv);
    mem_begin();
    enum shoal_status st = dispatch(argc, argv);
    /* A full disk or a closed pipe shows only here for what was printed. */
    if (fflush(stdout) != 0 && st == SHOAL_OK) {
        st = SHOAL_FAIL(SHOAL_EIO, "cannot write to standard output");
    }
    /* A rank of several may have told its failure already, or leaves that to another. */
    if (st != SHOAL_OK && shoal_failure_text()[0]) log_error(shoal_failure_text());
    return shoal_exit_code(st);
}
