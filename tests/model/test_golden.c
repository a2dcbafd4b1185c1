/* Gradients and ten AdamW steps of tiny models against PyTorch (golden_adamw.py wrote the files;
 * format there). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "model/fixture.h"
#include "optim/optim.h"

enum { MAGIC = 20260103, HEADER = 12, REALS = 9 };

static const char *const names[] = {"gpt2", "llama", "llama-tied"};
enum { NAMES = sizeof names / sizeof *names };

struct golden {
    FILE *file;
    int batch, steps;
    struct gpt_shape shape;
    struct config config;
    struct device *dev;
    struct param_table *table;
    struct expert *expert;
    struct gpt *gpt;
    struct outlier outlier;
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
    double x[REALS];
    take(t, n, sizeof *n, HEADER);
    take(t, x, sizeof *x, REALS);
    assert_int_equal(n[0], MAGIC);
    t->shape = (struct gpt_shape){.arch = n[1] ? ARCH_LLAMA : ARCH_GPT2,
                                  .layers = n[2],
                                  .heads = n[3],
                                  .kv_heads = n[4],
                                  .width = n[5],
                                  .ffn = n[6],
                                  .tied = n[7],
                                  .context = n[8],
                                  .vocab = n[9],
                                  .vocab_pad = 128,
                                  .rope_theta = (float)x[8]};
    t->batch = n[10];
    t->steps = n[11];
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

/* kind: "adamw" or "gradients". */
static FILE *open_file(const char *kind, const char *name)
{
    char path[SHOAL_MAX_PATH];
    require_ok(path_format(path, "%s/golden_%s_%s.bin", GOLDEN_DIR, kind, name));
    FILE *const file = fopen(path, "rb");
    if (!file) fail_msg("cannot open %s", path);
    return file;
}

static void golden_open(struct golden *t, const char *name, enum precision precision)
{
    *t = (struct golden){.file = open_file("adamw", name)};
    take_header(t);
    require_ok(device_open("cpu", 0, 1, &t->dev));
    require_ok(param_table_create(&t->shape, &t->table));
    require_ok(expert_create(t->dev, t->table, 0, false, false, &t->expert));
    take_weights(t, t->expert->weights);
    const struct gpt_setup setup = {
        .batch = t->batch, .context = t->shape.context, .precision = precision, .learns = true};
    require_ok(gpt_create(t->dev, t->table, setup, &t->gpt));
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

/* Gradients of the next step's batch; what PyTorch saw goes to expected: learning rate, loss,
 * gradient norm. */
static void learn(struct golden *t, double *expected, double *loss)
{
    enum { MOST = 4096 };
    static int32_t tokens[MOST], targets[MOST];
    const size_t n = (size_t)t->batch * (size_t)t->shape.context;
    assert_true(n <= MOST);
    take(t, expected, sizeof *expected, 3);
    take(t, tokens, sizeof *tokens, n);
    take(t, targets, sizeof *targets, n);
    require_ok(gpt_learn(t->gpt, tokens, targets, t->batch, 1.0f, loss));
}

static void step(struct golden *t, double *expected, double *loss, struct optim_result *result)
{
    learn(t, expected, loss);
    require_ok(optim_step(&t->config, t->expert, t->gpt, *loss, &t->outlier, result));
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

/* Every tensor's to 1e-5, Euclidean. */
static void assert_gradients(const char *name)
{
    struct golden t;
    double expected[3], loss, worst = 0.0;
    int32_t magic;
    golden_open(&t, name, PRECISION_F32);
    learn(&t, expected, &loss);
    fclose(t.file);
    t.file = open_file("gradients", name);
    take(&t, &magic, sizeof magic, 1);
    assert_int_equal(magic, MAGIC);
    take(&t, expected, sizeof *expected, 1);
    assert_true(fabs(loss - expected[0]) < 1e-5);
    take_weights(&t, t.final);
    assert_int_equal(fgetc(t.file), EOF);
    for (int i = 0; i < t.table->n_tensors; i++) {
        const struct param_tensor *p = &t.table->tensor[i];
        const double d = relative_distance(gpt_grads(t.gpt) + p->offset, t.final + p->offset,
                                           p->real_rows * p->cols);
        if (!(d <= 1e-5)) fail_msg("%s: relative distance %g from PyTorch's", p->name, d);
        worst = fmax(worst, d);
    }
    print_message("%s: gradients within %.2g of PyTorch's float32\n", name, worst);
    golden_close(&t);
}

static void f32_gradients_are_pytorchs(void **state)
{
    (void)state;
    for (int i = 0; i < NAMES; i++)
        assert_gradients(names[i]);
}

static void assert_follows(const char *name)
{
    struct golden t;
    golden_open(&t, name, PRECISION_F32);
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

static void f32_follows_pytorch(void **state)
{
    (void)state;
    for (int i = 0; i < NAMES; i++)
        assert_follows(names[i]);
}

static void assert_stays_near(const char *name)
{
    struct golden t;
    golden_open(&t, name, PRECISION_BF16);
    for (int i = 0; i < t.steps; i++) {
        double expected[3], loss;
        struct optim_result result;
        step(&t, expected, &loss, &result);
        assert_true(fabs(loss / expected[1] - 1.0) < 3e-3);
        assert_true(fabs(result.grad_norm / expected[2] - 1.0) < 3e-2);
    }
    golden_close(&t);
}

static void bf16_stays_near_pytorch(void **state)
{
    (void)state;
    for (int i = 0; i < NAMES; i++)
        assert_stays_near(names[i]);
}

/* Gaps and vocabulary padding are zero in every slab after training. */
static void padding_stays_zero(void **state)
{
    (void)state;
    const enum precision precisions[] = {PRECISION_F32, PRECISION_BF16};
    for (int k = 0; k < 2 * NAMES; k++) {
        struct golden t;
        double expected[3], loss;
        struct optim_result result;
        golden_open(&t, names[k / 2], precisions[k % 2]);
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
        cmocka_unit_test(f32_gradients_are_pytorchs),
        cmocka_unit_test(f32_follows_pytorch),
        cmocka_unit_test(bf16_stays_near_pytorch),
        cmocka_unit_test(padding_stays_zero),
    };
    return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
}
