/* losses.c - what the loss of a worker changes. */
#include <math.h>
#include "coordinator/state_impl.h"
#include "evo/plan.h"

void state_hear_lost(struct coordinator_state *s)
{
    for (int k = 0; k < s->experts; k++) {
        if (!live_has(&s->standing.lost, k)) continue;
        s->n_heard += !s->heard[k];
        s->heard[k] = 1;
        s->fitness[k] = NAN;
    }
}

/* Who leads: the best of the last judging, or of those of it that are left; -1: nobody. */
static int leader(struct coordinator_state *s)
{
    const struct history *h = &s->history;
    double *const left = s->room;
    const int best = s->standing.best;
    if (best < 0 || best >= s->experts || !live_has(&s->standing.lost, best)) return best;
    for (int k = 0; k < s->members; k++)
        left[k] =
            k < s->experts && live_has(&s->standing.lost, k) ? NAN : h->rows[h->n - 1].fitness[k];
    return plan_best(left, s->members, s->experts);
}

/* The best of all may have been lost before it was saved: then whoever is judged best next is. */
static void doubt_champion(struct coordinator_state *s)
{
    const int champion = s->standing.champion;
    if (!s->unsaved || champion < 0 || champion >= s->experts ||
        !live_has(&s->standing.lost, champion) ||
        s->standing.champion_step != s->standing.judged_step)
        return;
    s->standing.champion = -1;
    s->standing.champion_fitness = NAN;
}

static void follow_another(struct coordinator_state *s)
{
    const struct history *h = &s->history;
    const int best = leader(s);
    if (best == s->standing.best) return;
    s->standing.best = best;
    s->standing.best_fitness = best < 0 ? NAN : h->rows[h->n - 1].fitness[best];
}

enum shoal_status state_lose(struct coordinator_state *s, int worker, struct actions *out)
{
    struct membership *m = &s->membership;
    out->late = worker < 0 || worker >= m->workers || m->lost[worker];
    if (out->late) return SHOAL_OK;
    membership_lose(m, worker);
    SHOAL_CHECK(m->n_live > 0, SHOAL_EPEER,
                "no worker is left; continue from the last snapshot with --resume");
    for (int k = 0; k < s->experts; k++) {
        if (!membership_owner_lost(m, k)) continue;
        live_put(&s->standing.lost, k, true);
        live_put(&s->standing.live, k, false);
    }
    /* Those who are left may judge their mean again; who speaks for them reports it again. */
    if (s->members > s->experts && s->heard[s->experts]) {
        s->heard[s->experts] = 0;
        s->n_heard--;
    }
    state_hear_lost(s);
    if (s->evaluating && s->standing.best != leader(s)) s->evaluating = false;
    doubt_champion(s);
    follow_another(s);
    state_miss_shards(s);
    state_end_snapshot(s, out);
    out->announce = true;
    out->announcement = membership_announce(m, s->standing.best);
    return SHOAL_OK;
}

void state_renew(struct coordinator_state *s, struct actions *out)
{
    struct membership *m = &s->membership;
    if (!m->renewing || !membership_ready(m)) return;
    m->renewing = false;
    out->announce = true;
    out->announcement = membership_announce(m, s->standing.best);
}
