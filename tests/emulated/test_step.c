/* A training step on the emulated device waits for nothing but the step before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "config/config.h"
#include "emulated/emulated.h"
#include "kernels/cuda/cuda.h"
#include "model/fixture.h"
#include "optim/optim.h"

enum { STEPS = 5, PASSES = 2, BATCH = 1, CONTEXT = 8, TOKENS = BATCH * CONTEXT };

struct training {
    struct config config;
    struct device *dev;
    struct param_table *table;
    struct expert *expert;
    struct gpt *gpt;
};

static void training_open(struct training *t)
{
    struct gpt_shape shape = fixture_gpt2(1, 2, 16, 20);
    const struct gpt_setup setup = {
        .batch = BATCH, .context = CONTEXT, .precision = PRECISION_BF16, .learns = true};
    shape.context = CONTEXT;
    config_defaults(&t->config);
    require_ok(device_open("cuda", 0, 1, &t->dev));
    require_ok(param_table_create(&shape, &t->table));
    require_ok(expert_create(t->dev, t->table, 0, false, false, &t->expert));
    require_ok(expert_init(t->expert, 1, 0, 1));
    require_ok(gpt_create(t->dev, t->table, setup, &t->gpt));
    require_ok(gpt_load(t->gpt, t->expert->weights));
    require_ok(gpt_zero_grads(t->gpt));
}

static void training_close(struct training *t)
{
    gpt_destroy(&t->gpt);
    expert_destroy(&t->expert);
    param_table_destroy(&t->table);
    device_close(&t->dev);
}

/* The host's tokens are rubbish as soon as they were handed over. */
static void queue_step(struct training *t, int step, struct optim_result *result)
{
    int32_t tokens[TOKENS], targets[TOKENS];
    for (int pass = 0; pass < PASSES; pass++) {
        for (int i = 0; i < TOKENS; i++) {
            tokens[i] = (step * 7 + pass * 3 + i) % 20;
            targets[i] = (tokens[i] + 1) % 20;
        }
        require_ok(gpt_learn(t->gpt, tokens, targets, BATCH, 1.0f / PASSES, NULL));
        for (int i = 0; i < TOKENS; i++)
            tokens[i] = targets[i] = -1;
    }
    require_ok(optim_queue(&t->config, t->expert, t->gpt, step % 2, result));
}

static void no_wait_inside(void **state)
{
    (void)state;
    struct training t;
    struct outlier outlier = {.n = 0};
    struct optim_result result[2];
    int before = 0;
    training_open(&t);
    const cudaStream_t compute = cuda_of(t.dev)->stream;
    for (int step = 0; step < STEPS; step++) {
        double loss = 0;
        if (step == 1) before = emulated_waits(); /* the first makes room for scratch */
        queue_step(&t, step, &result[step % 2]);
        if (step > 0)
            require_ok(optim_await(&t.config, t.gpt, (step - 1) % 2, &outlier, &loss,
                                   &result[(step - 1) % 2]));
        /* the step before is done, this one is not */
        assert_true(emulated_queued(compute) > 10);
        assert_true(step == 0 || loss > 0);
    }
    assert_int_equal(emulated_waits(), before);
    training_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_wait_inside)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
