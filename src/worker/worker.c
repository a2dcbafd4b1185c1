/* worker.c - a worker's life: obey an order, train, exchange, judge, report; until told to stop. */
#include "base/clock.h"
#include <string.h>
#include "base/memory.h"
#include "evo/operators.h"
#include "model/flops.h"
#include "worker/worker_impl.h"

int worker_first_expert(int worker, int workers, int experts)
{
    return (int)((int64_t)worker * experts / workers);
}

int worker_of_expert(int expert, int workers, int experts)
{
    int worker = (int)((int64_t)expert * workers / experts);
    while (worker_first_expert(worker + 1, workers, experts) <= expert)
        worker++;
    return worker;
}

struct gpt_setup worker_setup(const struct config *cfg)
{
    return (struct gpt_setup){.batch = cfg->train.micro_batch > 0 ? cfg->train.micro_batch
                                                                  : cfg->train.batch,
                              .context = cfg->model.context,
                              .precision = (enum precision)cfg->train.precision,
                              .learns = true,
                              .recompute = (enum recompute)cfg->train.recompute};
}

bool worker_evolves(const struct config *cfg)
{
    return evo_rule_active(&cfg->evolution.body) || evo_rule_active(&cfg->evolution.io);
}

enum shoal_status worker_create(const struct config *cfg, struct comm *comm, int device,
                                const struct worker_origin *origin, struct worker **out)
{
    struct worker *w = NULL;
    *out = NULL;
    SHOAL_TRY(mem_alloc(sizeof *w, "a worker", &w));
    w->cfg = cfg;
    w->comm = comm;
    w->device = device;
    enum shoal_status st = SHOAL_OK;
    (void)snprintf(w->run_id, sizeof w->run_id, "%s", origin->run_id);
    SHOAL_GOTO(worker_build(w, origin->resume));
    *out = w;
    w = NULL;
done:
    worker_destroy(&w);
    return st;
}

static void free_slabs(struct device *dev, struct slabs *s)
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
    for (int i = 0; w->own && i < w->n_own; i++) {
        if (w->dev) free_slabs(w->dev, &w->own[i].outbox);
        expert_destroy(&w->own[i].expert);
        mem_free(w->own[i].past.judgings);
        mem_free(w->own[i].past.lineage);
    }
    mem_free(w->own);
    gpt_destroy(&w->gpt);
    parallel_destroy(w);
    if (w->dev) {
        free_slabs(w->dev, &w->mean);
        free_slabs(w->dev, &w->inbox);
        if (w->moved) device_free(w->dev, w->moved);
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
    mem_free(w->parts_of);
    mem_free(w->fitness);
    mem_free(w->alive);
    mem_free(w->record);
    mem_free(w->source);
    mem_free(w->rates);
    mem_free(w->pass_losses);
    mem_free(w->config_text);
    mem_free(w);
    *worker = NULL;
}

struct device *worker_device(const struct worker *w)
{
    return w ? w->dev : NULL;
}

/* From order->step to order->until: train, with rounds in between. */
static enum shoal_status advance(struct worker *w, const struct order *order)
{
    const int64_t every = order->every;
    w->round_s = clock_now_s();
    for (int64_t step = order->step; step < order->until;) {
        const int64_t round = (step / every + 1) * every;
        const int64_t next = round < order->until ? round : order->until;
        SHOAL_TRY(worker_train(w, step, next));
        if (next < order->until) SHOAL_TRY(worker_round(w, order, next, false));
        step = next;
    }
    return SHOAL_OK;
}

static enum shoal_status report_device(struct worker *w)
{
    const struct report r = {.kind = REPORT_DEVICE,
                             .worker = w->number,
                             .value = {w->peak_flops_per_s, gpt_flops_per_token(&w->table->shape)}};
    return comm_report(w->comm, &r, sizeof r);
}

/* The next order, and the ranking that comes with it where a rule needs it. */
static enum shoal_status obey(struct worker *w, struct order *order)
{
    const size_t bytes = order_bytes(w->cfg->population.experts);
    SHOAL_TRY(comm_obey(w->comm, w->record, order_record_bytes(w->cfg)));
    memcpy(order, w->record, bytes);
    if (order_ranks(w->cfg)) w->ranked = (const uint16_t *)(const void *)(w->record + bytes);
    return SHOAL_OK;
}

enum shoal_status worker_run(struct worker *w)
{
    struct order order = {0};
    SHOAL_TRY(report_device(w));
    for (;;) {
        SHOAL_TRY(obey(w, &order));
        if (order.save_best) SHOAL_TRY(worker_save_best(w, &order));
        if (order.eval) SHOAL_TRY(worker_eval(w, &order));
        if (order.snapshot) SHOAL_TRY(worker_write_shards(w, order.step));
        if (order.stop) return SHOAL_OK;
        if (order.round) SHOAL_TRY(worker_round(w, &order, order.step, true));
        SHOAL_TRY(advance(w, &order));
        SHOAL_TRY(worker_round_drop(w));
        SHOAL_TRY(worker_judge(w, order.until));
    }
}
