/* index.c - writing and reading the index of a snapshot. */
#include "snapshot/index.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/memory.h"
#include "evo/plan.h"
#include "snapshot/header.h"

/* A row of /ledger/judgings. The fitnesses are a matrix of their own. */
struct judging_row {
    int64_t step;
    double time_s;
    int32_t best;
    double best_fitness, spread;
};

static const struct h5_column judging_column[] = {
    {"step", KIND_I64, offsetof(struct judging_row, step)},
    {"time_s", KIND_F64, offsetof(struct judging_row, time_s)},
    {"best", KIND_I32, offsetof(struct judging_row, best)},
    {"best_fitness", KIND_F64, offsetof(struct judging_row, best_fitness)},
    {"spread", KIND_F64, offsetof(struct judging_row, spread)},
};
static const struct h5_columns judging_columns = {
    judging_column, sizeof judging_column / sizeof judging_column[0], sizeof(struct judging_row)};

static const struct h5_column shard_column[] = {
    {"expert", KIND_I32, offsetof(struct shard_mark, expert)},
    {"bytes", KIND_I64, offsetof(struct shard_mark, bytes)},
    {"xxh64", KIND_U64, offsetof(struct shard_mark, digest)},
};
static const struct h5_columns shard_columns = {
    shard_column, sizeof shard_column / sizeof shard_column[0], sizeof(struct shard_mark)};

static const struct h5_column joined_column[] = {
    {"step", KIND_I64, offsetof(struct joined_row, step)},
    {"expert", KIND_I32, offsetof(struct joined_row, expert)},
    {"parent", KIND_I32, offsetof(struct joined_row, parent)},
};
static const struct h5_columns joined_columns = {
    joined_column, sizeof joined_column / sizeof joined_column[0], sizeof(struct joined_row)};

static struct h5_shape fitness_shape(const struct snapshot_index *index)
{
    return (struct h5_shape){
        2, {(hsize_t)index->n_judgings, (hsize_t)index->members}, {"judging", "member"}};
}

