/* print.c - the configuration as YAML, and the table as help. */
#include <stdlib.h>
#include <string.h>
#include "config/options.h"

enum { HELP_COLUMN = 40 };

/* Number of groups around an option: the dots in its key. */
static int depth_of(const char *key)
{
    int depth = 0;
    for (; *key; key++)
        depth += *key == '.';
    return depth;
}

/* Length of the first `parts` parts of a key, without the dot after them. */
static size_t parts_length(const char *key, int parts)
{
    size_t length = 0;
    for (int i = 0; i < parts; i++) {
        length += i > 0;
        length += strcspn(key + length, ".");
    }
    return length;
}

/* How many of the groups around key are also around the option before it. */
static int shared_groups(const char *key, const char *before)
{
    int shared = 0;
    while (shared < depth_of(key) && shared < depth_of(before)) {
        const size_t length = parts_length(key, shared + 1);
        if (strncmp(key, before, length + 1) != 0) break; /* with the dot */
        shared++;
    }
    return shared;
}

/* The lines "evolution:" and "  body:" that open the groups of an option. */
static void print_groups(FILE *to, const char *key, const char *before)
{
    const int depth = depth_of(key), shared = shared_groups(key, before);
    if (shared == 0 && (depth > 0 || depth_of(before) > 0)) fputc('\n', to);
    for (int i = shared; i < depth; i++) {
        const size_t start = i > 0 ? parts_length(key, i) + 1 : 0;
        const size_t end = parts_length(key, i + 1);
        fprintf(to, "%*s%.*s:\n", 2 * i, "", (int)(end - start), key + start);
    }
}

/* Whether YAML reads this text back as it is, without quotes. */
static bool plain(const char *text)
{
    const char *safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    return text[0] && text[0] != '-' && strspn(text, safe) == strlen(text);
}

/* Double-quoted where needed; option_set has let no control characters in. Returns the width. */
static int print_value(FILE *to, const char *text)
{
    if (plain(text)) return fprintf(to, "%s", text);
    int width = fprintf(to, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') width += fprintf(to, "\\");
        fputc(*text, to);
        width++;
    }
    return width + fprintf(to, "\"");
}

static void print_option(FILE *to, const struct config *c, const struct option *o)
{
    char text[OPTION_TEXT];
    option_text(text, c, o);
    const int depth = depth_of(o->key);
    const char *name = o->key + (depth > 0 ? parts_length(o->key, depth) + 1 : 0);
    int column = fprintf(to, "%*s%s: ", 2 * depth, "", name);
    column += print_value(to, text);
    fprintf(to, "%*s # %s\n", column < HELP_COLUMN ? HELP_COLUMN - column : 0, "", o->help);
}

enum shoal_status config_print(const struct config *c, FILE *to)
{
    fprintf(to, "# Every option of a run, as `shoal train` reads it.\n");
    for (int i = 0; i < option_count; i++) {
        print_groups(to, option_table[i].key, i > 0 ? option_table[i - 1].key : ".");
        print_option(to, c, &option_table[i]);
    }
    SHOAL_CHECK(fflush(to) == 0 && !ferror(to), SHOAL_EIO,
                "cannot write the configuration; is the disk full?");
    return SHOAL_OK;
}

enum shoal_status config_text(const struct config *c, char **out)
{
    size_t bytes;
    char *text = NULL;
    FILE *memory = open_memstream(&text, &bytes);
    SHOAL_CHECK(memory, SHOAL_ENOMEM, "no memory for the text of the configuration");
    enum shoal_status st = config_print(c, memory);
    if (fclose(memory) != 0 && st == SHOAL_OK) {
        st = SHOAL_FAIL(SHOAL_ENOMEM, "no memory for the text of the configuration");
    }
    if (st == SHOAL_OK) {
        *out = text;
    } else {
        free(text);
    }
    return st;
}

void config_help(FILE *to)
{
    for (int i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        char expected[OPTION_EXPECTED];
        option_expected(expected, o);
        fprintf(to, "  %s\n", o->key);
        fprintf(to, "      %s\n", o->help);
        fprintf(to, "      %s; default %s\n", expected, o->fallback[0] ? o->fallback : "empty");
    }
}
