/* Ten AdamW steps of a tiny GPT against PyTorch (golden_adamw.py wrote the file; format there). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "model/fixture.h"
#include "optim/optim.h"

enum { MAGIC = 20260101, HEADER = 8 };

struct golden {
    FILE *file;
    int batch, steps;
    struct gpt_shape shape;
    struct config config;
    struct device *dev;
    struct param_table *table;
    struct expert *expert;
    struct gpt *gpt;
    float *final; /* slab */
};

static void take(const struct golden *t, void *out, size_t size, size_t n)
{
    assert_int_equal(fread(out, size, n, t->file), n);
}

/* The file has no padding: the real rows of each tensor in slab order. */
static void take_weights(const struct golden *t, float *slab)
{
    for (int i = 0; i < t->table->n_tensors; i++) {
        const struct param_tensor *p = &t->table->tensor[i];
        take(t, slab + p->offset, sizeof *slab, (size_t)(p->real_rows * p->cols));
    }
}

static void take_header(struct golden *t)
{
    int32_t n[HEADER];
    double x[HEADER];
    take(t, n, sizeof *n, HEADER);
    take(t, x, sizeof *x, HEADER);
    assert_int_equal(n[0], MAGIC);
    t->shape = (struct gpt_shape){.layers = n[1],
                                  .heads = n[2],
                                  .width = n[3],
                                  .context = n[4],
                                  .vocab = n[5],
                                  .vocab_pad = 128};
    t->batch = n[6];
    t->steps = n[7];
    struct config *c = &t->config;
    c->run.steps = t->steps;
    c->train.schedule = SCHEDULE_COSINE;
    c->train.lr = x[0];
    c->train.lr_final = x[1];
    c->train.warmup = (int64_t)x[2];
    c->train.decay = x[3];
    c->train.beta1 = x[4];
    c->train.beta2 = x[5];
    c->train.eps = x[6];
    c->train.clip = x[7];
}

static void golden_open(struct golden *t, enum precision precision)
{
    *t = (struct golden){.file = fopen(GOLDEN_FILE, "rb")};
    if (!t->file) fail_msg("cannot open %s", GOLDEN_FILE);
    take_header(t);
    require_ok(device_open("cpu", 0, 1, &t->dev));
    require_ok(param_table_create(&t->shape, &t->table));
    require_ok(expert_create(t->dev, t->table, 0, false, false, &t->expert));
    take_weights(t, t->expert->weights);
    require_ok(gpt_create(t->dev, t->table, t->batch, t->shape.context, precision, true, &t->gpt));
    require_ok(gpt_load(t->gpt, t->expert->weights));
    t->final = calloc((size_t)t->table->n_params, sizeof *t->final);
    assert_non_null(t->final);
}

static void golden_close(struct golden *t)
{
    free(t->final);
    gpt_destroy(&t->gpt);
    expert_destroy(&t->expert);
    param_table_destroy(&t->table);
    device_close(&t->dev);
    fclose(t->file);
}

/* One step; what PyTorch saw goes to expected: learning rate, loss, gradient norm. */
static void step(struct golden *t, double *expected, double *loss, struct optim_result *result)
{
    enum { MOST = 4096 };
    static int32_t tokens[MOST], targets[MOST];
    const size_t n = (size_t)t->batch * (size_t)t->shape.context;
    assert_true(n <= MOST);
    take(t, expected, sizeof *expected, 3);
    take(t, tokens, sizeof *tokens, n);
    take(t, targets, sizeof *targets, n);
    require_ok(gpt_learn(t->gpt, tokens, targets, t->batch, 1.0f, loss));
    require_ok(optim_step(&t->config, t->expert, t->gpt, result));
}

/* Tensors to 1e-4, Euclidean. Biases of keys move every score of a row by the same amount, so their
 * gradient is zero but for rounding, which AdamW blows up to a step: they are left out. */
static void assert_weights(const struct golden *t)
{
    const int64_t C = t->shape.width;
    for (int i = 0; i < t->table->n_tensors; i++) {
        const struct param_tensor *p = &t->table->tensor[i];
        float *found = t->expert->weights + p->offset;
        if (p->which == PARAM_QKV_B)
            for (int64_t j = C; j < 2 * C; j++)
                found[j] = t->final[p->offset + j];
        const double d = relative_distance(found, t->final + p->offset, p->real_rows * p->cols);
        if (!(d < 1e-4)) fail_msg("%s: relative distance %g from PyTorch's", p->name, d);
    }
}

static void f32_follows_pytorch(void **state)
{
    (void)state;
    struct golden t;
    golden_open(&t, PRECISION_F32);
    for (int i = 0; i < t.steps; i++) {
        double expected[3], loss;
        struct optim_result result;
        step(&t, expected, &loss, &result);
        assert_true(fabs(result.lr - expected[0]) < 1e-12);
        assert_true(fabs(loss - expected[1]) < 1e-5);
        assert_true(fabs(result.grad_norm / expected[2] - 1.0) < 1e-5);
    }
    assert_int_equal(t.expert->step, t.steps);
    take_weights(&t, t.final);
    assert_int_equal(fgetc(t.file), EOF);
    assert_weights(&t);
    golden_close(&t);
}

static void bf16_stays_near_pytorch(void **state)
{
    (void)state;
    struct golden t;
    golden_open(&t, PRECISION_BF16);
    for (int i = 0; i < t.steps; i++) {
        double expected[3], loss;
        struct optim_result result;
        step(&t, expected, &loss, &result);
        assert_true(fabs(loss / expected[1] - 1.0) < 3e-3);
        assert_true(fabs(result.grad_norm / expected[2] - 1.0) < 3e-2);
    }
    golden_close(&t);
}

/* Gaps and vocabulary padding are zero in every slab after training. */
static void padding_stays_zero(void **state)
{
    (void)state;
    const enum precision precisions[] = {PRECISION_F32, PRECISION_BF16};
    for (int k = 0; k < 2; k++) {
        struct golden t;
        double expected[3], loss;
        struct optim_result result;
        golden_open(&t, precisions[k]);
        for (int i = 0; i < t.steps; i++)
            step(&t, expected, &loss, &result);
        for (int i = 0; i < t.table->n_tensors; i++) {
            const struct param_tensor *p = &t.table->tensor[i];
            const int64_t end = i + 1 < t.table->n_tensors ? p[1].offset : t.table->n_params;
            for (int64_t j = p->offset + p->real_rows * p->cols; j < end; j++) {
                assert_true(t.expert->weights[j] == 0.0f);
                assert_true(t.expert->adam_m[j] == 0.0f);
                assert_true(t.expert->adam_v[j] == 0.0f);
            }
        }
        golden_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_follows_pytorch),
        cmocka_unit_test(bf16_stays_near_pytorch),
        cmocka_unit_test(padding_stays_zero),
    };
    return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
}
