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
    struct shard_past past; /* its judgings are owned */
    int64_t room;           /* rows allocated for them */
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
    mem_free(s->past.judgings);
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

static enum shoal_status take_past(struct staging *s, const struct shard_past *past)
{
    struct history_row *rows = s->past.judgings;
    if (past->n_judgings > s->room) {
        const int64_t room = 2 * past->n_judgings;
        SHOAL_TRY(mem_alloc((size_t)room * sizeof *rows, "a copy of a history", &rows));
        mem_free(s->past.judgings);
        s->room = room;
    }
    s->past = *past;
    s->past.judgings = rows;
    if (past->n_judgings) memcpy(rows, past->judgings, (size_t)past->n_judgings * sizeof *rows);
    return SHOAL_OK;
}

enum shoal_status staging_take(struct staging *s, const char *path, const struct shard_info *info,
                               const struct expert *e, const struct shard_past *past)
{
    SHOAL_TRY(describe(s, path, info, false));
    SHOAL_TRY(take_past(s, past));
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

enum shoal_status staging_write(struct staging *s, struct staged *out)
{
    const double start_s = clock_now_s();
    *out = (struct staged){0};
    if (s->weights_only)
        SHOAL_TRY(shard_write_weights(s->path, &s->info, s->copy->table, s->host, s->copy->weights,
                                      &out->bytes));
    else
        SHOAL_TRY(shard_write(s->path, &s->info, s->copy, &s->past, &out->bytes));
    SHOAL_TRY(shard_digest(s->path, &out->digest));
    out->seconds = clock_now_s() - start_s;
    return SHOAL_OK;
}
