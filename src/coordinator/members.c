/* members.c - see members.h. */
#include "coordinator/members.h"
#include <string.h>
#include "evo/owners.h"

void membership_begin(struct membership *m, int workers, int experts)
{
    memset(m, 0, sizeof *m);
    m->workers = m->n_live = workers;
    m->experts = experts;
}

bool membership_counts(const struct membership *m, int worker)
{
    return worker < 0 || worker >= m->workers || !m->lost[worker];
}

bool membership_owner_lost(const struct membership *m, int expert)
{
    return m->lost[owners_of(expert, m->workers, m->experts)] != 0;
}

void membership_lose(struct membership *m, int worker)
{
    m->lost[worker] = 1;
    m->n_live--;
    m->epoch++;
    m->renewing = true;
    m->passed = 0;
    memset(m->placed, 0, (size_t)m->workers);
}

bool membership_place(struct membership *m, const struct report *r)
{
    if (!m->renewing || r->count[1] != m->epoch || r->worker < 0 || m->placed[r->worker])
        return false;
    m->placed[r->worker] = 1;
    if (r->count[0] > m->passed) m->passed = r->count[0];
    return true;
}

bool membership_ready(const struct membership *m)
{
    for (int w = 0; w < m->workers; w++)
        if (!m->lost[w] && !m->placed[w]) return false;
    return true;
}

struct announcement membership_announce(const struct membership *m, int best)
{
    struct announcement a = {
        .epoch = m->epoch, .ready = !m->renewing, .passed = m->passed, .best = best};
    for (int w = 0; w < m->workers; w++)
        live_put(&a.live, w, !m->lost[w]);
    return a;
}
