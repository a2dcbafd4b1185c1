/* protocol.h - the records that travel between workers and coordinator. Plain data, sent as bytes
 * between processes of the same program on machines of the same kind. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "config/config.h"
#include "evo/live.h"
#include "evo/select.h"

/* What somebody outside wants of a running run; a later one includes those before it. */
enum wish { WISH_NONE, WISH_SNAPSHOT, WISH_STOP };

enum report_kind {
    REPORT_STEP = 1, /* an expert has trained: value = {loss, lr, grad_norm, tokens_per_s}, count =
                        {tokens, enum skip of this step} */
    REPORT_FITNESS,  /* a member was judged: value = {fitness, seconds since the worker began to
                        judge},  count = {steps it skipped so far} */
    REPORT_EVAL,     /* the best member was evaluated: value = {loss, seconds}, count = {tokens} */
    REPORT_ROUND,    /* a round was applied: value = {seconds of exchange, seconds it kept from
                        training, seconds of training since the last one began or NAN}, count =
                        {bytes all workers sent since the last report}; member = attractor */
    REPORT_WROTE,    /* an expert's shard is on disk: value = {seconds, seconds the worker did not
                        train for it since its last such report}, count = {bytes, most memory
                        the worker has held so far, the bits of its digest} */
    REPORT_FAILED,   /* an expert's shard could not be written */
    REPORT_LINEAGE,  /* what became of an expert in the round after a judging: value = {distance,
                        lr_scale, kind}, count = {body, io}, as in a lineage_row (ledger.h) */
    REPORT_DEVICE, /* a worker is ready: value = {FLOP/s of its device at best, NAN: unknown; FLOPs
                      a token takes} */
    REPORT_WISH,   /* a worker standing at `step` was signalled: count = {enum wish, signal} */
    REPORT_HALTED, /* as asked, all workers stand at `step`, between two judgings, before the round
                      of this step */
    REPORT_PLACE   /* the answer to an announcement: count = {passes of this worker so far, its
                      epoch} */
};

struct report {
    int32_t kind; /* enum report_kind */
    int32_t worker;
    int32_t member; /* expert number, or K for the recombinant */
    int32_t reserved;
    int64_t step;
    int64_t count[3];
    double value[4];
};

/* What every worker does next. Carried out in the order of the fields. */
struct order {
    int64_t step;   /* the step all experts stand at */
    int32_t halt;   /* nonzero: no order of its own, the rest means nothing. Workers that train halt
                       after their next round, all at the same step, report it and wait for an order;
                       those that judge or wait go on */
    int32_t judged; /* nonzero: the last judging was at this very step */
    int32_t best;   /* standing decision: the best member at the last judging; K: the recombinant */
    int32_t save_best; /* nonzero: whoever holds member `best` writes best.h5 */
    int32_t eval;      /* nonzero: whoever holds member `best` evaluates it, reports */
    int32_t snapshot;  /* nonzero: write shards, report each */
    int32_t stop;      /* nonzero: the run ends here; the only way a worker's loop ends */
    int32_t round;     /* nonzero: begin a round now */
    int64_t every;     /* steps between rounds */
    int64_t until;     /* train to this step, with rounds at multiples of `every` before it, then
                          judge and report every member's fitness */
    double best_fitness;
    struct live_set live; /* whose fitness was finite at the last judging; last: see order_bytes */
};

/* Who takes part from now on, because somebody was lost. Workers leave what needs the others, say
 * how many passes they have made (members.h) and wait until all have. Then they connect anew: who
 * has not made `passed` of them has what the next brings and passes it, and what was begun after
 * that begins again. */
struct announcement {
    uint32_t epoch;
    int32_t ready; /* nonzero: all have said where they are */
    int64_t passed;
    int32_t
        best; /* who leads while the best of the last judging is lost; that one where it lives */
    int32_t reserved;
    struct live_set live; /* of workers; there are no more of them than experts can be */
};

/* What of an order travels in a population of `experts`. Where experts follow different ones
 * (select.h), the record goes on with the experts in the order of their fitness at the last
 * judging, best first, a uint16 each. */
static inline size_t order_bytes(int experts)
{
    return offsetof(struct order, live) + live_words(experts) * sizeof(uint64_t);
}

/* Whether it does, and the bytes of the whole record. */
static inline bool order_ranks(const struct config *c)
{
    return select_applies((enum attractor)c->evolution.body.attractor) ||
           select_applies((enum attractor)c->evolution.io.attractor);
}
static inline size_t order_record_bytes(const struct config *c)
{
    const size_t experts = (size_t)c->population.experts;
    return order_bytes(c->population.experts) + (order_ranks(c) ? experts * sizeof(uint16_t) : 0);
}
