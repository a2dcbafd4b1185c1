/* load.c - from a file and command-line overrides to a configuration. Assignments are collected
 * first, so that presets can be expanded before them and every refusal can name its line. */
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "config/assignments.h"

void origin_text(char *out, const struct assignments *list, int line, const char *argument)
{
    if (argument) {
        snprintf(out, ORIGIN_TEXT, "--set %s", argument);
    } else if (line > 0) {
        snprintf(out, ORIGIN_TEXT, "%s:%d", list->file, line);
    } else {
        snprintf(out, ORIGIN_TEXT, "%s", list->file ? list->file : "configuration");
    }
}

const struct assignment *assignments_last(const struct assignments *list, const char *key)
{
    for (int i = list->count - 1; i >= 0; i--) {
        if (strcmp(list->item[i].option->key, key) == 0) return &list->item[i];
    }
    return NULL;
}

static enum shoal_status check_key(const struct assignments *list, const char *key,
                                   const char *origin, int line)
{
    if (option_is_group(key)) {
        return SHOAL_FAIL(SHOAL_ECONFIG, "%s: '%s' is a group of options, not one itself", origin,
                          key);
    }
    SHOAL_CHECK(option_find(key), SHOAL_ECONFIG, "%s: unknown key '%s'; did you mean '%s'?", origin,
                key, option_nearest(key)->key);
    const struct assignment *earlier = line > 0 ? assignments_last(list, key) : NULL;
    SHOAL_CHECK(!earlier, SHOAL_ECONFIG, "%s: %s is set a second time; the first is in line %d",
                origin, key, earlier ? earlier->line : 0);
    return SHOAL_OK;
}

static enum shoal_status assignments_grow(struct assignments *list)
{
    if (list->count < list->capacity) return SHOAL_OK;
    const int capacity = 2 * list->capacity + 64;
    struct assignment *grown = realloc(list->item, (size_t)capacity * sizeof *grown);
    SHOAL_CHECK(grown, SHOAL_ENOMEM, "no memory for a configuration of %d values", capacity);
    list->item = grown;
    list->capacity = capacity;
    return SHOAL_OK;
}

enum shoal_status assignments_add(struct assignments *list, const char *key, const char *value,
                                  int line, const char *argument)
{
    char origin[ORIGIN_TEXT];
    origin_text(origin, list, line, argument);
    SHOAL_TRY(check_key(list, key, origin, line));
    SHOAL_TRY(assignments_grow(list));
    struct assignment *a = &list->item[list->count];
    *a = (struct assignment){.option = option_find(key), .line = line, .argument = argument};
    SHOAL_TRY(mem_alloc(strlen(value) + 1, key, &a->value));
    memcpy(a->value, value, strlen(value));
    list->count++;
    return SHOAL_OK;
}

void assignments_free(struct assignments *list)
{
    for (int i = 0; i < list->count; i++)
        mem_free(list->item[i].value);
    free(list->item);
    *list = (struct assignments){0};
}

/* "key=value" from the command line. */
static enum shoal_status add_override(struct assignments *list, const char *argument)
{
    const char *equals = strchr(argument, '=');
    char key[128];
    SHOAL_CHECK(equals && (size_t)(equals - argument) < sizeof key, SHOAL_ECONFIG,
                "--set %s: expected KEY=VALUE, like train.lr=0.001", argument);
    snprintf(key, sizeof key, "%.*s", (int)(equals - argument), argument);
    return assignments_add(list, key, equals + 1, 0, argument);
}

/* The recorded failure again, with where its cause stands in front. */
static enum shoal_status fail_at(enum shoal_status st, const struct assignments *list,
                                 const struct assignment *a)
{
    char origin[ORIGIN_TEXT];
    origin_text(origin, list, a ? a->line : 0, a ? a->argument : NULL);
    return SHOAL_FAIL(st, "%s: %s", origin, shoal_failure_text());
}

static enum shoal_status set_assigned(struct config *c, const struct assignments *list,
                                      const struct assignment *a)
{
    const enum shoal_status st = option_set(c, a->option, a->value);
    return st == SHOAL_OK ? st : fail_at(st, list, a);
}

