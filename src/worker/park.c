/* park.c - experts that wait for their turn in page-locked host memory.
 *
 * Every expert has a home there, and the device has room for two: the one that is trained or
 * judged, and the next, which comes meanwhile. Whoever must make room for it goes home first, if it
 * has changed. An expert's slabs are where its pointers say, there or at home, and can be worked on
 * in either place (kernels.h): rounds, which touch each value a few times, do not bring anybody.
 * Velocities and own bests, which only rounds and judgings touch, never leave home.
 *
 * While a delayed round is on its way, homes are outboxes: an expert that is trained leaves its
 * home as it was when the round began until the round has been applied to it. Rejected: copying in
 * the thread that trains (as slow as the bus), and experts that train in the other order every
 * second time, which would save a third of the copies of three experts and little of six's. */
#include "worker/park.h"
#include "base/log.h"
#include "base/memory.h"
#include "evo/operators.h"
#include "worker/exchange.h"
#include "worker/worker_impl.h"

enum { NOBODY = -1 };

struct park {
    struct slabs *home; /* n_own; the experts own them */
    struct slabs set[PARK_SETS];
    int holds[PARK_SETS];    /* index of an own expert, or NOBODY */
    bool changed[PARK_SETS]; /* it is not what its home holds any more */
    int active;              /* the set in use */
};

/* Drivers and fragments take a little that nobody counts. */
static int64_t usable(int64_t gpu_bytes)
{
    return gpu_bytes - gpu_bytes / 32;
}

