/* A model on another device beside the same on the CPU: the curve of a short training in f32 and in
 * bf16, judging, decoding, and that train.recompute and train.graph change no bit there either. The
 * device is the one SHOAL_TEST_DEVICE names; without one, or if it does not open, nothing is
 * tested. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "config/config.h"
#include "model/decoder.h"
#include "model/fixture.h"
#include "optim/optim.h"

/* The emulated device takes a tenth of a second for a step. */
#ifdef SHOAL_FEW_STEPS
enum { STEPS = 3 };
#else
enum { STEPS = 50 };
#endif
enum { LAYERS = 2, WIDTH = 32, VOCAB = 70, BATCH = 2, CONTEXT = 20, SKIPPED = 77 };

struct training {
    struct device *dev;
    struct param_table *table;
    struct expert *expert;
    struct gpt *gpt;
    struct outlier outlier;
    struct config config;
    double loss[STEPS];
    double grad_norm[STEPS];
};

static struct gpt_shape shape_of(enum arch arch)
{
    struct gpt_shape s = arch == ARCH_GPT2 ? fixture_gpt2(LAYERS, 2, WIDTH, VOCAB)
                                           : fixture_llama(LAYERS, 4, 2, WIDTH, 96, VOCAB, false);
    s.context = CONTEXT;
    return s;
}

static void training_open(struct training *t, const char *device, enum arch arch,
                          enum precision precision, enum recompute recompute, bool graph)
{
    const struct gpt_shape shape = shape_of(arch);
    memset(t, 0, sizeof *t);
    config_defaults(&t->config);
    t->config.run.steps = STEPS;
    t->config.train.lr = 3e-3;
    t->config.train.warmup = 5;
    require_ok(device_open(device, 0, 1, &t->dev));
    require_ok(param_table_create(&shape, &t->table));
    require_ok(expert_create(t->dev, t->table, 0, false, false, &t->expert));
    require_ok(expert_init(t->expert, 1, 0, LAYERS));
    const struct gpt_setup setup = {.batch = BATCH,
                                    .context = CONTEXT,
                                    .precision = precision,
                                    .learns = true,
                                    .recompute = recompute,
                                    .graph = graph};
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

/* A text that can be learnt: each token follows from the one before, most of the time. */
static void fill_batch(int32_t *tokens, int32_t *targets, int step)
{
    const struct rng_key key = {.seed = 5, .stream = RNG_DATA, .round = (uint32_t)step};
    for (int b = 0; b < BATCH; b++) {
        int32_t token = (int32_t)(rng_bits(key, (uint64_t)(1000 + b)) % VOCAB);
        for (int i = b * CONTEXT; i < (b + 1) * CONTEXT; i++) {
            const uint32_t bits = rng_bits(key, (uint64_t)i);
            tokens[i] = token;
            token = bits % 8 == 0 ? (int32_t)(bits / 8 % VOCAB) : (token * 5 + 3) % VOCAB;
            targets[i] = token;
        }
    }
}

static void train(struct training *t)
{
    int32_t tokens[BATCH * CONTEXT], targets[BATCH * CONTEXT];
    for (int step = 0; step < STEPS; step++) {
        struct optim_result result;
        fill_batch(tokens, targets, step);
        require_ok(gpt_learn(t->gpt, tokens, targets, BATCH, 1.0f, &t->loss[step]));
        require_ok(optim_step(&t->config, t->expert, t->gpt, t->loss[step], &t->outlier, &result));
        t->grad_norm[step] = result.grad_norm;
    }
}

/* The same as workers do it there: figures come when the next step is queued. */
static void train_queued(struct training *t)
{
    int32_t tokens[BATCH * CONTEXT], targets[BATCH * CONTEXT];
    struct optim_result result[2];
    for (int step = 0; step <= STEPS; step++) {
        const int last = step - 1;
        if (step < STEPS) {
            fill_batch(tokens, targets, step);
            require_ok(gpt_learn(t->gpt, tokens, targets, BATCH, 1.0f, NULL));
            require_ok(optim_queue(&t->config, t->expert, t->gpt, step % 2, &result[step % 2]));
        }
        if (last < 0) continue;
        require_ok(optim_await(&t->config, t->gpt, last % 2, &t->outlier, &t->loss[last],
                               &result[last % 2]));
        t->grad_norm[last] = result[last % 2].grad_norm;
    }
}

/* Largest distance of the losses, and of the gradients' norms, as a share of them. */
static double curve_distance(const struct training *a, const struct training *b)
{
    double most = 0;
    for (int i = 0; i < STEPS; i++) {
        most = fmax(most, fabs(a->loss[i] / b->loss[i] - 1.0));
        most = fmax(most, fabs(a->grad_norm[i] / b->grad_norm[i] - 1.0));
    }
    return most;
}

static const char *other;

/* In f32 sums differ in the last bits, and training lets them grow; in bf16 every rounding may. */
static void curves(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        static struct training cpu, there;
        const enum precision precision = i % 2 ? PRECISION_BF16 : PRECISION_F32;
        const enum arch arch = i / 2 ? ARCH_LLAMA : ARCH_GPT2;
        training_open(&cpu, "cpu", arch, precision, RECOMPUTE_NONE, false);
        training_open(&there, other, arch, precision, RECOMPUTE_NONE, false);
        train(&cpu);
        train_queued(&there);
        const double distance = curve_distance(&there, &cpu);
        (void)printf("%s, %s: %.2e apart after %d steps; last loss %.4f\n",
                     arch == ARCH_GPT2 ? "gpt2" : "llama", i % 2 ? "bf16" : "f32", distance, STEPS,
                     there.loss[STEPS - 1]);
        assert_true(distance < (precision == PRECISION_F32 ? 1e-3 : 5e-2));
        training_close(&cpu);
        training_close(&there);
    }
}

