/* joined.h - experts that joined a run when it was resumed: kept for the indices to come, and told.
 */
#pragma once

#include "coordinator/metrics.h"
#include "snapshot/index.h"

struct joined {
    struct joined_row *rows; /* owned */
    int64_t n;
    int stored; /* experts below it were there before this session */
};

/* Of the snapshot that a run goes on from. SHOAL_ENOMEM. joined_free afterwards. */
enum shoal_status joined_remember(struct joined *j, const struct snapshot_index *resume);
/* Those that begin with this session: a line and an event for each. SHOAL_EIO. */
enum shoal_status joined_tell(const struct joined *j, struct metrics *m, double time_s);
void joined_free(struct joined *j);
