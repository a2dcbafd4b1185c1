/* options.h - the option table: every key there is, and the text form of its values. */
#pragma once
#include "config/config.h"

enum option_type {
    OPTION_INT,
    OPTION_INT64,
    OPTION_DOUBLE,
    OPTION_FLOAT,
    OPTION_BOOL,
    OPTION_STRING
};

enum {
    OPTION_RESUMABLE = 1, /* may change when a run is resumed */
    OPTION_LOCAL = 2      /* may differ between the ranks of a run */
};

struct option {
    const char *key; /* "train.lr": also the member of struct config */
    enum option_type type;
    size_t offset, size;      /* of the member; size counts the final 0 of strings */
    double min, max;          /* numbers only */
    bool below_max;           /* max itself is not allowed */
    const char *const *names; /* what it may be, NULL-terminated, or NULL: any. An int is the index
                                 of its name; an empty name holds the place of a value that this
                                 option cannot have */
    const char *zero;     /* whole numbers: what 0, below min, is called; NULL: it is not allowed */
    const char *fallback; /* default, as text */
    const char *help;     /* one line */
    int flags;
};

extern const struct option option_table[];
extern const int option_count;

/* NULL when there is no such key. */
const struct option *option_find(const char *key);
/* The key most like one that does not exist. */
const struct option *option_nearest(const char *key);
/* Whether key is the first part of options' keys, like "train" or "evolution.body". */
bool option_is_group(const char *key);

/* Set from text. SHOAL_ECONFIG "train.batch must be ..., found '...'"; c is then as it was. */
enum shoal_status option_set(struct config *c, const struct option *o, const char *text);

enum { OPTION_TEXT = SHOAL_MAX_PATH, OPTION_EXPECTED = 256 };

/* The text that option_set turns into the present value; a number without a name, which option_set
 * refuses, where the member holds what it cannot. out holds OPTION_TEXT bytes. */
void option_text(char *out, const struct config *c, const struct option *o);
/* "a whole number from 1 to 64". out holds OPTION_EXPECTED bytes. */
void option_expected(char *out, const struct option *o);
