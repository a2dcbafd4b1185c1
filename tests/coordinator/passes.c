/* passes.c - see passes.h.
 *
 * A pass is an exchange, which adds up who takes part, and a barrier. A worker is lost when it has
 * died, and sometimes when it is merely slow: then it goes on until it hears that it is out. What
 * the coordinator says arrives late, and at each worker at another time. */
#include "coordinator/passes.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "coordinator/state.h"

enum { WORKERS = 8, PASSES = 6, NEWS = 2 * WORKERS + 2, STEPS = 100000 };

enum phase { TRAIN, WORK, BARRIER, RENEW, DONE };

struct group {
    uint32_t work, barrier; /* who has come */
};

struct worker {
    enum phase phase;
    bool dead, gone; /* gone: declared lost; it may not know yet */
    uint32_t epoch, told;
    int passed, news; /* passes made; announcements that have arrived */
    bool has;         /* what the present pass brings: */
    uint32_t data;
    uint32_t applied[PASSES];
    struct report place; /* on its way; kind 0: none */
};

struct world {
    uint64_t draw;
    int n;
    struct worker worker[WORKERS];
    uint32_t live[WORKERS + 1]; /* members of each epoch */
    struct group group[WORKERS + 1][PASSES];
    struct announcement news[NEWS];
    int n_news;
    struct coordinator_state *coordinator;
    struct passes_outcome *out;
};

static int draw(struct world *s, int below)
{
    s->draw ^= s->draw << 13;
    s->draw ^= s->draw >> 7;
    s->draw ^= s->draw << 17;
    return (int)((s->draw >> 33) % (uint64_t)below);
}

static void broken(struct world *s, const char *format, ...)
{
    va_list arguments;
    if (s->out->broken[0]) return;
    va_start(arguments, format);
    (void)vsnprintf(s->out->broken, sizeof s->out->broken, format, arguments);
    va_end(arguments);
}

static void give(struct world *s, const struct event *event)
{
    struct actions a;
    if (coordinator_step(s->coordinator, event, &a) != SHOAL_OK)
        broken(s, "the coordinator fails with workers left");
    if (!a.announce || s->out->broken[0]) return;
    if (s->n_news > 0 && a.announcement.epoch < s->news[s->n_news - 1].epoch)
        broken(s, "epoch %u comes back", (unsigned)a.announcement.epoch);
    s->news[s->n_news++] = a.announcement;
    for (int w = 0; w < s->n; w++)
        if (live_has(&a.announcement.live, w)) s->live[a.announcement.epoch] |= 1u << w;
    s->out->epochs = (int)a.announcement.epoch;
}

static void apply(struct world *s, int i)
{
    struct worker *w = &s->worker[i];
    if (!w->has) broken(s, "worker %d passes without what pass %d brings", i, w->passed);
    w->applied[w->passed++] = w->data;
    w->has = false;
    w->phase = w->passed == PASSES ? DONE : TRAIN;
}

/* What it does when members change; news: the newest that has arrived. */
static void renew(struct world *s, int i, const struct announcement *news)
{
    struct worker *w = &s->worker[i];
    if (!live_has(&news->live, i)) {
        w->dead = true;
        return;
    }
    w->phase = RENEW;
    if (!news->ready) {
        if (w->told == news->epoch || w->place.kind) return;
        w->told = news->epoch;
        w->place =
            (struct report){.kind = REPORT_PLACE, .worker = i, .count = {w->passed, news->epoch}};
        return;
    }
    w->epoch = news->epoch;
    if (news->passed > w->passed) {
        s->out->made_up++;
        apply(s, i);
    } else {
        s->out->repeated += w->has;
        w->phase = w->passed == PASSES ? DONE : TRAIN;
    }
    if (news->passed != w->passed) broken(s, "worker %d is not where the others are", i);
    w->has = false;
}

