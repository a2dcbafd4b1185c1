/* coordinator.h - rank 0: hear reports, decide, order, keep the ledger, show progress. Holds no
 * weights and needs no device. */
#pragma once
#include "comm/comm.h"
#include "config/config.h"
#include "snapshot/index.h"

struct coordinator;

/* resume NULL: a new run. run_id: 36 characters. Opens metrics.jsonl (appending on resume). Rank 0
 * only. */
enum shoal_status coordinator_create(const struct config *cfg, struct comm *comm,
                                     const char *run_id, const struct snapshot_index *resume,
                                     int64_t params_per_expert, struct coordinator **out);
void coordinator_destroy(struct coordinator **c);
/* Give the first order. In a world of one the worker then runs in this process and reports through
 * comm_set_local; otherwise call coordinator_run. */
enum shoal_status coordinator_start(struct coordinator *c);
/* Hear and act until the run is finished. Rank 0 of several only. */
enum shoal_status coordinator_run(struct coordinator *c);
