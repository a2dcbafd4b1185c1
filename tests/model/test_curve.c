/* 200 training steps in bf16 against PyTorch's in float32, on the same text in the same order
 * (golden_curve.py wrote the losses and says what is the same). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include "model/fixture.h"
#include "optim/optim.h"

enum {
    MAGIC = 20260102,
    LAYERS = 4,
    HEADS = 4,
    WIDTH = 128,
    CONTEXT = 64,
    VOCAB = 128,
    BATCH = 8,
    STEPS = 200,
    MAX_TEXT = 100000
};

struct curve {
    double expected[STEPS]; /* PyTorch's losses */
    uint8_t text[MAX_TEXT];
    size_t length;
    struct config config;
    struct device *dev;
    struct param_table *table;
    struct expert *expert;
    struct gpt *gpt;
    struct outlier outlier;
};

static uint32_t mix(uint32_t i)
{
    i = (i ^ (i >> 16)) * 0x7feb352du;
    i = (i ^ (i >> 15)) * 0x846ca68bu;
    return i ^ (i >> 16);
}

static void read_files(struct curve *t)
{
    int32_t header[2];
    FILE *f = fopen(GOLDEN_CURVE ".bin", "rb");
    assert_non_null(f);
    assert_int_equal(fread(header, sizeof *header, 2, f), 2);
    assert_int_equal(header[0], MAGIC);
    assert_int_equal(header[1], STEPS);
    assert_int_equal(fread(t->expected, sizeof *t->expected, STEPS, f), STEPS);
    fclose(f);
    f = fopen(GOLDEN_CURVE ".text", "rb");
    assert_non_null(f);
    t->length = fread(t->text, 1, MAX_TEXT, f);
    assert_true(t->length > CONTEXT + 1 && t->length < MAX_TEXT);
    fclose(f);
}

/* Number of a matrix in the generator's order. */
static uint32_t matrix_number(const struct param_tensor *p)
{
    const uint32_t block = 2 + 4 * (uint32_t)p->layer;
    switch (p->which) {
    case PARAM_WTE:
        return 0;
    case PARAM_WPE:
        return 1;
    case PARAM_QKV_W:
        return block;
    case PARAM_PROJ_W:
        return block + 1;
    case PARAM_FC_W:
        return block + 2;
    default:
        assert_int_equal(p->which, PARAM_FCPROJ_W);
        return block + 3;
    }
}

static void set_weights(struct curve *t)
{
    for (int i = 0; i < t->table->n_tensors; i++) {
        const struct param_tensor *p = &t->table->tensor[i];
        float *w = t->expert->weights + p->offset;
        const bool residual = p->init == PARAM_NORMAL_RESIDUAL;
        const double deviation = residual ? 0.02 / sqrt(2.0 * LAYERS) : 0.02;
        for (int64_t j = 0; j < p->rows * p->cols; j++) {
            if (p->matrix) {
                const double u = mix((uint32_t)j + (matrix_number(p) << 20)) / 4294967296.0;
                w[j] = (float)((u - 0.5) * sqrt(12.0) * deviation);
            } else {
                w[j] = p->init == PARAM_ONE ? 1.0f : 0.0f;
            }
        }
    }
}

static void curve_open(struct curve *t, enum precision precision)
{
    *t = (struct curve){.length = 0};
    read_files(t);
    config_defaults(&t->config);
    struct config *c = &t->config;
    c->population.experts = 1;
    c->model.layers = LAYERS;
    c->model.heads = HEADS;
    c->model.width = WIDTH;
    c->model.context = CONTEXT;
    c->model.vocab = VOCAB;
    c->run.steps = STEPS;
    c->train.lr = 1e-3;
    c->train.lr_final = 0.1;
    c->train.warmup = 20;
    c->train.decay = 0.1;
    c->train.beta1 = 0.9;
    c->train.beta2 = 0.95;
    c->train.eps = 1e-8;
    c->train.clip = 1.0;
    const struct gpt_shape shape = config_shape(c);
    require_ok(device_open("cpu", 0, 1, &t->dev));
    require_ok(param_table_create(&shape, &t->table));
    require_ok(expert_create(t->dev, t->table, 0, false, false, &t->expert));
    set_weights(t);
    const struct gpt_setup setup = {
        .batch = BATCH, .context = CONTEXT, .precision = precision, .learns = true};
    require_ok(gpt_create(t->dev, t->table, setup, &t->gpt));
    require_ok(gpt_load(t->gpt, t->expert->weights));
    require_ok(gpt_zero_grads(t->gpt));
}

static void curve_close(struct curve *t)
{
    gpt_destroy(&t->gpt);
    expert_destroy(&t->expert);
    param_table_destroy(&t->table);
    device_close(&t->dev);
}

/* Largest distance from PyTorch's losses over all steps, as a share of them. */
static double largest_distance(enum precision precision)
{
    static struct curve t;
    int32_t tokens[BATCH * CONTEXT], targets[BATCH * CONTEXT];
    double largest = 0.0;
    curve_open(&t, precision);
    for (int step = 1; step <= STEPS; step++) {
        struct optim_result result;
        double loss;
        for (int b = 0; b < BATCH; b++) {
            const uint32_t places = (uint32_t)(t.length - CONTEXT - 1);
            const uint8_t *from = t.text + mix((uint32_t)(step * BATCH + b)) % places;
            for (int i = 0; i < CONTEXT; i++) {
                tokens[b * CONTEXT + i] = from[i];
                targets[b * CONTEXT + i] = from[i + 1];
            }
        }
        require_ok(gpt_learn(t.gpt, tokens, targets, BATCH, 1.0f, &loss));
        require_ok(optim_step(&t.config, t.expert, t.gpt, loss, &t.outlier, &result));
        const double distance = fabs(loss / t.expected[step - 1] - 1.0);
        if (!(distance <= largest)) largest = distance;
    }
    curve_close(&t);
    print_message("largest distance from PyTorch's float32 losses: %.3f %%\n", 100.0 * largest);
    return largest;
}

static void f32_curve_is_pytorchs(void **state)
{
    (void)state;
    assert_true(largest_distance(PRECISION_F32) < 1e-3);
}

static void bf16_curve_stays_near_pytorchs(void **state)
{
    (void)state;
    assert_true(largest_distance(PRECISION_BF16) < 5e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_curve_is_pytorchs),
        cmocka_unit_test(bf16_curve_stays_near_pytorchs),
    };
    return cmocka_run_group_tests_name("curve", tests, NULL, NULL);
}
