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
        SHOAL_TRY(gpt_learn(w->gpt, w->tokens, w->targets, w->micro, scale, loss ? &part : NULL));
        sum += part;
    }
    if (loss) *loss = sum / passes;
    return SHOAL_OK;
}

enum shoal_status worker_report_step(struct worker *w, const struct expert *e, const struct step *s,
                                     double tokens_per_s)
{
    const struct report r = {.kind = REPORT_STEP,
                             .worker = w->number,
                             .member = e->number,
                             .step = s->number,
                             .count = {s->tokens, s->result.skip},
                             .value = {s->loss, s->result.lr, s->result.grad_norm, tokens_per_s}};
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

/* Whether the host queues a step before it knows how the last one went, as it does where it would
 * have to wait. An outlier must be seen before its step is taken. */
static bool comes_later(const struct worker *w)
{
    return w->cfg->train.skip <= 0 && !device_is_host(w->dev);
}

static int turn_of(const struct step *s)
{
    return (int)(s->number % 2);
}

/* One optimiser step; what is known of it at once. */
static enum shoal_status learn(struct worker *w, struct own *own, struct step *s)
{
    struct expert *e = own->expert;
    const bool later = comes_later(w);
    SHOAL_TRY(worker_gradients(w, e, 1, later ? NULL : &s->loss));
    s->tokens = e->tokens;
    if (later) return optim_queue(w->cfg, e, w->gpt, turn_of(s), &s->result);
    return optim_step(w->cfg, e, w->gpt, s->loss, &own->past.outlier, &s->result);
}

/* The rest, and what there is to do then. */
static enum shoal_status note_step(struct worker *w, struct own *own, struct step *s,
                                   struct speed *speed)
{
    if (comes_later(w)) {
        SHOAL_TRY(
            optim_await(w->cfg, w->gpt, turn_of(s), &own->past.outlier, &s->loss, &s->result));
        s->loss /= w->cfg->train.batch / w->micro;
    }
    own->past.loss_sum += s->loss;
    own->past.losses++;
    own->past.last_loss = s->result.skip == SKIP_NOT_FINITE ? NAN : s->loss;
    if (s->number % w->cfg->run.log != 0 && s->result.skip == SKIP_NONE) return SHOAL_OK;
    return worker_report_step(w, own->expert, s, speed_take(speed, s->tokens));
}

static enum shoal_status train_one(struct worker *w, struct own *own, int64_t from, int64_t to)
{
    struct expert *e = own->expert;
    struct speed speed = {clock_now_s(), e->tokens};
    struct step step[2];
    const int64_t behind = comes_later(w) ? 1 : 0;
    const int index = (int)(own - w->own);
    SHOAL_TRY(park_bring(w, index));
    SHOAL_TRY(park_bring_next(w, index));
    park_touch(w, own);
    SHOAL_TRY(gpt_load(w->gpt, e->weights));
    SHOAL_TRY(gpt_zero_grads(w->gpt));
    for (int64_t k = from + 1; k <= to; k++) {
        step[k % 2].number = k;
        SHOAL_TRY(learn(w, own, &step[k % 2]));
        SHOAL_TRY(worker_round_due(w, own, k));
        SHOAL_TRY(worker_save_poll(w));
        if (k - behind > from) SHOAL_TRY(note_step(w, own, &step[(k - behind) % 2], &speed));
    }
    return behind && to > from ? note_step(w, own, &step[to % 2], &speed) : SHOAL_OK;
}

enum shoal_status worker_train(struct worker *w, int64_t from, int64_t to)
{
    w->mean_fresh = false;
    if (w->parallel) return parallel_train(w, from, to);
    for (int i = 0; i < w->n_own; i++) {
        SHOAL_TRY(worker_save_before(w, i));
        SHOAL_TRY(train_one(w, &w->own[i], from, to));
    }
    SHOAL_TRY(park_settle(w));
    return worker_round_done(w, to);
}
