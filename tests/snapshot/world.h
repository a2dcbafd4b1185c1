/* world.h - small experts full of awkward numbers, and runs on disk made of them. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "snapshot/index.h"
#include "snapshot/shard.h"
#include "support.h"

#define RUN_ID "01234567-89ab-cdef-0123-456789abcdef"

struct world {
    struct scratch scratch;
    char path[SHOAL_MAX_PATH]; /* room for one path in it */
    struct device *dev;
    struct config config;
    char *text; /* the configuration as YAML */
    struct param_table *table;
};

/* cmocka fixtures: *state is a struct world. */
int world_open(void **state);
int world_close(void **state);
/* A path in the scratch directory, kept in w->path. */
const char *world_path(struct world *w, const char *name);

/* An expert whose every number is drawn from all bit patterns of a float: NaN with payloads, -0,
 * infinities and denormals among them. Different for different seeds. */
struct expert *expert_make(const struct world *w, int number, bool with_extras, uint64_t seed);
/* Whether every slab and counter is the same, bit for bit. */
bool same_expert(const struct expert *a, const struct expert *b);
/* What a shard of e says about itself. */
struct shard_info info_of(const struct world *w, const struct expert *e);
/* What write_expert puts behind an expert: three judgings, the middle one all NaN, and a window of
 * five steps. Borrowed. */
const struct shard_past *some_past(void);
/* Whether the window and its counters are those of some_past, bit for bit. */
bool same_outlier(const struct outlier *o);
/* Write e with some_past. */
enum shoal_status write_expert(const struct world *w, const char *path, const struct expert *e);

/* Shards of all experts at `step`, without an index. */
void run_write_shards(const struct world *w, const char *run, int64_t step);
/* The index of `step`: three judgings, of which the last has `best` as its best member. */
void run_write_index(const struct world *w, const char *run, int64_t step, int best);
/* Both. */
void run_write(const struct world *w, const char *run, int64_t step, int best);

void file_copy(const char *to, const char *from);
