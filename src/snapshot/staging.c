/* staging.c - see staging.h. The copy is an expert on a device of its own in host memory, so that
 * what writes experts writes copies too. */
#include "snapshot/staging.h"

#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/memory.h"

struct staging {
    char path[SHOAL_MAX_PATH];
    bool weights_only;
    struct shard_info info;
    struct device *host;
    struct expert *copy;
    struct shard_past past; /* its tables and slabs are owned */
    int64_t room;           /* rows allocated for its judgings, */
    int64_t lineage_room;   /* and for its lineage */
    bool has_outer;         /* the slabs of past.outer are of this expert */
};

enum shoal_status staging_create(const struct param_table *table, bool with_velocity,
                                 bool with_own_best, struct staging **out)
{
    struct staging *s = NULL;
    enum shoal_status st;
    *out = NULL;
    SHOAL_TRY(mem_alloc(sizeof *s, "a copy of an expert", &s));
    SHOAL_GOTO(device_open("cpu", 0, 1, &s->host));
    SHOAL_GOTO(expert_create(s->host, table, 0, with_velocity, with_own_best, &s->copy));
    *out = s;
    s = NULL;
done:
    staging_destroy(&s);
    return st;
}

void staging_destroy(struct staging **staging)
{
    struct staging *s = *staging;
    if (!s) return;
    expert_destroy(&s->copy);
    device_close(&s->host);
    shard_past_free(&s->past);
    mem_free(s->past.outer.agreed);
    mem_free(s->past.outer.velocity);
    mem_free(s);
    *staging = NULL;
}

int64_t staging_bytes(const struct param_table *table, bool with_velocity, bool with_own_best)
{
    return (3 + with_velocity + with_own_best) * table->n_params * (int64_t)sizeof(float);
}

static enum shoal_status describe(struct staging *s, const char *path,
                                  const struct shard_info *info, bool weights_only)
{
    s->info = *info;
    s->weights_only = weights_only;
    return path_format(s->path, "%s", path);
}

/* Room for n rows at least; what was there is lost. rows: where the pointer to them is. */
static enum shoal_status make_room(void *rows, int64_t *room, int64_t n, size_t row_bytes)
{
    void *old, *larger = NULL;
    if (n <= *room) return SHOAL_OK;
    SHOAL_TRY(mem_alloc((size_t)(2 * n) * row_bytes, "a copy of a history", &larger));
    memcpy(&old, rows, sizeof old);
    mem_free(old);
    memcpy(rows, &larger, sizeof larger);
    *room = 2 * n;
    return SHOAL_OK;
}

/* Outer steps have slabs of their own, which one expert brings. */
static enum shoal_status take_outer(struct staging *s, struct device *dev,
                                    const struct shard_outer *outer, struct shard_outer *copy)
{
    const size_t bytes = (size_t)s->copy->table->n_params * sizeof *copy->agreed;
    if (!copy->agreed) SHOAL_TRY(mem_alloc(bytes, "a copy of outer steps", &copy->agreed));
    if (!copy->velocity) SHOAL_TRY(mem_alloc(bytes, "a copy of outer steps", &copy->velocity));
    SHOAL_TRY(device_download(dev, copy->agreed, outer->agreed, bytes));
    return device_download(dev, copy->velocity, outer->velocity, bytes);
}

static enum shoal_status take_past(struct staging *s, struct device *dev,
                                   const struct shard_past *past)
{
    struct shard_past *const to = &s->past;
    SHOAL_TRY(make_room(&to->judgings, &s->room, past->n_judgings, sizeof *to->judgings));
    SHOAL_TRY(make_room(&to->lineage, &s->lineage_room, past->n_lineage, sizeof *to->lineage));
    if (past->n_judgings)
        memcpy(to->judgings, past->judgings, (size_t)past->n_judgings * sizeof *to->judgings);
    if (past->n_lineage)
        memcpy(to->lineage, past->lineage, (size_t)past->n_lineage * sizeof *to->lineage);
    to->n_judgings = past->n_judgings;
    to->n_lineage = past->n_lineage;
    SHOAL_TRY(norms_copy(&to->norms, &past->norms));
    to->outlier = past->outlier;
    to->loss_sum = past->loss_sum;
    to->losses = past->losses;
    to->last_loss = past->last_loss;
    s->has_outer = past->outer.agreed != NULL;
    return s->has_outer ? take_outer(s, dev, &past->outer, &to->outer) : SHOAL_OK;
}

enum shoal_status staging_take(struct staging *s, const char *path, const struct shard_info *info,
                               const struct expert *e, const struct shard_past *past)
{
    SHOAL_TRY(describe(s, path, info, false));
    SHOAL_TRY(take_past(s, e->dev, past));
    return expert_download(s->copy, e);
}

enum shoal_status staging_take_weights(struct staging *s, const char *path,
                                       const struct shard_info *info, struct device *dev,
                                       const float *weights)
{
    SHOAL_TRY(describe(s, path, info, true));
    return device_download(dev, s->copy->weights, weights,
                           (size_t)s->copy->table->n_params * sizeof *weights);
}

static enum shoal_status write_expert(const struct staging *s, int64_t *bytes)
{
    struct shard_past past = s->past;
    if (!s->has_outer) past.outer = (struct shard_outer){.agreed = NULL};
    return shard_write(s->path, &s->info, s->copy, &past, bytes);
}

enum shoal_status staging_write(struct staging *s, struct staged *out)
{
    const double start_s = clock_now_s();
    *out = (struct staged){0};
    if (s->weights_only)
        SHOAL_TRY(shard_write_weights(s->path, &s->info, s->copy->table, s->host, s->copy->weights,
                                      &out->bytes));
    else
        SHOAL_TRY(write_expert(s, &out->bytes));
    SHOAL_TRY(shard_digest(s->path, &out->digest));
    out->seconds = clock_now_s() - start_s;
    return SHOAL_OK;
}
