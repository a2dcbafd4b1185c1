/* made.h - the smallest files that shoal writes, for the targets that change them. */
#pragma once
#include "config/config.h"
#include "fuzz/fuzz.h"
#include "snapshot/shard.h"

enum { MADE_EXPERTS = 2, MADE_STEP = 10 };
/* Every weight of FUZZ_SECRET_H5, and of the file of bytes. */
#define FUZZ_SECRET 7.53e33f

/* What they are made of; once. */
const struct config *made_config(void);
const struct param_table *made_table(void);
/* A whole shard of expert 0, all of whose numbers are `value`. */
void made_shard(const char *path, float value);
/* A run of MADE_EXPERTS experts with one snapshot, weights only. */
void made_run(const char *dir);
/* The file at from, at `to` too. */
void made_copy(const char *to, const char *from);
/* Whether some weight is FUZZ_SECRET. */
bool made_secret(const float *slab);