static enum shoal_status expand_preset(struct config *c, const struct assignments *list,
                                       const char *key)
{
    const struct assignment *chosen = assignments_last(list, key);
    if (!chosen) return SHOAL_OK;
    SHOAL_TRY(set_assigned(c, list, chosen)); /* refuses a name that is not a preset */
    return preset_apply(c, key, chosen->value);
}

/* The last assignment of any of the options in keys (separated by blanks), or NULL. */
static const struct assignment *culprit(const struct assignments *list, const char *keys)
{
    const struct assignment *last = NULL;
    while (*keys) {
        char key[128];
        const size_t length = strcspn(keys, " ");
        snprintf(key, sizeof key, "%.*s", (int)length, keys);
        keys += length + strspn(keys + length, " ");
        const struct assignment *a = assignments_last(list, key);
        if (a && (!last || a > last)) last = a;
    }
    return last;
}

/* Replicas do not evolve: without a preset of its own choice, that mode takes the one without
 * rounds and recombinant. */
static enum shoal_status imply_preset(struct config *c, const struct assignments *list)
{
    const char *const key = "evolution.preset", *const none = "none";
    const struct assignment *mode = assignments_last(list, "population.mode");
    if (!mode || strcmp(mode->value, "data_parallel") != 0) return SHOAL_OK;
    if (assignments_last(list, key)) return SHOAL_OK;
    SHOAL_TRY(option_set(c, option_find(key), none));
    return preset_apply(c, key, none);
}

/* Values that follow from others where they are not given. */
static enum shoal_status derive(struct config *c, const struct assignments *list)
{
    if (c->run.out[0] == 0) SHOAL_TRY(path_format(c->run.out, "runs/%s", c->run.name));
    if (c->population.layers_per_expert > 0 && !assignments_last(list, "model.layers")) {
        c->model.layers = 0;
    }
    return SHOAL_OK;
}

static void set_fallbacks(struct config *c)
{
    memset(c, 0, sizeof *c); /* padding too, so that equal configurations are equal bytes */
    for (int i = 0; i < option_count; i++) {
        const enum shoal_status st = option_set(c, &option_table[i], option_table[i].fallback);
        SHOAL_ASSERT(st == SHOAL_OK);
        (void)st;
    }
}

static enum shoal_status build(struct config *c, const struct assignments *list)
{
    set_fallbacks(c);
    SHOAL_TRY(expand_preset(c, list, "model.preset"));
    SHOAL_TRY(imply_preset(c, list));
    SHOAL_TRY(expand_preset(c, list, "evolution.preset"));
    for (int i = 0; i < list->count; i++)
        SHOAL_TRY(set_assigned(c, list, &list->item[i]));
    SHOAL_TRY(derive(c, list));
    const char *keys = "";
    const enum shoal_status st = config_combine(c, 0, &keys);
    return st == SHOAL_OK ? st : fail_at(st, list, culprit(list, keys));
}

void config_defaults(struct config *c)
{
    const struct assignments none = {0};
    const enum shoal_status st = build(c, &none);
    SHOAL_ASSERT(st == SHOAL_OK);
    (void)st;
}

static enum shoal_status load(struct config *c, const char *name, const char *text, size_t bytes,
                              const char *const *overrides, int n_overrides)
{
    struct assignments list = {.file = name};
    enum shoal_status st = SHOAL_OK;
    if (text) SHOAL_GOTO(yaml_read(&list, text, bytes));
    for (int i = 0; i < n_overrides; i++)
        SHOAL_GOTO(add_override(&list, overrides[i]));
    SHOAL_GOTO(build(c, &list));
done:
    assignments_free(&list);
    return st;
}

enum shoal_status config_load(struct config *c, const char *path, const char *const *overrides,
                              int n_overrides)
{
    char *text = NULL;
    size_t bytes = 0;
    if (path) SHOAL_TRY(file_read(path, &text, &bytes));
    const enum shoal_status st = load(c, path, text, bytes, overrides, n_overrides);
    mem_free(text);
    return st;
}

enum shoal_status config_parse(struct config *c, const char *text, const char *name)
{
    return load(c, name, text, strlen(text), NULL, 0);
}
