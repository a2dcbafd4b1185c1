/* live.h - a set of experts, one bit each: whose last fitness was finite.
 *
 * Plain data that travels as it is: bits of experts that do not exist are 0, and the words of the
 * first K experts come first, so that a record may end after them. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "config/config.h"

enum { LIVE_WORD = 64 /* experts in a word */ };

struct live_set {
    uint64_t word[(SHOAL_MAX_EXPERTS + LIVE_WORD - 1) / LIVE_WORD];
};

/* Words that hold `experts` experts. */
static inline size_t live_words(int experts)
{
    return ((size_t)experts + LIVE_WORD - 1) / LIVE_WORD;
}

static inline bool live_has(const struct live_set *s, int expert)
{
    return (s->word[expert / LIVE_WORD] >> expert % LIVE_WORD & 1) != 0;
}

static inline void live_put(struct live_set *s, int expert, bool lives)
{
    const uint64_t bit = (uint64_t)1 << expert % LIVE_WORD;
    uint64_t *word = &s->word[expert / LIVE_WORD];
    *word = lives ? *word | bit : *word & ~bit;
}

/* None of `experts` lives, or all; bits of further experts stay as they are. */
void live_none(struct live_set *s, int experts);
void live_all(struct live_set *s, int experts);
int live_count(const struct live_set *s, int experts);
/* The first live expert at or after `from`, going round; -1 when none lives. */
int live_next(const struct live_set *s, int from, int experts);
