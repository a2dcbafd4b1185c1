/* launch.h - what must be so before ranks train together, and who runs where.
 *
 * In each check a rank compares itself with rank 0, and rank 0 hears from all: it alone fails, and
 * names the ranks and their machines. All are collective over the world, and nothing in a world of
 * one. */
#pragma once
#include "comm/comm.h"
#include "config/config.h"

struct worker;

/* SHOAL_ECONFIG: some rank was started from another file than rank 0. Before anything else: what
 * ranks send each other depends on their build. */
enum shoal_status launch_same_program(struct comm *comm);
/* SHOAL_ECONFIG: some rank's configuration differs where ranks must agree. */
enum shoal_status launch_same_config(struct comm *comm, const struct config *cfg);
/* SHOAL_ECONFIG: some rank's `out`, the run directory, is not rank 0's. Nothing stays on disk, and
 * no directory is made. SHOAL_EIO: nothing can be written there. */
enum shoal_status launch_shared_run(struct comm *comm, const char *out);
/* Say who runs where and what is odd about it, to stderr. w: NULL on a coordinator of others; its
 * device is attached. */
enum shoal_status launch_tell(struct comm *comm, const struct worker *w);
