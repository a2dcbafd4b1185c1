/* assignments.h - "key = value" as the user gave them, with where they stand. */
#pragma once
#include "config/options.h"

struct assignment {
    const struct option *option;
    char *value; /* owned */
    int line;    /* in the file; 0: on the command line */
    const char
        *argument; /* "train.lr=3" as given on the command line, borrowed; NULL: in the file */
};

struct assignments {
    const char *file;        /* borrowed; NULL: none */
    struct assignment *item; /* owned */
    int count, capacity;
};

/* Look up the key, copy the value and append. SHOAL_ECONFIG: no such key. */
enum shoal_status assignments_add(struct assignments *list, const char *key, const char *value,
                                  int line, const char *argument);
void assignments_free(struct assignments *list);
/* The last one of an option, or NULL. */
const struct assignment *assignments_last(const struct assignments *list, const char *key);

enum { ORIGIN_TEXT = SHOAL_MAX_PATH + 64 };

/* "x.yaml:12" or "--set train.lr=3". out holds ORIGIN_TEXT bytes. */
void origin_text(char *out, const struct assignments *list, int line, const char *argument);

/* yaml.c: append every scalar of a YAML document of nested mappings. SHOAL_ECONFIG names the line.
 */
enum shoal_status yaml_read(struct assignments *list, const char *text, size_t bytes);

/* presets.c: apply the values that model.preset and evolution.preset of these names stand for. */
enum shoal_status preset_apply(struct config *c, const char *key, const char *name);

/* validate.c: as config_validate, but for missing data. On failure *keys names the options that
 * disagree, separated by blanks. */
enum shoal_status config_combine(const struct config *c, int n_workers, const char **keys);