/* The same bits whatever is kept for the backward pass, and when a training is repeated. */
static void recompute(void **state)
{
    (void)state;
    static struct training t;
    for (int arch = ARCH_GPT2; arch <= ARCH_LLAMA; arch++) {
        uint64_t digest[4];
        for (int i = 0; i < 4; i++) {
            const enum recompute what = i == 0 ? RECOMPUTE_NONE : (enum recompute)(i - 1);
            training_open(&t, other, (enum arch)arch, PRECISION_BF16, what, false);
            train(&t);
            require_ok(slab_digest(t.dev, t.expert->weights, t.table->n_params, &digest[i]));
            assert_true(digest[i] == digest[0]);
            training_close(&t);
        }
    }
}

/* The same bits when passes are queued as graphs, whether or not the host waits for each. */
static void graphs(void **state)
{
    (void)state;
    static struct training t;
    for (int arch = ARCH_GPT2; arch <= ARCH_LLAMA; arch++) {
        uint64_t digest[3];
        for (int i = 0; i < 3; i++) {
            training_open(&t, other, (enum arch)arch, PRECISION_BF16, RECOMPUTE_BLOCK, i > 0);
            if (i < 2)
                train(&t);
            else
                train_queued(&t);
            require_ok(slab_digest(t.dev, t.expert->weights, t.table->n_params, &digest[i]));
            assert_true(digest[i] == digest[0]);
            training_close(&t);
        }
    }
}

/* Initial weights are the same bits, judging and decoding close. */
static void judging_and_decoding(void **state)
{
    (void)state;
    static struct training t[2];
    int32_t tokens[BATCH * CONTEXT], targets[BATCH * CONTEXT];
    uint64_t digest[2];
    double loss[2];
    for (int d = 0; d < 2; d++) {
        training_open(&t[d], d ? other : "cpu", ARCH_LLAMA, PRECISION_BF16, RECOMPUTE_NONE, false);
        fill_batch(tokens, targets, 0);
        require_ok(slab_digest(t[d].dev, t[d].expert->weights, t[d].table->n_params, &digest[d]));
        require_ok(gpt_judge(t[d].gpt, tokens, targets, BATCH, &loss[d]));
    }
    assert_true(digest[0] == digest[1]);
    assert_true(fabs(loss[0] - loss[1]) < 2e-3 * loss[0]);
    struct decoder *decoder[2] = {NULL, NULL};
    for (int d = 0; d < 2; d++)
        require_ok(decoder_create(t[d].dev, t[d].table, t[d].expert->weights, &decoder[d]));
    for (int i = 0; i < CONTEXT; i++) {
        const float *logits[2];
        for (int d = 0; d < 2; d++)
            require_ok(decoder_step(decoder[d], tokens[i], &logits[d]));
        for (int v = 0; v < VOCAB; v++)
            assert_true(fabsf(logits[0][v] - logits[1][v]) < 1e-4f);
    }
    for (int d = 0; d < 2; d++) {
        decoder_destroy(&decoder[d]);
        training_close(&t[d]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(curves),
        cmocka_unit_test(recompute),
        cmocka_unit_test(graphs),
        cmocka_unit_test(judging_and_decoding),
    };
    struct device *dev = NULL;
    other = getenv("SHOAL_TEST_DEVICE");
    if (!other || device_open(other, 0, 1, &dev) != SHOAL_OK) {
        (void)printf("%s\n", other ? shoal_failure_text() : "SHOAL_TEST_DEVICE names no device");
        return SKIPPED;
    }
    device_close(&dev);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