static void go(struct world *s, int i)
{
    struct worker *w = &s->worker[i];
    struct group *g = &s->group[w->epoch][w->passed % PASSES];
    const uint32_t live = s->live[w->epoch], me = 1u << i;
    const struct announcement *news = w->news > 0 ? &s->news[w->news - 1] : NULL;
    if (news && news->epoch > w->epoch && (w->phase == RENEW || draw(s, 2))) {
        renew(s, i, news);
        return;
    }
    if (w->phase == TRAIN) {
        g->work |= me;
        w->phase = WORK;
    } else if (w->phase == WORK && (g->work & live) == live) {
        w->has = true;
        w->data = g->work;
        g->barrier |= me;
        w->phase = BARRIER;
    } else if (w->phase == BARRIER && (g->barrier & live) == live) {
        apply(s, i);
    }
}

static int survivors(const struct world *s)
{
    int n = 0;
    for (int i = 0; i < s->n; i++)
        n += !s->worker[i].dead && !s->worker[i].gone;
    return n;
}

static void lose(struct world *s, int i)
{
    struct worker *w = &s->worker[i];
    const struct event event = {.kind = EVENT_LOST, .worker = i};
    const bool may = w->dead || (draw(s, 40) == 0 && survivors(s) > 1);
    if (w->gone || !may) return;
    w->gone = true;
    s->out->lost++;
    give(s, &event);
}

static void happen(struct world *s)
{
    const int i = draw(s, s->n), what = draw(s, 12);
    struct worker *w = &s->worker[i];
    if (what == 0 && w->place.kind) {
        const struct event event = {.kind = EVENT_REPORT, .report = w->place};
        w->place.kind = 0;
        give(s, &event);
    } else if (what == 1) {
        w->news += w->news < s->n_news;
    } else if (what == 2 && draw(s, 8) == 0) {
        lose(s, i);
    } else if (what == 3 && draw(s, 30) == 0 && survivors(s) > 1 && !w->gone) {
        w->dead = true;
    } else if (!w->dead) {
        go(s, i);
    }
}

static bool all_done(const struct world *s)
{
    for (int i = 0; i < s->n; i++) {
        const struct worker *w = &s->worker[i];
        if (w->dead != w->gone) return false;
        if (!w->dead && (w->phase != DONE || w->place.kind || w->epoch != (uint32_t)s->out->epochs))
            return false;
    }
    return true;
}

/* All survivors have applied the same, and it was of all of them. */
static void check_end(struct world *s)
{
    const struct worker *first = NULL;
    for (int i = 0; i < s->n; i++) {
        const struct worker *w = &s->worker[i];
        if (w->dead) continue;
        if (!first) first = w;
        for (int p = 0; p < PASSES; p++) {
            if (w->applied[p] != first->applied[p])
                broken(s, "worker %d has applied another pass %d than the others", i, p);
            if ((w->applied[p] >> i & 1) == 0) broken(s, "worker %d is no part of pass %d", i, p);
        }
    }
}

void passes_simulate(uint64_t seed, struct passes_outcome *out)
{
    struct world *s = calloc(1, sizeof *s);
    const struct event start = {.kind = EVENT_START};
    struct config c = {.population.experts = WORKERS,
                       .evolution = {.every = 1, .judge = 10, .recombine = true},
                       .run.steps = 100};
    if (!s) abort();
    memset(out, 0, sizeof *out);
    s->out = out;
    s->draw = (seed + 1) * 0x9E3779B97F4A7C15u;
    s->n = 2 + draw(s, WORKERS - 1);
    s->live[0] = (1u << s->n) - 1;
    c.population.experts = s->n;
    if (coordinator_state_create(&c, s->n, NULL, NULL, 0, &s->coordinator) != SHOAL_OK) abort();
    give(s, &start);
    for (int step = 0; !out->broken[0] && !all_done(s); step++) {
        happen(s);
        if (step == STEPS) broken(s, "somebody waits for ever");
    }
    if (!out->broken[0]) check_end(s);
    coordinator_state_destroy(&s->coordinator);
    free(s);
}
