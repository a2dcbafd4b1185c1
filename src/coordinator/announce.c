/* announce.c - see announce.h. */
#include "coordinator/announce.h"
#include <stdio.h>
#include "base/log.h"
#include "base/memory.h"

enum shoal_status announce_members(struct comm *comm, const struct announcement *a,
                                   double deadline_s)
{
    enum shoal_status st = SHOAL_OK;
    const int workers = comm_workers(comm);
    struct comm_news news = {
        .epoch = a->epoch, .ready = a->ready, .passed = a->passed, .best = a->best};
    uint8_t *live = NULL;
    SHOAL_TRY(mem_alloc((size_t)workers, "who is live", &live));
    for (int w = 0; w < workers; w++) {
        live[w] = live_has(&a->live, w);
        news.live[w / 64] |= (uint64_t)live[w] << w % 64;
    }
    SHOAL_GOTO(comm_announce(comm, &news));
    if (a->ready) SHOAL_GOTO(comm_renew(comm, a->epoch, live, deadline_s));
done:
    mem_free(live);
    return st;
}

void tell_lost(int worker, double silent_s, int first, int experts)
{
    char which[64];
    if (experts == 1)
        (void)snprintf(which, sizeof which, "expert %d", first);
    else
        (void)snprintf(which, sizeof which, "experts %d to %d", first, first + experts - 1);
    log_warn("worker %d has been silent for %.1f s and is lost, and with it %s; the others go on "
             "without it",
             worker, silent_s, which);
}
