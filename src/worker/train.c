/* train.c - a stretch of training: each own expert in turn. */
#include <math.h>
#include "base/clock.h"
#include "optim/optim.h"
#include "worker/worker_impl.h"

/* Next micro-batch of the expert's own stream into w's token buffers. */
static enum shoal_status take_batch(struct worker *w, struct expert *e)
{
    const int64_t context = w->cfg->model.context;
    for (int64_t i = 0; i < w->micro; i++)
        SHOAL_TRY(data_sample(w->train, (uint64_t)w->cfg->run.seed, e->number, e->position++,
                              w->tokens + i * context, w->targets + i * context));
    e->tokens += w->micro * context;
    return SHOAL_OK;
}

enum shoal_status worker_gradients(struct worker *w, struct expert *e, int replicas, double *loss)
{
    const int passes = w->cfg->train.batch / w->micro;
    const float scale = 1.0f / ((float)passes * (float)replicas);
    double sum = 0;
    for (int i = 0; i < passes; i++) {
        double part = 0;
        SHOAL_TRY(take_batch(w, e));
        SHOAL_TRY(gpt_learn(w->gpt, w->tokens, w->targets, w->micro, scale, &part));
        sum += part;
    }
    *loss = sum / passes;
    return SHOAL_OK;
}

/* One optimiser step. *loss: nats per token. */
static enum shoal_status learn(struct worker *w, struct own *own, double *loss,
                               struct optim_result *result)
{
    struct expert *e = own->expert;
    SHOAL_TRY(worker_gradients(w, e, 1, loss));
    return optim_step(w->cfg, e, w->gpt, *loss, &own->past.outlier, result);
}

enum shoal_status worker_report_step(struct worker *w, const struct expert *e, int64_t step,
                                     double loss, const struct optim_result *result,
                                     double tokens_per_s)
{
    const struct report r = {.kind = REPORT_STEP,
                             .worker = w->number,
                             .member = e->number,
                             .step = step,
                             .count = {e->tokens, result->skip},
                             .value = {loss, result->lr, result->grad_norm, tokens_per_s}};
    return comm_report(w->comm, &r, sizeof r);
}

/* Speed since the last call: tokens over time, of one expert while it has the device. */
struct speed {
    double since_s;
    int64_t since_tokens;
};

static double speed_take(struct speed *s, int64_t tokens)
{
    const double now_s = clock_now_s();
    const double rate = (double)(tokens - s->since_tokens) / (now_s - s->since_s + 1e-9);
    s->since_s = now_s;
    s->since_tokens = tokens;
    return rate;
}

static enum shoal_status train_one(struct worker *w, struct own *own, int64_t from, int64_t to)
{
    struct expert *e = own->expert;
    struct speed speed = {clock_now_s(), e->tokens};
    SHOAL_TRY(gpt_load(w->gpt, e->weights));
    SHOAL_TRY(gpt_zero_grads(w->gpt));
    for (int64_t step = from + 1; step <= to; step++) {
        double loss = 0;
        struct optim_result result;
        SHOAL_TRY(learn(w, own, &loss, &result));
        own->past.loss_sum += loss;
        own->past.losses++;
        own->past.last_loss = result.skip == SKIP_NOT_FINITE ? NAN : loss;
        SHOAL_TRY(worker_round_due(w, own, step));
        SHOAL_TRY(worker_save_poll(w));
        if (step % w->cfg->run.log == 0 || result.skip != SKIP_NONE)
            SHOAL_TRY(worker_report_step(w, e, step, loss, &result, speed_take(&speed, e->tokens)));
    }
    return SHOAL_OK;
}

enum shoal_status worker_train(struct worker *w, int64_t from, int64_t to)
{
    w->mean_fresh = false;
    if (w->parallel) return parallel_train(w, from, to);
    for (int i = 0; i < w->n_own; i++) {
        SHOAL_TRY(worker_save_before(w, i));
        SHOAL_TRY(train_one(w, &w->own[i], from, to));
    }
    return worker_round_done(w, to);
}
