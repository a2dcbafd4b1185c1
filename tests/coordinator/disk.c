/* disk.c - files appear whole or not at all, as the real ones do (they are renamed when whole). */
#include <stdlib.h>
#include <string.h>
#include "coordinator/world.h"

static void *reserve(size_t n, size_t bytes)
{
    void *p = calloc(n, bytes);
    if (!p) abort();
    return p;
}

static void free_stored(struct stored *s)
{
    history_clear(&s->judgings);
    free(s->shard);
    free(s->there);
    free(s);
}

void disk_free(struct disk *d)
{
    for (int i = 0; i < d->n; i++)
        free_stored(d->stored[i]);
    free(d->stored);
    d->stored = NULL;
    d->n = d->capacity = 0;
}

bool disk_fails(struct disk *d)
{
    return d->errors_in >= 0 && d->errors_in-- == 0;
}

struct stored *disk_find(const struct disk *d, int64_t step)
{
    for (int i = d->n - 1; i >= 0; i--)
        if (d->stored[i]->step == step) return d->stored[i];
    return NULL;
}

static struct stored *add(struct disk *d, int experts, int64_t step)
{
    struct stored *s = reserve(1, sizeof *s);
    s->step = step;
    s->shard = reserve((size_t)experts, sizeof *s->shard);
    s->there = reserve((size_t)experts, 1);
    if (d->n == d->capacity) {
        d->capacity = 2 * d->capacity + 4;
        d->stored = realloc(d->stored, (size_t)d->capacity * sizeof(struct stored *));
        if (!d->stored) abort();
    }
    d->stored[d->n++] = s;
    return s;
}

void disk_write_shard(struct disk *d, int experts, int expert, int64_t step,
                      const struct weights *w)
{
    struct stored *s = disk_find(d, step);
    if (!s) s = add(d, experts, step);
    s->shard[expert] = *w;
    s->there[expert] = 1;
}

struct stored *disk_newest(const struct disk *d)
{
    struct stored *newest = NULL;
    for (int i = 0; i < d->n; i++)
        if (d->stored[i]->indexed && (!newest || d->stored[i]->step > newest->step))
            newest = d->stored[i];
    return newest;
}

/* The step of the oldest index that is kept. */
static int64_t oldest_kept(const struct disk *d, int64_t keep)
{
    for (int i = 0; i < d->n; i++) {
        int64_t newer = 0;
        for (int j = 0; j < d->n; j++)
            newer += d->stored[j]->indexed && d->stored[j]->step > d->stored[i]->step;
        if (d->stored[i]->indexed && newer == keep - 1) return d->stored[i]->step;
    }
    return INT64_MIN;
}

void disk_prune(struct disk *d, int64_t keep)
{
    const struct stored *newest = disk_newest(d);
    if (!newest || keep == 0) return;
    const int64_t last = newest->step, oldest = oldest_kept(d, keep);
    int kept = 0;
    for (int i = 0; i < d->n; i++) {
        struct stored *s = d->stored[i];
        if (s->step < last && (!s->indexed || s->step < oldest)) {
            free_stored(s);
        } else {
            d->stored[kept++] = s;
        }
    }
    d->n = kept;
}

struct audit_index disk_index(const struct disk *d, const struct stored *s, int experts)
{
    struct audit_index index = {.standing = &s->standing,
                                .judgings = s->judgings.rows,
                                .n_judgings = s->judgings.n,
                                .best = d->best};
    for (int k = 0; k < experts; k++) {
        index.n_shards += s->there[k];
        index.digest += physics_digest(k, &s->shard[k]);
    }
    return index;
}
