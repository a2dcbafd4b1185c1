/* live.c - see live.h. */
#include "evo/live.h"
#include <string.h>

void live_none(struct live_set *s, int experts)
{
    memset(s->word, 0, live_words(experts) * sizeof s->word[0]);
}

void live_all(struct live_set *s, int experts)
{
    live_none(s, experts);
    for (int k = 0; k < experts; k++)
        live_put(s, k, true);
}

int live_count(const struct live_set *s, int experts)
{
    int n = 0;
    for (int k = 0; k < experts; k++)
        n += live_has(s, k);
    return n;
}

int live_next(const struct live_set *s, int from, int experts)
{
    for (int i = 0; i < experts; i++) {
        const int k = (from + i) % experts;
        if (live_has(s, k)) return k;
    }
    return -1;
}
