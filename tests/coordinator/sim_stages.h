/* sim_stages.h - what the files of the simulated worker share. A stage says what comes next and
 * returns how long until then: GO_ON, a time, or GROUP_WAIT when something else will wake it. */
#pragma once
#include "coordinator/world.h"

enum { GO_ON = 0 };
/* Microseconds of work. */
enum { TRAIN_US = 400, JUDGE_US = 300, WRITE_US = 500, MOVE_US = 50 };

static inline int first_expert(const struct world *s, int worker)
{
    return (int)((int64_t)worker * s->oracle.experts / s->n_workers);
}

static inline int owner(const struct world *s, int expert)
{
    int w = (int)((int64_t)expert * s->n_workers / s->oracle.experts);
    while (first_expert(s, w + 1) <= expert)
        w++;
    return w;
}

static inline bool owns(const struct sim_worker *w, int expert)
{
    return expert >= w->first && expert < w->first + w->n_own;
}

static inline bool is_mean(const struct world *s, int member)
{
    return member == s->oracle.experts;
}

/* Whether this worker speaks for a member: its owner, or worker 0 for the mean. */
static inline bool holds(const struct world *s, const struct sim_worker *w, int member)
{
    return is_mean(s, member) ? w->number == 0 : owns(w, member);
}

/* The order it took last, a call to halt or not. */
static inline const struct order *current(const struct world *s, const struct sim_worker *w)
{
    return &s->orders[w->n_done - 1];
}

static inline int64_t go(struct sim_worker *w, enum stage next, int64_t delay)
{
    w->stage = next;
    return delay;
}

static inline void say(struct world *s, struct sim_worker *w, enum report_kind kind, int member,
                       int64_t step, double value)
{
    const struct report r = {
        .kind = kind, .worker = w->number, .member = member, .step = step, .value = {value}};
    world_say(s, w, &r);
}

static inline void say_count(struct world *s, struct sim_worker *w, enum report_kind kind,
                             int64_t step, int64_t count)
{
    const struct report r = {.kind = kind, .worker = w->number, .step = step, .count = {count}};
    world_say(s, w, &r);
}

/* ---- sim_round.c ---- */

const struct evo_rule *sim_rule(const struct world *s, int group);

/* Go on with the round of a step; judged: it follows a judging there. */
int64_t sim_begin_round(const struct world *s, struct sim_worker *w, int64_t step, bool judged);
int64_t sim_rescue(struct world *s, struct sim_worker *w);
int64_t sim_rescued(struct world *s, struct sim_worker *w);
int64_t sim_ordered_round(struct world *s, struct sim_worker *w);
int64_t sim_find_live(struct world *s, struct sim_worker *w);
int64_t sim_choose(struct world *s, struct sim_worker *w);
int64_t sim_fetch(struct world *s, struct sim_worker *w);
int64_t sim_fetched(struct world *s, struct sim_worker *w);
int64_t sim_move(struct world *s, struct sim_worker *w);
int64_t sim_round_done(struct world *s, struct sim_worker *w);

/* ---- sim_follow.c ---- */

/* Find out who follows whom in the round at hand. */
void sim_find_follows(const struct world *s, struct sim_worker *w);
int64_t sim_follow(struct world *s, struct sim_worker *w);
