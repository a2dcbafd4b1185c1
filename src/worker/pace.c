/* pace.c - see pace.h. */
#include "worker/pace.h"
#include "base/clock.h"
#include "base/memory.h"
#include "optim/optim.h"
#include "worker/worker.h"

enum { LEAST_ROUNDS = 2 };

struct timing {
    struct device *dev;
    const struct config *c;
    struct expert *expert;
    struct gpt *gpt;
    int batch;
    int32_t *tokens, *targets; /* (batch, context) */
    struct outlier outlier;
};

static enum shoal_status timing_open(struct timing *t, const struct param_table *table)
{
    const struct gpt_setup setup = worker_setup(t->c);
    const size_t n = (size_t)setup.batch * (size_t)setup.context;
    const struct rng_key key = {.seed = 1, .stream = RNG_DATA};
    t->batch = setup.batch;
    SHOAL_TRY(expert_create(t->dev, table, 0, false, false, &t->expert));
    SHOAL_TRY(expert_init(t->expert, 1, 0, table->shape.layers));
    SHOAL_TRY(gpt_create(t->dev, table, setup, &t->gpt));
    SHOAL_TRY(gpt_load(t->gpt, t->expert->weights));
    SHOAL_TRY(gpt_zero_grads(t->gpt));
    SHOAL_TRY(mem_alloc(n * sizeof *t->tokens, "tokens", &t->tokens));
    SHOAL_TRY(mem_alloc(n * sizeof *t->targets, "targets", &t->targets));
    for (size_t i = 0; i < n; i++) {
        t->tokens[i] = (int32_t)(rng_bits(key, i) % (uint32_t)table->shape.vocab);
        t->targets[i] = (int32_t)(rng_bits(key, i + 1) % (uint32_t)table->shape.vocab);
    }
    return SHOAL_OK;
}

static void timing_close(struct timing *t)
{
    mem_free(t->tokens);
    mem_free(t->targets);
    gpt_destroy(&t->gpt);
    expert_destroy(&t->expert);
}

/* One of each. */
static enum shoal_status time_once(struct timing *t, struct pace *p)
{
    struct optim_result result;
    double loss;
    const double start_s = clock_now_s();
    SHOAL_TRY(gpt_learn(t->gpt, t->tokens, t->targets, t->batch, 1.0f, &loss));
    SHOAL_TRY(device_sync(t->dev));
    const double learned_s = clock_now_s();
    SHOAL_TRY(optim_step(t->c, t->expert, t->gpt, loss, &t->outlier, &result));
    SHOAL_TRY(device_sync(t->dev));
    const double stepped_s = clock_now_s();
    SHOAL_TRY(gpt_judge(t->gpt, t->tokens, t->targets, t->batch, &loss));
    *p = (struct pace){learned_s - start_s, stepped_s - learned_s, clock_now_s() - stepped_s};
    return SHOAL_OK;
}

enum shoal_status pace_measure(struct device *dev, const struct config *c,
                               const struct param_table *table, double budget_s, struct pace *pace)
{
    enum shoal_status st = SHOAL_OK;
    struct timing t = {.dev = dev, .c = c};
    struct pace p, sum = {0};
    double end_s;
    int n = 0;
    SHOAL_GOTO(timing_open(&t, table));
    SHOAL_GOTO(time_once(&t, &p));
    end_s = clock_now_s() + budget_s;
    do {
        SHOAL_GOTO(time_once(&t, &p));
        sum.pass_s += p.pass_s;
        sum.optim_s += p.optim_s;
        sum.judge_s += p.judge_s;
        n++;
    } while (n < LEAST_ROUNDS || clock_now_s() < end_s);
    *pace = (struct pace){sum.pass_s / n, sum.optim_s / n, sum.judge_s / n};
done:
    timing_close(&t);
    return st;
}

double pace_step(const struct pace *p, const struct config *c)
{
    const int passes = c->train.batch / worker_setup(c).batch;
    return passes * p->pass_s + p->optim_s;
}
