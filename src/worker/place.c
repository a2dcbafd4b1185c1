/* place.c - see place.h. */
#include "worker/place.h"
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/memory.h"
#include "worker/worker.h"

static const char *taken_id(const int *index, const struct place_view *view, int i)
{
    return index[i] < 0 ? "" : view[i].id[index[i]];
}

/* How many of the first n workers have taken the device of that identity. */
static int count_takers(const int *index, const struct place_view *view, int n, const char *id)
{
    int takers = 0;
    for (int i = 0; i < n; i++)
        takers += id[0] && strcmp(taken_id(index, view, i), id) == 0;
    return takers;
}

void place_workers(int *index, const struct place_view *view, int n)
{
    for (int i = 0; i < n; i++) {
        int fewest = n + 1;
        index[i] = -1;
        for (int d = 0; d < view[i].count; d++) {
            const int takers = count_takers(index, view, i, view[i].id[d]);
            if (takers >= fewest) continue;
            fewest = takers;
            index[i] = d;
        }
    }
}

int place_sharers(const int *index, const struct place_view *view, int n, int i)
{
    const int takers = count_takers(index, view, n, taken_id(index, view, i));
    return takers > 1 ? takers : 1;
}

/* ---- worker.h ---- */

/* Choose among what all workers of this machine see. */
static enum shoal_status choose(struct comm *comm, const struct place_view *mine,
                                struct place_view *all, int *index, int *chosen)
{
    const int n = comm_node_workers(comm), me = comm_node_worker(comm);
    SHOAL_TRY(comm_gather_node(comm, mine, sizeof *mine, all));
    place_workers(index, all, n);
    *chosen = index[me];
    const int sharers = place_sharers(index, all, n, me);
    if (sharers > 1 && count_takers(index, all, me, taken_id(index, all, me)) == 0)
        log_warn("%d workers share %s, one after the other's kernel: start as many workers as "
                 "there are GPUs, or let them see more of them",
                 sharers, taken_id(index, all, me));
    return SHOAL_OK;
}

enum shoal_status worker_place(const struct config *cfg, struct comm *comm, int *device)
{
    enum shoal_status st = SHOAL_OK;
    const size_t n = (size_t)comm_node_workers(comm);
    struct place_view mine = {.count = 0}, *all = NULL;
    int *index = NULL, count = 0;
    /* Whoever sees none still takes part, lest the others wait. */
    const enum shoal_status listed = device_list(cfg->device, mine.id, PLACE_DEVICES, &count);
    mine.count = listed == SHOAL_OK ? count : 0;
    *device = 0;
    SHOAL_GOTO(mem_alloc(n * sizeof *all, "the devices of this machine", &all));
    SHOAL_GOTO(mem_alloc(n * sizeof *index, "the workers' devices", &index));
    SHOAL_GOTO(choose(comm, &mine, all, index, device));
    SHOAL_GOTO(listed);
    if (*device < 0)
        st = SHOAL_FAIL(SHOAL_EDEVICE,
                        "device %s: worker %d sees no device (CUDA_VISIBLE_DEVICES is '%s'); let "
                        "every worker see one, or use device: cpu",
                        cfg->device, comm_worker(comm),
                        getenv("CUDA_VISIBLE_DEVICES") ? getenv("CUDA_VISIBLE_DEVICES") : "unset");
done:
    mem_free(index);
    mem_free(all);
    return st;
}
