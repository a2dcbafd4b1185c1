/* inspect.h - the two things `shoal inspect` looks at. Private to this folder. */
#pragma once
#include "base/status.h"

/* A population at one step. run: its directory, to list its snapshots too; NULL: only this one. */
enum shoal_status inspect_snapshot(const char *index_path, const char *run, bool json);
/* One expert. */
enum shoal_status inspect_shard(const char *path, bool json);
