/* verify.h - is what is on disk still what was written, and does it belong together?
 *
 * Every file is read twice: all its bytes against its seal, then every dataset against the
 * library's checksums and its own configuration. A file whose seal is broken is not decoded. What
 * is wrong goes into a list; nothing is changed on disk. Works while the run is training: what is
 * pruned meanwhile is left out. */
#pragma once
#include <stdint.h>
#include "base/files.h"

struct finding {
    char path[SHOAL_MAX_PATH];
    char what[512]; /* and what to do */
};

struct verified {
    struct finding *findings; /* owned */
    int n_findings, room;
    int64_t files, bytes; /* looked at */
    int snapshots, good;  /* of a run: indices, and those without a finding */
    int64_t newest;       /* step of the newest good one; -1: none */
};

/* path: a run directory, an index or a shard. SHOAL_EIO: no such path; SHOAL_EFORMAT: not a file of
 * ours. verified_free afterwards, on failure too. */
enum shoal_status verify(const char *path, struct verified *out);
void verified_free(struct verified *v);
