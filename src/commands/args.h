/* args.h - command lines: one table per subcommand, from which parsing and --help come. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include "base/status.h"

enum arg_type { ARG_FLAG, ARG_STRING, ARG_INT, ARG_NUMBER, ARG_LIST };

struct arg_list {
    const char **item; /* borrowed strings; array owned, freed by args_free */
    int count;
};

struct arg_option {
    const char *name; /* "--set" */
    enum arg_type type;
    void *value;         /* bool *, const char **, int64_t *, double *, struct arg_list * */
    const char *operand; /* "KEY=VALUE"; NULL for flags */
    const char *help;    /* one line */
};

struct arg_spec {
    const char *usage;       /* "shoal eval SNAPSHOT --data GLOB [options]" */
    const char *description; /* paragraphs before the options */
    const struct arg_option *options;
    int n_options;
    int min_operands, max_operands; /* max -1: any number */
    const char *examples;           /* shown last; NULL: none */
};

/* Parse argv[1..]. Options may come anywhere, as --name value or --name=value; "--" ends them.
 * Operands go into *operands. *help is set (and nothing else checked) on --help or -h: the caller
 * then calls args_help and returns SHOAL_OK. SHOAL_EARG names the argument and the nearest known
 * option; lists are then freed already. */
enum shoal_status args_parse(const struct arg_spec *spec, int argc, char **argv,
                             struct arg_list *operands, bool *help);
/* Usage, description and examples as they are, the options in two columns. */
void args_help(const struct arg_spec *spec, FILE *to);
void args_free(struct arg_list *list);
