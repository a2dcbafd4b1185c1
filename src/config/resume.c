/* resume.c - whether two configurations describe the same run: on all ranks, and after a restart.
 */
#include <stdio.h>
#include <string.h>
#include "config/options.h"

/* Where two configurations differ. */
struct difference {
    const struct option *first;                 /* NULL: nowhere */
    int more;                                   /* options besides */
    char here[OPTION_TEXT], there[OPTION_TEXT]; /* of the first */
};

/* Among the options without the flag `except`. */
static void compare(struct difference *d, const struct config *here, const struct config *there,
                    int except)
{
    d->first = NULL;
    d->more = 0;
    for (int i = 0; i < option_count; i++) {
        const struct option *const o = &option_table[i];
        char is[OPTION_TEXT], was[OPTION_TEXT];
        if (o->flags & except) continue;
        option_text(is, here, o);
        option_text(was, there, o);
        if (strcmp(is, was) == 0) continue;
        d->more += d->first != NULL;
        if (d->first) continue;
        d->first = o;
        memcpy(d->here, is, sizeof is);
        memcpy(d->there, was, sizeof was);
    }
}

/* " (and 3 more options differ)" */
static void more_text(char out[64], const struct difference *d)
{
    out[0] = 0;
    if (d->more == 1) (void)snprintf(out, 64, " (and one more option differs)");
    if (d->more > 1) (void)snprintf(out, 64, " (and %d more options differ)", d->more);
}

bool config_same(const struct config *here, const struct config *there, char *out, size_t room)
{
    struct difference d;
    char more[64];
    compare(&d, here, there, OPTION_LOCAL);
    if (!d.first) return true;
    more_text(more, &d);
    (void)snprintf(out, room, "%s is '%.60s', on rank 0 '%.60s'%s", d.first->key, d.here, d.there,
                   more);
    return false;
}

enum shoal_status config_check_resume(const struct config *now, const struct config *then)
{
    struct difference d;
    char more[64];
    compare(&d, now, then, OPTION_RESUMABLE);
    if (!d.first) return SHOAL_OK;
    more_text(more, &d);
    return SHOAL_FAIL(SHOAL_ECONFIG,
                      "cannot resume: %s is '%s' now but was '%s' when the run started%s; set it "
                      "back, or start a new run in another run.out",
                      d.first->key, d.here, d.there, more);
}