static struct h5_shape live_shape(const struct snapshot_index *index)
{
    return (struct h5_shape){1, {(hsize_t)index->experts, 0}, {"expert", ""}};
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum shoal_status write_attributes(const struct h5 *h, const struct snapshot_index *index)
{
    const struct standing *s = &index->standing;
    SHOAL_TRY(header_write(h, INDEX_FORMAT, index->run_id, s->step, index->config));
    SHOAL_TRY(h5_set_int(h, "/", "experts", index->experts));
    SHOAL_TRY(h5_set_int(h, "/", "members", index->members));
    SHOAL_TRY(h5_set_int(h, "/", "workers", index->workers));
    SHOAL_TRY(h5_set_double(h, "/", "time_s", index->time_s));
    SHOAL_TRY(h5_set_int(h, "/", "best", s->best));
    SHOAL_TRY(h5_set_double(h, "/", "best_fitness", s->best_fitness));
    SHOAL_TRY(h5_set_int(h, "/", "round_done", s->round_done));
    SHOAL_TRY(h5_set_int(h, "/", "judged_step", s->judged_step));
    SHOAL_TRY(h5_set_int(h, "/", "every", s->every));
    SHOAL_TRY(h5_set_int(h, "/", "champion", s->champion));
    SHOAL_TRY(h5_set_int(h, "/", "champion_step", s->champion_step));
    return h5_set_double(h, "/", "champion_fitness", s->champion_fitness);
}

static enum shoal_status write_judgings(const struct h5 *h, const struct snapshot_index *index)
{
    const size_t n = (size_t)index->n_judgings, members = (size_t)index->members;
    const struct h5_shape shape = fitness_shape(index);
    struct judging_row *rows = NULL;
    double *fitness = NULL;
    enum shoal_status st;
    SHOAL_GOTO(mem_alloc(n * sizeof *rows, "/ledger/judgings", &rows));
    SHOAL_GOTO(mem_alloc(n * members * sizeof *fitness, "/ledger/fitness", &fitness));
    for (size_t i = 0; i < n; i++) {
        const struct judging *j = &index->judgings[i];
        const bool has_best = j->best >= 0 && j->best < index->members;
        rows[i] =
            (struct judging_row){j->step, j->time_s, j->best, has_best ? j->fitness[j->best] : NAN,
                                 plan_spread(j->fitness, index->experts)};
        memcpy(fitness + i * members, j->fitness, members * sizeof *fitness);
    }
    SHOAL_GOTO(h5_write_table(h, "/ledger/judgings", &judging_columns, rows, index->n_judgings));
    SHOAL_GOTO(h5_write(h, "/ledger/fitness", KIND_F64, &shape, fitness));
done:
    mem_free(rows);
    mem_free(fitness);
    return st;
}

static enum shoal_status write_live(const struct h5 *h, const struct snapshot_index *index)
{
    const size_t bytes = (size_t)index->experts * sizeof(int32_t);
    const struct h5_shape shape = live_shape(index);
    int32_t *live = NULL;
    SHOAL_TRY(mem_alloc(bytes, "/ledger/live", &live));
    for (int k = 0; k < index->experts; k++)
        live[k] = live_has(&index->standing.live, k);
    const enum shoal_status st = h5_write(h, "/ledger/live", KIND_I32, &shape, live);
    mem_free(live);
    return st;
}

static enum shoal_status write_links(const struct h5 *h, const struct snapshot_index *index)
{
    char name[32], target[SHOAL_MAX_PATH];
    for (int k = 0; k < index->experts; k++) {
        snprintf(name, sizeof name, "/experts/%04d", k);
        const int64_t step = index_shard_step(index, k);
        if (step < 0) continue;
        SHOAL_TRY(run_shard_path(target, "..", k, step));
        SHOAL_TRY(h5_link_file(h, name, target));
    }
    return SHOAL_OK;
}

/* Only where somebody was lost. */
static enum shoal_status write_ages(const struct h5 *h, const struct snapshot_index *index)
{
    const struct h5_shape shape = live_shape(index);
    int64_t *age = NULL, any = 0;
    if (!index->shards) return SHOAL_OK;
    SHOAL_TRY(mem_alloc((size_t)index->experts * sizeof *age, "/ledger/age", &age));
    for (int k = 0; k < index->experts; k++) {
        age[k] = index->shards[k].age;
        any |= age[k];
    }
    const enum shoal_status st = any ? h5_write(h, "/ledger/age", KIND_I64, &shape, age) : SHOAL_OK;
    mem_free(age);
    return st;
}

static enum shoal_status write_latest(const char *run, int64_t step)
{
    char link[SHOAL_MAX_PATH], target[64];
    SHOAL_TRY(path_format(link, "%s/latest", run));
    snprintf(target, sizeof target, "snapshots/step-%08" PRId64 ".h5", step);
    return link_replace(link, target);
}

enum shoal_status index_write(const char *run, const struct snapshot_index *index, int64_t *bytes)
{
    char path[SHOAL_MAX_PATH];
    struct h5 h = H5_CLOSED;
    enum shoal_status st;
    SHOAL_CHECK(index->experts >= 1 && index->experts <= SHOAL_MAX_EXPERTS, SHOAL_EARG,
                "a snapshot of %d experts", index->experts);
    SHOAL_TRY(run_index_path(path, run, index->standing.step));
    SHOAL_GOTO(h5_create(&h, path));
    SHOAL_GOTO(h5_reserve(&h, index_file_bytes(index->experts, index->members, index->n_judgings)));
    SHOAL_GOTO(write_attributes(&h, index));
    SHOAL_GOTO(write_judgings(&h, index));
    SHOAL_GOTO(write_live(&h, index));
    SHOAL_GOTO(write_links(&h, index));
    if (index->shards)
        SHOAL_GOTO(
            h5_write_table(&h, "/ledger/shards", &shard_columns, index->shards, index->experts));
    SHOAL_GOTO(write_ages(&h, index));
    if (index->n_joined > 0)
        SHOAL_GOTO(
            h5_write_table(&h, "/ledger/joined", &joined_columns, index->joined, index->n_joined));
    SHOAL_GOTO(h5_commit(&h, bytes));
    SHOAL_GOTO(write_latest(run, index->standing.step));
done:
    h5_close(&h);
    return st;
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum shoal_status read_attributes(const struct h5 *h, struct snapshot_index *index)
{
    struct standing *s = &index->standing;
    int round_done = 0;
    SHOAL_TRY(header_read(h, INDEX_FORMAT, index->run_id, &s->step, &index->config));
    SHOAL_TRY(h5_get_int32(h, "/", "experts", 1, SHOAL_MAX_EXPERTS, &index->experts));
    const int k = index->experts;
    SHOAL_TRY(h5_get_int32(h, "/", "members", k, k + 1, &index->members));
    SHOAL_TRY(h5_get_int32(h, "/", "workers", 1, INT32_MAX, &index->workers));
    SHOAL_TRY(h5_get_double(h, "/", "time_s", &index->time_s));
    SHOAL_TRY(h5_get_int32(h, "/", "best", -1, index->members - 1, &s->best));
    SHOAL_TRY(h5_get_double(h, "/", "best_fitness", &s->best_fitness));
    SHOAL_TRY(h5_get_int32(h, "/", "round_done", 0, 1, &round_done));
    SHOAL_TRY(h5_get_int32(h, "/", "champion", -1, index->members - 1, &s->champion));
    SHOAL_TRY(h5_get_int(h, "/", "champion_step", &s->champion_step));
    SHOAL_TRY(h5_get_double(h, "/", "champion_fitness", &s->champion_fitness));
    s->round_done = round_done;
    /* Files of versions that stopped at judgings only have none. */
    s->judged_step = s->step;
    if (h5_has_attribute(h, "/", "judged_step"))
        SHOAL_TRY(h5_get_int(h, "/", "judged_step", &s->judged_step));
    /* Written since evolution.every can be auto; before, the configuration said it. */
    if (h5_has_attribute(h, "/", "every")) SHOAL_TRY(h5_get_int(h, "/", "every", &s->every));
    SHOAL_CHECK(s->every >= 0, SHOAL_EFORMAT, "%s: a round every %lld steps", h->path,
                (long long)s->every);
    return SHOAL_OK;
}

/* Fitnesses are one block, owned through the first judging. */
static enum shoal_status read_fitness(const struct h5 *h, struct snapshot_index *index,
                                      const struct judging_row *rows)
{
    const struct h5_shape shape = fitness_shape(index);
    const size_t n = (size_t)index->n_judgings, members = (size_t)index->members;
    double *fitness = NULL;
    SHOAL_TRY(mem_alloc(n * sizeof *index->judgings, "/ledger/judgings", &index->judgings));
    SHOAL_TRY(mem_alloc(n * members * sizeof *fitness, "/ledger/fitness", &fitness));
    const enum shoal_status st = h5_read(h, "/ledger/fitness", KIND_F64, &shape, fitness);
    for (size_t i = 0; i < n; i++)
        index->judgings[i] =
            (struct judging){rows[i].step, rows[i].time_s, rows[i].best, fitness + i * members};
    if (n == 0) mem_free(fitness);
    return st;
}

static enum shoal_status read_judgings(const struct h5 *h, struct snapshot_index *index)
{
    struct judging_row *rows = NULL;
    SHOAL_TRY(h5_read_table(h, "/ledger/judgings", &judging_columns, &rows, &index->n_judgings));
    enum shoal_status st = read_fitness(h, index, rows);
    for (int64_t i = 0; st == SHOAL_OK && i < index->n_judgings; i++) {
        if (rows[i].best < -1 || rows[i].best >= index->members)
            st = SHOAL_FAIL(SHOAL_EFORMAT, "%s: /ledger/judgings row %" PRId64 ": no member %d",
                            h->path, i, rows[i].best);
    }
    mem_free(rows);
    return st;
}

static enum shoal_status read_live(const struct h5 *h, struct snapshot_index *index)
{
    const size_t bytes = (size_t)index->experts * sizeof(int32_t);
    const struct h5_shape shape = live_shape(index);
    int32_t *live = NULL;
    SHOAL_TRY(mem_alloc(bytes, "/ledger/live", &live));
    const enum shoal_status st = h5_read(h, "/ledger/live", KIND_I32, &shape, live);
    for (int k = 0; st == SHOAL_OK && k < index->experts; k++)
        live_put(&index->standing.live, k, live[k] != 0);
    mem_free(live);
    return st;
}

/* Versions before seals did not record their shards. */
static enum shoal_status read_shards(const struct h5 *h, struct snapshot_index *index)
{
    int64_t n = 0;
    if (!h5_exists(h, "/ledger/shards")) return SHOAL_OK;
    SHOAL_TRY(h5_read_table(h, "/ledger/shards", &shard_columns, &index->shards, &n));
    SHOAL_CHECK(n == index->experts, SHOAL_EFORMAT,
                "%s: /ledger/shards has %" PRId64 " rows for %d experts", h->path, n,
                index->experts);
    for (int k = 0; k < index->experts; k++)
        SHOAL_CHECK(index->shards[k].expert == k, SHOAL_EFORMAT,
                    "%s: /ledger/shards row %d is of expert %d", h->path, k,
                    index->shards[k].expert);
    return SHOAL_OK;
}

static enum shoal_status read_ages(const struct h5 *h, struct snapshot_index *index)
{
    const struct h5_shape shape = live_shape(index);
    enum shoal_status st = SHOAL_OK;
    int64_t *age = NULL;
    if (!index->shards || !h5_exists(h, "/ledger/age")) return SHOAL_OK;
    SHOAL_TRY(mem_alloc((size_t)index->experts * sizeof *age, "/ledger/age", &age));
    SHOAL_GOTO(h5_read(h, "/ledger/age", KIND_I64, &shape, age));
    for (int k = 0; k < index->experts; k++) {
        if (age[k] < -1 || age[k] > index->standing.step)
            SHOAL_GOTO(SHOAL_FAIL(SHOAL_EFORMAT, "%s: /ledger/age of expert %d is %" PRId64,
                                  h->path, k, age[k]));
        index->shards[k].age = age[k];
        live_put(&index->standing.lost, k, age[k] != 0);
    }
done:
    mem_free(age);
    return st;
}

/* Runs that nobody joined have none. */
static enum shoal_status read_joined(const struct h5 *h, struct snapshot_index *index)
{
    int64_t *const n = &index->n_joined;
    if (!h5_exists(h, "/ledger/joined")) return SHOAL_OK;
    SHOAL_TRY(h5_read_table(h, "/ledger/joined", &joined_columns, &index->joined, n));
    for (int64_t i = 0; i < *n; i++) {
        const struct joined_row *r = &index->joined[i];
        SHOAL_CHECK(r->expert == index->experts - *n + i && r->expert > 0 && r->parent >= -1 &&
                        r->parent < r->expert,
                    SHOAL_EFORMAT,
                    "%s: /ledger/joined row %" PRId64 " makes expert %d of expert %d", h->path, i,
                    r->expert, r->parent);
    }
    return SHOAL_OK;
}

enum shoal_status index_read(const char *path, struct snapshot_index *out)
{
    *out = (struct snapshot_index){.experts = 0};
    struct h5 h = H5_CLOSED;
    enum shoal_status st;
    SHOAL_GOTO(h5_open(&h, path));
    SHOAL_GOTO(read_attributes(&h, out));
    SHOAL_GOTO(read_judgings(&h, out));
    SHOAL_GOTO(read_live(&h, out));
    SHOAL_GOTO(read_shards(&h, out));
    SHOAL_GOTO(read_ages(&h, out));
    SHOAL_GOTO(read_joined(&h, out));
    out->stored = out->experts;
done:
    h5_close(&h);
    if (st != SHOAL_OK) index_free(out);
    return st;
}

void index_free(struct snapshot_index *index)
{
    if (index->judgings && index->n_judgings > 0) mem_free(index->judgings[0].fitness);
    mem_free(index->judgings);
    mem_free(index->shards);
    mem_free(index->joined);
    mem_free(index->config);
    index->judgings = NULL;
    index->shards = NULL;
    index->joined = NULL;
    index->n_joined = 0;
    index->config = NULL;
    index->n_judgings = 0;
}

int64_t index_shard_step(const struct snapshot_index *index, int expert)
{
    const int64_t age = index->shards ? index->shards[expert].age : 0;
    return age < 0 ? -1 : index->standing.step - age;
}

int64_t index_file_bytes(int experts, int members, int64_t judgings)
{
    enum { FIXED = 12 << 10, LINK = 128 + 24, ROW = 32 };
    return FIXED + (int64_t)experts * LINK + judgings * (ROW + members * (int64_t)sizeof(double));
}
