/* history.h - the judgings of a run, oldest first, each with its own copy of the fitnesses. */
#pragma once
#include <stdint.h>
#include "base/status.h"
#include "evo/ledger.h"

struct history {
    struct judging *rows; /* owned */
    int64_t n, capacity;
    int members;
};

/* Append a copy of one judging of `members` fitnesses. SHOAL_ENOMEM leaves the history as it was.
 * Fitness arrays never move; rows may. */
enum shoal_status history_add(struct history *h, const struct judging *judging);
void history_clear(struct history *h);
