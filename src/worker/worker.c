/* worker.c - a worker's life: obey an order, train, exchange, judge, report; until told to stop. */
#include "base/clock.h"
#include <string.h>
#include "base/memory.h"
#include "evo/operators.h"
#include "evo/owners.h"
#include "model/flops.h"
#include "worker/worker_impl.h"

int worker_first_expert(int worker, int workers, int experts)
{
    return owners_first(worker, workers, experts);
}

int worker_of_expert(int expert, int workers, int experts)
{
    return owners_of(expert, workers, experts);
}

struct gpt_setup worker_setup(const struct config *cfg)
{
    return (struct gpt_setup){.batch = cfg->train.micro_batch > 0 ? cfg->train.micro_batch
                                                                  : cfg->train.batch,
                              .context = cfg->model.context,
                              .precision = (enum precision)cfg->train.precision,
                              .learns = true,
                              .recompute = (enum recompute)cfg->train.recompute,
                              .graph = cfg->train.graph};
}

bool worker_evolves(const struct config *cfg)
{
    return evo_rule_active(&cfg->evolution.body) || evo_rule_active(&cfg->evolution.io);
}

enum shoal_status worker_create(const struct config *cfg, struct comm *comm, int device,
                                struct worker **out)
{
    struct worker *w = NULL;
    *out = NULL;
    SHOAL_TRY(mem_alloc(sizeof *w, "a worker", &w));
    w->cfg = cfg;
    w->comm = comm;
    w->device = device;
    enum shoal_status st = SHOAL_OK;
    SHOAL_GOTO(worker_build(w));
    *out = w;
    w = NULL;
done:
    worker_destroy(&w);
    return st;
}

void worker_forget_experts(struct worker *w)
{
    park_forget(w);
    for (int i = 0; w->own && i < w->n_own; i++) {
        expert_destroy(&w->own[i].expert);
        shard_past_free(&w->own[i].past);
        w->own[i] = (struct own){.outbox = w->own[i].outbox, .lost = w->own[i].lost};
    }
}

void worker_free_slabs(struct device *dev, struct slabs *s)
{
    float *const slab[] = {s->weights, s->m, s->v};
    for (int i = 0; i < 3; i++)
        if (slab[i]) device_free(dev, slab[i]);
}

void worker_destroy(struct worker **worker)
{
    struct worker *w = *worker;
    if (!w) return;
    job_destroy(&w->job);
    worker_save_destroy(w);
    worker_forget_experts(w);
    for (int i = 0; w->own && w->dev && i < w->n_own; i++) {
        worker_free_slabs(w->dev, &w->own[i].outbox);
        device_free(w->dev, w->own[i].lost);
    }
    mem_free(w->own);
    gpt_destroy(&w->gpt);
    parallel_destroy(w);
    park_destroy(w);
    if (w->dev) {
        worker_free_slabs(w->dev, &w->mean);
        worker_free_slabs(w->dev, &w->inbox);
        if (w->moved) device_free(w->dev, w->moved);
        device_free(w->dev, w->lost_mean);
        if (w->outer.agreed) device_free(w->dev, w->outer.agreed);
        if (w->outer.velocity) device_free(w->dev, w->outer.velocity);
    }
    param_table_destroy(&w->table);
    comm_detach(w->comm);
    device_close(&w->dev);
    data_close(&w->train);
    data_close(&w->val);
    mem_free(w->tokens);
    mem_free(w->targets);
    mem_free(w->parts);
    mem_free(w->lost);
    mem_free(w->parts_of);
    mem_free(w->fitness);
    mem_free(w->alive);
    mem_free(w->record);
    mem_free(w->source);
    mem_free(w->rates);
    mem_free(w->followed);
    mem_free(w->told);
    mem_free(w->pass_losses);
    mem_free(w->config_text);
    mem_free(w);
    *worker = NULL;
}

struct device *worker_device(const struct worker *w)
{
    return w ? w->dev : NULL;
}

int worker_threads(const struct worker *w)
{
    return w->threads;
}

