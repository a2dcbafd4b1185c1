/* joined.c - see joined.h. */
#include "coordinator/joined.h"
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/memory.h"

enum shoal_status joined_remember(struct joined *j, const struct snapshot_index *resume)
{
    const size_t bytes = (size_t)resume->n_joined * sizeof *j->rows;
    SHOAL_TRY(mem_alloc(bytes, "who joined", &j->rows));
    if (resume->n_joined) memcpy(j->rows, resume->joined, bytes);
    j->n = resume->n_joined;
    j->stored = resume->stored;
    return SHOAL_OK;
}

enum shoal_status joined_tell(const struct joined *j, struct metrics *m, double time_s)
{
    for (int64_t i = 0; i < j->n; i++) {
        const struct joined_row *row = &j->rows[i];
        char how[32] = "anew";
        if (row->expert < j->stored) continue;
        if (row->parent >= 0)
            (void)snprintf(how, sizeof how, "as a copy of expert %d", row->parent);
        log_info("expert %d joins at step %lld, %s", row->expert, (long long)row->step, how);
        SHOAL_TRY(metrics_write_joined(m, time_s, row->step, row->expert, row->parent));
    }
    return SHOAL_OK;
}

void joined_free(struct joined *j)
{
    mem_free(j->rows);
    *j = (struct joined){.rows = NULL};
}
