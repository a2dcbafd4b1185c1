#include "coordinator/fakes.h"
#include <string.h>

struct fake_index *fake_index(void)
{
    static struct fake_index written;
    return &written;
}

int comm_world_size(const struct comm *c)
{
    return c->world_size;
}

int comm_workers(const struct comm *c)
{
    return c->world_size > 1 ? c->world_size - 1 : 1;
}

void comm_set_local(struct comm *c, comm_local_fn hear, void *owner)
{
    c->hear = hear;
    c->owner = owner;
}

enum shoal_status comm_order(struct comm *c, const void *record, size_t bytes)
{
    SHOAL_CHECK(bytes <= sizeof c->orders[0] && c->n_orders < FAKE_MAX, SHOAL_EARG,
                "strange order");
    memcpy(&c->orders[c->n_orders++], record, bytes);
    return SHOAL_OK;
}

enum shoal_status comm_hear(struct comm *c, void *record, size_t *bytes, int *worker,
                            double timeout_s, bool *got)
{
    (void)timeout_s;
    *got = !c->silence;
    if (c->silence) {
        c->silence = false;
        return SHOAL_OK;
    }
    SHOAL_CHECK(c->n_heard < c->n_reports, SHOAL_EPEER, "nobody speaks any more");
    const struct report *r = &c->reports[c->n_heard++];
    memcpy(record, r, sizeof *r);
    *bytes = sizeof *r;
    *worker = r->worker;
    return SHOAL_OK;
}

int comm_silent(struct comm *c, double *silent_s)
{
    const int worker = c->silent - 1;
    *silent_s = 30.5;
    c->silent = 0;
    return worker;
}

enum shoal_status comm_announce(struct comm *c, const struct comm_news *news)
{
    c->news = *news;
    c->n_news++;
    return SHOAL_OK;
}

enum shoal_status comm_renew(struct comm *c, uint32_t epoch, const uint8_t *live, double deadline_s)
{
    (void)live;
    (void)deadline_s;
    SHOAL_CHECK(epoch == c->news.epoch, SHOAL_EARG, "an epoch that was not announced");
    c->n_renewed++;
    return SHOAL_OK;
}

enum shoal_status comm_bid_farewell(struct comm *c)
{
    c->farewell = true;
    return SHOAL_OK;
}

enum shoal_status index_write(const char *run, const struct snapshot_index *index, int64_t *bytes)
{
    struct fake_index *f = fake_index();
    SHOAL_CHECK(!f->full, SHOAL_EIO, "no room for an index");
    f->index = *index;
    strncpy(f->run, run, sizeof f->run - 1);
    strncpy(f->config, index->config, sizeof f->config - 1);
    for (int64_t i = 0; i < index->n_judgings && i < FAKE_MAX; i++)
        memcpy(f->fitness[i], index->judgings[i].fitness, (size_t)index->members * sizeof(double));
    f->n_written++;
    *bytes = 1000;
    return SHOAL_OK;
}

enum shoal_status index_prune(const char *run, int64_t keep)
{
    struct fake_index *f = fake_index();
    SHOAL_CHECK(strcmp(run, f->run) == 0, SHOAL_EARG, "pruning another run");
    f->n_pruned++;
    f->keep = keep;
    return SHOAL_OK;
}

enum shoal_status index_drop(const char *run, int64_t step, int experts)
{
    struct fake_index *f = fake_index();
    (void)run;
    (void)experts;
    f->n_dropped++;
    f->dropped = step;
    return SHOAL_OK;
}

enum shoal_status run_index_path(char *out, const char *run, int64_t step)
{
    return path_format(out, "%s/index-%d", run, (int)step);
}

enum shoal_status run_best_path(char *out, const char *run)
{
    return path_format(out, "%s/best.h5", run);
}