/* All experts change at once, so none may be left to be copied. */
static enum shoal_status round_now(struct worker *w, const struct order *order, int64_t step,
                                   bool judged)
{
    SHOAL_TRY(worker_save_before(w, w->n_own - 1));
    return worker_round(w, order, step, judged);
}

/* The same before the dead are replaced. */
static enum shoal_status rescue_now(struct worker *w, const struct order *order)
{
    SHOAL_TRY(worker_save_before(w, w->n_own - 1));
    return worker_rescue(w, order);
}

/* From order->step to order->until, or to a halt before it: train, with rounds in between.
 * *reached: how far. A round is applied before the next may begin, so where it would begin is a
 * good place to halt: nothing is under way. */
static enum shoal_status advance(struct worker *w, const struct order *order, int64_t *reached)
{
    const int64_t every = order->every;
    bool halts = false;
    w->round_s = clock_now_s();
    for (*reached = order->step;;) {
        const int64_t round = (*reached / every + 1) * every;
        const int64_t next = round < order->until ? round : order->until;
        SHOAL_TRY(worker_train(w, *reached, next));
        *reached = next;
        if (next == order->until) return worker_round_drop(w);
        SHOAL_TRY(worker_halts(w, next, &halts));
        if (halts) return SHOAL_OK;
        SHOAL_TRY(round_now(w, order, next, false));
    }
}

/* Whether the judging at `step` may be followed by a snapshot. The one before is then finished
 * first, so that never two are under way. */
static bool may_snapshot(const struct worker *w, int64_t step)
{
    const struct config *c = w->cfg;
    const double nearly = 10.0; /* seconds by which clocks may differ, and more */
    const double left_s = c->run.minutes * 60.0 - (clock_now_s() - w->began_s);
    return (c->snapshot.every > 0 && step % c->snapshot.every == 0) || step >= c->run.steps ||
           (c->run.minutes > 0 && left_s < nearly);
}

/* Train as ordered and judge, or halt. */
static enum shoal_status work(struct worker *w, const struct order *order)
{
    int64_t reached;
    SHOAL_TRY(advance(w, order, &reached));
    /* Where the run halts it is saved, and nothing else may be on its way to disk. */
    const bool halts = reached < order->until;
    if (halts || may_snapshot(w, reached)) SHOAL_TRY(worker_save_drain(w));
    if (halts) return worker_report_halt(w, reached);
    SHOAL_TRY(worker_save_await_best(w));
    SHOAL_TRY(worker_pass_wishes(w, reached));
    return worker_judge(w, reached);
}

static enum shoal_status report_device(struct worker *w)
{
    const struct report r = {.kind = REPORT_DEVICE,
                             .worker = w->number,
                             .value = {w->peak_flops_per_s, gpt_flops_per_token(&w->table->shape)}};
    return comm_report(w->comm, &r, sizeof r);
}

/* The next order of its own, for what it asked before is answered; and the ranking that comes with
 * it where a rule needs it. */
static enum shoal_status obey(struct worker *w, struct order *order)
{
    const size_t bytes = order_bytes(w->cfg->population.experts);
    do {
        SHOAL_TRY(worker_await_order(w));
        memcpy(order, w->record, bytes);
    } while (order->halt);
    worker_mend_order(w, order);
    if (order_ranks(w->cfg)) w->ranked = (const uint16_t *)(const void *)(w->record + bytes);
    return SHOAL_OK;
}

static enum shoal_status leave(struct worker *w)
{
    const enum shoal_status st = worker_save_end(w);
    return st == SHOAL_OK ? worker_linger(w) : st;
}

enum shoal_status worker_run(struct worker *w)
{
    struct order *const order = &w->order;
    SHOAL_TRY(report_device(w));
    for (;;) {
        SHOAL_TRY(obey(w, order));
        SHOAL_TRY(worker_save_best(w, order));
        if (order->eval) SHOAL_TRY(worker_eval(w, order));
        if (order->snapshot) SHOAL_TRY(worker_write_shards(w, order->step));
        if (order->stop) return leave(w);
        if (order->round && order->judged) SHOAL_TRY(rescue_now(w, order));
        if (order->round) SHOAL_TRY(round_now(w, order, order->step, order->judged != 0));
        SHOAL_TRY(work(w, order));
    }
}
