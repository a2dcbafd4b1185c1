/* args.c - one pass over the command line, driven by the table of the subcommand. */
#include "commands/args.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/text.h"

enum { LINE_WIDTH = 80, WIDEST_COLUMN = 28 };

/* An option as found on the command line. */
struct found {
    const struct arg_option *option;
    const char *value; /* after '='; NULL: none */
};

static bool is_option(const char *arg)
{
    return arg[0] == '-' && arg[1] != 0; /* "-" alone names standard input */
}

/* option is NULL when the table has none of that name. */
static struct found find_option(const struct arg_spec *spec, const char *arg)
{
    const char *equals = strchr(arg, '=');
    const size_t length = equals ? (size_t)(equals - arg) : strlen(arg);
    for (int i = 0; i < spec->n_options; i++) {
        const char *name = spec->options[i].name;
        if (strlen(name) == length && strncmp(name, arg, length) == 0) {
            return (struct found){&spec->options[i], equals ? equals + 1 : NULL};
        }
    }
    return (struct found){NULL, NULL};
}

static bool takes_next(struct found f)
{
    return f.option && f.option->type != ARG_FLAG && !f.value;
}

/* Whether --help is asked for, and is not the value of another option. */
static bool wants_help(const struct arg_spec *spec, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
        if (is_option(argv[i]) && takes_next(find_option(spec, argv[i]))) i++;
    }
    return false;
}

static enum shoal_status fail_unknown(const struct arg_spec *spec, const char *command,
                                      const char *arg)
{
    const char *nearest = "--help";
    for (int i = 0; i < spec->n_options; i++) {
        const char *name = spec->options[i].name;
        if (text_distance(arg, name) < text_distance(arg, nearest)) nearest = name;
    }
    return SHOAL_FAIL(SHOAL_EARG,
                      "%s: unknown option '%s'; did you mean '%s'? `shoal %s --help` lists them",
                      command, arg, nearest, command);
}

/* No list of a command line is longer than the command line. */
static enum shoal_status list_add(struct arg_list *list, const char *item, int argc)
{
    if (!list->item) {
        SHOAL_TRY(mem_alloc((size_t)argc * sizeof *list->item, "arguments", &list->item));
    }
    SHOAL_ASSERT(list->count < argc);
    list->item[list->count++] = item;
    return SHOAL_OK;
}

static enum shoal_status set_value(const char *command, const struct arg_option *o,
                                   const char *text, int argc)
{
    char *end;
    errno = 0;
    switch (o->type) {
    case ARG_FLAG:
        *(bool *)o->value = true;
        return SHOAL_OK;
    case ARG_STRING:
        *(const char **)o->value = text;
        return SHOAL_OK;
    case ARG_INT:
        *(int64_t *)o->value = strtoll(text, &end, 10);
        SHOAL_CHECK(*text && !*end && errno == 0, SHOAL_EARG,
                    "%s: %s must be a whole number, found '%s'", command, o->name, text);
        return SHOAL_OK;
    case ARG_NUMBER:
        *(double *)o->value = strtod(text, &end);
        SHOAL_CHECK(*text && !*end && isfinite(*(double *)o->value), SHOAL_EARG,
                    "%s: %s must be a number, found '%s'", command, o->name, text);
        return SHOAL_OK;
    case ARG_LIST:
        return list_add(o->value, text, argc);
    }
    return SHOAL_OK;
}

/* The option at argv[*i]; moves *i to its last argument. */
static enum shoal_status parse_option(const struct arg_spec *spec, int argc, char **argv, int *i)
{
    const struct found f = find_option(spec, argv[*i]);
    if (!f.option) return fail_unknown(spec, argv[0], argv[*i]);
    const char *value = f.value;
    if (takes_next(f)) {
        SHOAL_CHECK(*i + 1 < argc, SHOAL_EARG, "%s: %s needs a value: %s %s", argv[0],
                    f.option->name, f.option->name, f.option->operand);
        value = argv[++*i];
    }
    SHOAL_CHECK(f.option->type != ARG_FLAG || !value, SHOAL_EARG,
                "%s: %s takes no value; leave out '=%s'", argv[0], f.option->name, value);
    return set_value(argv[0], f.option, value, argc);
}

