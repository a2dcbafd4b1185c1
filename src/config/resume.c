/* resume.c - whether two configurations describe the same run: on all ranks, and after a restart.
 */
#include <stdio.h>
#include <string.h>
#include "config/options.h"

static bool differs(const struct option *o, const struct config *now, const struct config *then)
{
    if (o->flags & OPTION_RESUMABLE) return false;
    char is[OPTION_TEXT], was[OPTION_TEXT];
    option_text(is, now, o);
    option_text(was, then, o);
    return strcmp(is, was) != 0;
}

enum shoal_status config_check_resume(const struct config *now, const struct config *then)
{
    const struct option *first = NULL;
    int others = 0;
    for (int i = 0; i < option_count; i++) {
        if (!differs(&option_table[i], now, then)) continue;
        others += first != NULL;
        if (!first) first = &option_table[i];
    }
    if (!first) return SHOAL_OK;
    char is[OPTION_TEXT], was[OPTION_TEXT], more[64] = "";
    option_text(is, now, first);
    option_text(was, then, first);
    if (others > 0) snprintf(more, sizeof more, " (and %d more options differ)", others);
    return SHOAL_FAIL(SHOAL_ECONFIG,
                      "cannot resume: %s is '%s' now but was '%s' when the run started%s; set it "
                      "back, or start a new run in another run.out",
                      first->key, is, was, more);
}

bool config_same(const struct config *here, const struct config *there, char *out, size_t room)
{
    char is[OPTION_TEXT], other[OPTION_TEXT], more[64] = "";
    const struct option *first = NULL;
    int others = 0;
    for (int i = 0; i < option_count; i++) {
        option_text(is, here, &option_table[i]);
        option_text(other, there, &option_table[i]);
        if (option_table[i].flags & OPTION_LOCAL || strcmp(is, other) == 0) continue;
        others += first != NULL;
        if (!first) first = &option_table[i];
    }
    if (!first) return true;
    option_text(is, here, first);
    option_text(other, there, first);
    if (others > 0) snprintf(more, sizeof more, " (and %d more options differ)", others);
    (void)snprintf(out, room, "%s is '%.60s', on rank 0 '%.60s'%s", first->key, is, other, more);
    return false;
}
