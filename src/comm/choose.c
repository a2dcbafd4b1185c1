/* choose.c - see choose.h. */
#include "comm/choose.h"
#include <stdio.h>
#include <string.h>

static bool share_device(const struct comm_start *a, const struct comm_start *b)
{
    return a->device[0] && a->node == b->node && strcmp(a->device, b->device) == 0;
}

/* Why worker w cannot use NCCL; false: nothing speaks against it. */
static bool find_obstacle(char *out, size_t room, const struct comm_start *start, int w)
{
    const struct comm_start *s = &start[w];
    if (s->is_host) {
        (void)snprintf(out, room, "worker %d computes on the CPU, and NCCL connects GPUs only", w);
        return true;
    }
    if (s->nccl == 0) {
        (void)snprintf(out, room, "worker %d: %s", w, s->reason);
        return true;
    }
    if (s->nccl != start[0].nccl) {
        (void)snprintf(out, room, "worker %d has version %d of NCCL and worker 0 version %d", w,
                       s->nccl, start[0].nccl);
        return true;
    }
    for (int other = 0; other < w; other++) {
        if (!share_device(s, &start[other])) continue;
        (void)snprintf(out, room, "workers %d and %d share %s, and NCCL wants a GPU for each",
                       other, w, s->device);
        return true;
    }
    return false;
}

static bool all_host(const struct comm_start *start, int n)
{
    for (int w = 0; w < n; w++)
        if (!start[w].is_host) return false;
    return true;
}

struct comm_choice comm_choose(const char *wish, const struct comm_start *start, int n)
{
    struct comm_choice choice = {.transport = COMM_MPI};
    const bool wanted = strcmp(wish, "nccl") == 0;
    char why[COMM_REASON + 64] = "";
    bool possible = true;
    if (strcmp(wish, "mpi") == 0) return choice;
    /* Alone there is nothing to exchange. */
    if (n == 1 && !wanted) return choice;
    for (int w = 0; w < n && possible; w++)
        possible = !find_obstacle(why, sizeof why, start, w);
    if (possible) {
        choice.transport = COMM_NCCL;
        choice.may_fall_back = !wanted;
        return choice;
    }
    choice.impossible = wanted;
    if (!wanted && all_host(start, n)) return choice; /* nobody could have expected NCCL */
    (void)snprintf(choice.why, sizeof choice.why,
                   wanted ? "transport nccl: %s; use auto or mpi" : "%s", why);
    return choice;
}
