/* resume.c - whether two configurations describe the same run: on all ranks, and after a restart.
 */
#include <string.h>
#include "config/options.h"

/* FNV-1a over a text and its final 0. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    do {
        hash = (hash ^ (unsigned char)*text) * 0x100000001B3u;
    } while (*text++);
    return hash;
}

/* FNV leaves the low bits weak; this is the finaliser of MurmurHash3. */
static uint64_t hash_finish(uint64_t hash)
{
    hash = (hash ^ hash >> 33) * 0xFF51AFD7ED558CCDu;
    hash = (hash ^ hash >> 33) * 0xC4CEB9FE1A85EC53u;
    return hash ^ hash >> 33;
}

enum shoal_status config_digest(const struct config *c, uint64_t *out)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (int i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (o->flags & OPTION_LOCAL) continue;
        char text[OPTION_TEXT];
        option_text(text, c, o);
        hash = hash_text(hash_text(hash, o->key), text);
    }
    *out = hash_finish(hash);
    return SHOAL_OK;
}

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
