/* verify_impl.h - what the files of verify share. Private to this folder. */
#pragma once
#include "snapshot/index.h"
#include "snapshot/verify.h"

/* Add a finding: what the last failure said about `path`, then what to do. SHOAL_ENOMEM. */
enum shoal_status verify_note(struct verified *v, const char *path, const char *remedy);

/* What a shard should be; NULL: unknown. */
struct verify_expected {
    const struct snapshot_index *index;
    const char *index_path;
    int expert;
};
/* One shard or best.h5. */
enum shoal_status verify_shard(struct verified *v, const char *path,
                               const struct verify_expected *expected);
/* One index, its ledger and its shards. */
enum shoal_status verify_index(struct verified *v, const char *path);
/* A seal, of any file. *sound: whether it may be decoded. */
enum shoal_status verify_seal(struct verified *v, const char *path, const char *remedy, bool *sound,
                              uint64_t *digest);
/* Whether the decisions in a ledger follow from its fitnesses. SHOAL_EFORMAT. */
enum shoal_status ledger_check(const char *path, const struct snapshot_index *index);