bool park_applies(const struct config *c, const struct param_table *table,
                  struct memory_place place)
{
    if (memory_own(c, place) <= PARK_SETS || worker_is_parallel(c)) return false;
    if (c->population.park != PARK_AUTO) return c->population.park == PARK_ON;
    if (!place.gpu || place.gpu_bytes == 0) return false;
    struct config off = *c;
    off.population.park = PARK_OFF;
    const struct memory m = memory_of(&off, table, place);
    return memory_total(&m, MEMORY_DEVICE) > usable(place.gpu_bytes);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void announce(const struct worker *w, struct memory_place place)
{
    const struct memory m = memory_of(w->cfg, w->table, place);
    if (w->number != 0) return;
    log_info(
        "%d experts of a worker take turns on its device, which holds %d at a time; the others "
        "wait in %.2f GB of page-locked host memory (population.park)",
        w->n_own, PARK_SETS, (double)m.bytes[MEMORY_PARKED] * 1e-9);
}

enum shoal_status park_create(struct worker *w)
{
    const size_t bytes = (size_t)w->table->n_params * sizeof(float);
    const struct memory_place place = {.worker = w->number,
                                       .workers = w->workers,
                                       .gpu = !device_is_host(w->dev),
                                       .gpu_bytes = device_memory_bytes(w->dev)};
    struct park *p = NULL;
    if (!park_applies(w->cfg, w->table, place)) return SHOAL_OK;
    announce(w, place);
    SHOAL_TRY(mem_alloc(sizeof *p, "parked experts", &p));
    w->park = p;
    p->holds[0] = p->holds[1] = NOBODY;
    SHOAL_TRY(mem_alloc((size_t)w->n_own * sizeof *p->home, "parked experts", &p->home));
    for (int s = 0; s < PARK_SETS; s++) {
        SHOAL_TRY(device_alloc(w->dev, bytes, "an expert's weights", &p->set[s].weights));
        SHOAL_TRY(device_alloc(w->dev, bytes, "an expert's first moments", &p->set[s].m));
        SHOAL_TRY(device_alloc(w->dev, bytes, "an expert's second moments", &p->set[s].v));
    }
    return SHOAL_OK;
}

void park_destroy(struct worker *w)
{
    struct park *p = w->park;
    if (!p) return;
    for (int s = 0; s < PARK_SETS; s++)
        worker_free_slabs(w->dev, &p->set[s]);
    mem_free(p->home);
    mem_free(p);
    w->park = NULL;
}

static void point_to(struct own *own, const struct slabs *place)
{
    own->expert->weights = place->weights;
    own->expert->adam_m = place->m;
    own->expert->adam_v = place->v;
}

void park_adopt(struct worker *w)
{
    struct park *p = w->park;
    const bool moments = evo_needs_moments(w->cfg);
    for (int i = 0; p && i < w->n_own; i++) {
        const struct expert *const e = w->own[i].expert;
        p->home[i] = (struct slabs){e->weights, e->adam_m, e->adam_v};
        if (!exchange_keeps_outbox(w->cfg)) continue;
        w->own[i].outbox = p->home[i];
        if (!moments) w->own[i].outbox.m = w->own[i].outbox.v = NULL;
    }
}

void park_forget(struct worker *w)
{
    struct park *p = w->park;
    if (!p || !w->own) return;
    (void)device_swap_wait(
        w->dev); /* who is still on the way is not missed, but its home is freed */
    (void)device_sync(w->dev);
    for (int s = 0; s < PARK_SETS; s++) {
        if (p->holds[s] != NOBODY) point_to(&w->own[p->holds[s]], &p->home[p->holds[s]]);
        p->holds[s] = NOBODY;
    }
    for (int i = 0; i < w->n_own; i++)
        w->own[i].outbox = (struct slabs){NULL, NULL, NULL};
}

/* ---- coming and going ------------------------------------------------------------------------ */

static int set_of(const struct park *p, int own)
{
    for (int s = 0; s < PARK_SETS; s++)
        if (p->holds[s] == own) return s;
    return NOBODY;
}

/* All slabs of a set to one home, and of another home to the set; a home may be nobody's. */
static enum shoal_status swap(struct worker *w, const struct slabs *set, const struct slabs *leaves,
                              const struct slabs *comes)
{
    static const struct slabs none = {NULL, NULL, NULL};
    const size_t bytes = (size_t)w->table->n_params * sizeof(float);
    if (!leaves) leaves = &none;
    if (!comes) comes = &none;
    SHOAL_TRY(device_swap(w->dev, set->weights, leaves->weights, comes->weights, bytes));
    SHOAL_TRY(device_swap(w->dev, set->m, leaves->m, comes->m, bytes));
    return device_swap(w->dev, set->v, leaves->v, comes->v, bytes);
}

/* Begin to bring an expert into the set that is not in use. */
static enum shoal_status fetch(struct worker *w, int own)
{
    struct park *p = w->park;
    const int s = !p->active, before = p->holds[s];
    const struct slabs *const leaves = before != NOBODY && p->changed[s] ? &p->home[before] : NULL;
    SHOAL_TRY(swap(w, &p->set[s], leaves, &p->home[own]));
    if (before != NOBODY) point_to(&w->own[before], &p->home[before]);
    point_to(&w->own[own], &p->set[s]);
    p->holds[s] = own;
    p->changed[s] = false;
    return SHOAL_OK;
}

enum shoal_status park_bring(struct worker *w, int own)
{
    struct park *p = w->park;
    if (!p) return SHOAL_OK;
    if (set_of(p, own) == NOBODY) SHOAL_TRY(fetch(w, own));
    p->active = set_of(p, own);
    return device_swap_wait(w->dev);
}

enum shoal_status park_bring_next(struct worker *w, int own)
{
    const int next = (own + 1) % w->n_own;
    if (!w->park || set_of(w->park, next) != NOBODY) return SHOAL_OK;
    return fetch(w, next);
}

enum shoal_status park_settle(struct worker *w)
{
    return w->park ? device_swap_wait(w->dev) : SHOAL_OK;
}

void park_touch(struct worker *w, const struct own *own)
{
    struct park *p = w->park;
    const int s = p ? set_of(p, (int)(own - w->own)) : NOBODY;
    if (s != NOBODY) p->changed[s] = true;
}

enum shoal_status park_send_home(struct worker *w)
{
    struct park *p = w->park;
    for (int s = 0; s < PARK_SETS; s++) {
        if (p->holds[s] == NOBODY || !p->changed[s]) continue;
        SHOAL_TRY(swap(w, &p->set[s], &p->home[p->holds[s]], NULL));
        p->changed[s] = false;
    }
    return device_swap_wait(w->dev);
}

/* ---- lending --------------------------------------------------------------------------------- */

enum shoal_status park_lend(struct worker *w, struct pull *pull)
{
    const float *const from[] = {pull->slabs.weights, pull->slabs.m, pull->slabs.v};
    float *const to[] = {w->inbox.weights, w->inbox.m, w->inbox.v};
    const bool is_own = pull->member >= w->first && pull->member < w->first + w->n_own;
    const int slabs = pull->rule->moments == MOMENTS_INHERIT ? 3 : 1;
    if (!w->park || !is_own || !w->inbox.weights) return SHOAL_OK;
    for (int i = 0; i < 2; i++) {
        const struct range r = pull->range[i];
        for (int k = 0; k < slabs; k++)
            SHOAL_TRY(device_copy(w->dev, to[k] + r.begin, from[k] + r.begin,
                                  (size_t)(r.end - r.begin) * sizeof(float)));
    }
    pull->slabs = w->inbox;
    return SHOAL_OK;
}