static enum shoal_status parse_all(const struct arg_spec *spec, int argc, char **argv,
                                   struct arg_list *operands)
{
    bool options = true; /* until "--" */
    for (int i = 1; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && is_option(argv[i])) {
            SHOAL_TRY(parse_option(spec, argc, argv, &i));
        } else {
            SHOAL_TRY(list_add(operands, argv[i], argc));
        }
    }
    SHOAL_CHECK(operands->count >= spec->min_operands, SHOAL_EARG,
                "%s: something is missing; usage: %s", argv[0], spec->usage);
    SHOAL_CHECK(spec->max_operands < 0 || operands->count <= spec->max_operands, SHOAL_EARG,
                "%s: '%s' is one argument too many; usage: %s", argv[0],
                operands->item[spec->max_operands], spec->usage);
    return SHOAL_OK;
}

enum shoal_status args_parse(const struct arg_spec *spec, int argc, char **argv,
                             struct arg_list *operands, bool *help)
{
    *operands = (struct arg_list){NULL, 0};
    *help = wants_help(spec, argc, argv);
    if (*help) return SHOAL_OK;
    const enum shoal_status st = parse_all(spec, argc, argv, operands);
    if (st == SHOAL_OK) return st;
    args_free(operands);
    for (int i = 0; i < spec->n_options; i++) {
        if (spec->options[i].type == ARG_LIST) args_free(spec->options[i].value);
    }
    return st;
}

void args_free(struct arg_list *list)
{
    mem_free(list->item);
    *list = (struct arg_list){NULL, 0};
}

/* Print text in lines of at most LINE_WIDTH columns, all but the first indented; the cursor stands
 * at column `indent`. Ends with a newline. */
static void print_wrapped(FILE *to, const char *text, int indent)
{
    const int room = LINE_WIDTH - indent;
    while ((int)strlen(text) > room) {
        int cut = room;
        while (cut > 0 && text[cut] != ' ')
            cut--;
        if (cut == 0) cut = (int)strcspn(text, " "); /* one word wider than the room */
        if (text[cut] == 0) break;
        fprintf(to, "%.*s\n%*s", cut, text, indent, "");
        text += cut + 1;
    }
    fprintf(to, "%s\n", text);
}

static void print_option(FILE *to, const struct arg_option *o, int column)
{
    const bool operand = o->operand != NULL;
    int at = fprintf(to, "  %s%s%s", o->name, operand ? " " : "", operand ? o->operand : "");
    if (at + 2 > column) {
        fputc('\n', to);
        at = 0;
    }
    fprintf(to, "%*s", column - at, "");
    print_wrapped(to, o->help, column);
}

/* Where the help of the options begins: two columns after the longest that is not too long. */
static int help_column(const struct arg_spec *spec)
{
    int column = (int)strlen("  -h, --help  ");
    for (int i = 0; i < spec->n_options; i++) {
        const struct arg_option *o = &spec->options[i];
        const int width = (int)(strlen(o->name) + (o->operand ? strlen(o->operand) + 1 : 0)) + 4;
        if (width > column && width <= WIDEST_COLUMN) column = width;
    }
    return column;
}

void args_help(const struct arg_spec *spec, FILE *to)
{
    const struct arg_option help = {"-h, --help", ARG_FLAG, NULL, NULL, "show this text"};
    const int column = help_column(spec);
    fprintf(to, "Usage: %s\n\n%s\n\nOptions:\n", spec->usage, spec->description);
    for (int i = 0; i < spec->n_options; i++)
        print_option(to, &spec->options[i], column);
    print_option(to, &help, column);
    if (!spec->examples) return;
    const size_t length = strlen(spec->examples);
    const bool ended = length > 0 && spec->examples[length - 1] == '\n';
    fprintf(to, "\nExamples:\n%s%s", spec->examples, ended ? "" : "\n");
}
