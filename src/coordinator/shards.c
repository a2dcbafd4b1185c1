/* shards.c - the snapshot that was ordered: whose shards are there, and when it is complete. */
#include <string.h>
#include "coordinator/state_impl.h"

void state_miss_shards(struct coordinator_state *s)
{
    struct shards *shards = &s->shards;
    for (int k = 0; k < s->experts; k++) {
        if (!live_has(&s->standing.lost, k) || shards->told[k]) continue;
        shards->told[k] = 1;
        shards->n_told++;
        live_put(&shards->absent, k, true);
    }
}

void state_begin_snapshot(struct coordinator_state *s, struct actions *out)
{
    if (s->shards.waiting) {
        out->abandon = true;
        out->abandon_step = s->shards.standing.step;
    }
    s->shards.ordered = s->shards.waiting = true;
    s->shards.failed = false;
    s->shards.n_told = 0;
    memset(s->shards.told, 0, (size_t)s->experts);
    s->shards.standing = s->standing;
    s->shards.n_judgings = s->history.n;
    live_none(&s->shards.absent, s->experts);
    state_miss_shards(s);
}

void state_end_snapshot(struct coordinator_state *s, struct actions *out)
{
    struct shards *shards = &s->shards;
    if (!shards->waiting || shards->n_told < s->experts) return;
    shards->waiting = false;
    out->commit = !shards->failed;
    out->abandon = shards->failed;
    out->commit_step = out->abandon_step = shards->standing.step;
    if (out->commit) {
        s->committed = shards->standing;
        s->committed.lost = shards->absent;
        s->n_committed = shards->n_judgings;
    }
    out->finished = s->stopped;
}

void state_hear_shard(struct coordinator_state *s, const struct report *r, struct actions *out)
{
    struct shards *shards = &s->shards;
    out->late = !shards->waiting || r->step != shards->standing.step ||
                !state_is_expert(s, r->member) || shards->told[r->member];
    if (out->late) return;
    shards->told[r->member] = 1;
    shards->failed = shards->failed || r->kind == REPORT_FAILED;
    shards->n_told++;
    state_end_snapshot(s, out);
}
