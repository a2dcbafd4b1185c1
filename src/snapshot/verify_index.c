/* verify_index.c - an index: its own bytes, its ledger, its links and the shards they lead to. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/memory.h"
#include "evo/plan.h"
#include "snapshot/h5.h"
#include "snapshot/run.h"
#include "snapshot/verify_impl.h"

static const char *const remedy =
    "restore the snapshot from a copy, or use another: --resume takes the newest good one";

/* ---- the ledger ------------------------------------------------------------------------------ */

/* The judging with this step; NULL. */
static const struct judging *judging_at(const struct snapshot_index *index, int64_t step)
{
    for (int64_t i = 0; i < index->n_judgings; i++)
        if (index->judgings[i].step == step) return &index->judgings[i];
    return NULL;
}

static enum shoal_status check_judging(const char *path, const struct snapshot_index *index,
                                       int64_t i)
{
    const struct judging *j = &index->judgings[i];
    SHOAL_CHECK(i == 0 || j->step > index->judgings[i - 1].step, SHOAL_EFORMAT,
                "%s: /ledger/judgings row %" PRId64 " goes back to step %" PRId64, path, i,
                j->step);
    if (j->best < 0) return SHOAL_OK;
    for (int m = 0; m < index->members; m++)
        SHOAL_CHECK(isfinite(j->fitness[j->best]) &&
                        !(j->fitness[m] < j->fitness[j->best] && isfinite(j->fitness[m])),
                    SHOAL_EFORMAT,
                    "%s: /ledger/judgings row %" PRId64 " names member %d the best, but /ledger/"
                    "fitness has member %d lower",
                    path, i, j->best, m);
    return SHOAL_OK;
}

static enum shoal_status check_standing(const char *path, const struct snapshot_index *index)
{
    const struct standing *s = &index->standing;
    if (index->n_judgings == 0) return SHOAL_OK;
    const struct judging *last = &index->judgings[index->n_judgings - 1];
    struct live_set live;
    SHOAL_CHECK(last->step == s->judged_step, SHOAL_EFORMAT,
                "%s: was last judged at step %" PRId64 ", but its ledger ends at step %" PRId64,
                path, s->judged_step, last->step);
    (void)plan_live(last->fitness, index->experts, &live);
    for (int k = 0; k < index->experts; k++)
        if (live_has(&s->lost, k) && !live_has(&s->live, k)) live_put(&live, k, false);
    for (int64_t i = 0; i < index->n_joined; i++) /* and not been judged since */
        if (index->joined[i].step >= last->step) live_put(&live, index->joined[i].expert, true);
    const bool led_by_lost =
        last->best >= 0 && last->best < index->experts && live_has(&s->lost, last->best);
    SHOAL_CHECK(
        (last->best == s->best || led_by_lost) &&
            (s->best < 0 || last->fitness[s->best] == s->best_fitness) &&
            memcmp(live.word, s->live.word, live_words(index->experts) * sizeof *live.word) == 0,
        SHOAL_EFORMAT, "%s: its attributes and the last row of its ledger disagree", path);
    if (s->champion < 0) return SHOAL_OK;
    const struct judging *then = judging_at(index, s->champion_step);
    SHOAL_CHECK(then && then->fitness[s->champion] == s->champion_fitness, SHOAL_EFORMAT,
                "%s: its ledger does not know the champion, member %d of step %" PRId64, path,
                s->champion, s->champion_step);
    return SHOAL_OK;
}

enum shoal_status ledger_check(const char *path, const struct snapshot_index *index)
{
    for (int64_t i = 0; i < index->n_judgings; i++)
        SHOAL_TRY(check_judging(path, index, i));
    return check_standing(path, index);
}

/* ---- links ----------------------------------------------------------------------------------- */

static enum shoal_status check_links(const struct h5 *h, const struct snapshot_index *index)
{
    char name[32], target[SHOAL_MAX_PATH];
    int there = 0;
    for (int k = 0; k < index->experts; k++)
        there += index_shard_step(index, k) >= 0;
    SHOAL_CHECK(h5_count_links(h, "/experts") == there, SHOAL_EFORMAT,
                "%s: /experts has %" PRId64 " links for %d experts", h->path,
                h5_count_links(h, "/experts"), there);
    for (int k = 0; k < index->experts; k++) {
        if (index_shard_step(index, k) < 0) continue;
        snprintf(name, sizeof name, "/experts/%04d", k);
        SHOAL_TRY(run_shard_path(target, "..", k, index_shard_step(index, k)));
        SHOAL_CHECK(h5_links_to(h, name, target), SHOAL_EFORMAT,
                    "%s: %s does not lead to %s in its own run", h->path, name, target);
    }
    return SHOAL_OK;
}

static enum shoal_status check_file(const char *path, const struct snapshot_index *index)
{
    struct h5 h = H5_CLOSED;
    struct config c;
    enum shoal_status st;
    SHOAL_TRY(config_parse(&c, index->config, path));
    SHOAL_CHECK(c.population.experts == index->experts, SHOAL_EFORMAT,
                "%s: has %d experts, its configuration %d", path, index->experts,
                c.population.experts);
    SHOAL_GOTO(h5_open(&h, path));
    SHOAL_GOTO(check_links(&h, index));
done:
    h5_close(&h);
    return st;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static enum shoal_status verify_shards(struct verified *v, const char *path,
                                       const struct snapshot_index *index)
{
    char run[SHOAL_MAX_PATH], shard[SHOAL_MAX_PATH];
    if (run_of_index(run, path) != SHOAL_OK) return SHOAL_OK; /* it has just been pruned */
    for (int k = 0; k < index->experts; k++) {
        const struct verify_expected expected = {index, path, k};
        const int64_t step = index_shard_step(index, k);
        if (step < 0) continue;
        if (run_find_shard(shard, run, k, step) == SHOAL_OK)
            SHOAL_TRY(verify_shard(v, shard, &expected));
        else
            SHOAL_TRY(verify_note(v, shard, remedy));
    }
    return SHOAL_OK;
}

enum shoal_status verify_index(struct verified *v, const char *path)
{
    struct snapshot_index index = {.experts = 0};
    uint64_t digest = 0;
    bool sound = false;
    SHOAL_TRY(verify_seal(v, path, remedy, &sound, &digest));
    if (!sound) return SHOAL_OK;
    enum shoal_status st = index_read(path, &index);
    if (st == SHOAL_OK) st = check_file(path, &index);
    if (st == SHOAL_OK) st = ledger_check(path, &index);
    if (st == SHOAL_ENOMEM) goto done;
    if (st != SHOAL_OK) SHOAL_GOTO(verify_note(v, path, remedy));
    if (index.config) SHOAL_GOTO(verify_shards(v, path, &index)); /* it could be read */
done:
    index_free(&index);
    return st;
}
