/* Clipping, decay, accumulated gradients, steps that are skipped. AdamW against PyTorch:
 * tests/model; learning rates: test_schedule.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model/fixture.h"
#include "optim/optim.h"

static struct config some_config(void)
{
    struct config c = {0};
    c.run.steps = 110;
    c.train.lr = 2e-3;
    c.train.lr_final = 0.1;
    c.train.warmup = 10;
    c.train.schedule = SCHEDULE_COSINE;
    c.train.beta1 = 0.9;
    c.train.beta2 = 0.95;
    c.train.eps = 1e-8;
    return c;
}

struct setting {
    struct fixture f;
    struct gpt *g;
    struct outlier outlier;
    float *before; /* weights at the start */
};

static void setting_open(struct setting *s, enum precision precision)
{
    *s = (struct setting){.g = NULL};
    fixture_open(&s->f, 1, 2, 16, 20, 1, 4);
    s->g = fixture_gpt(&s->f, precision, true);
    const size_t bytes = (size_t)s->f.table->n_params * sizeof *s->before;
    s->before = malloc(bytes);
    assert_non_null(s->before);
    memcpy(s->before, s->f.expert->weights, bytes);
    require_ok(gpt_zero_grads(s->g));
}

static void setting_close(struct setting *s)
{
    free(s->before);
    gpt_destroy(&s->g);
    fixture_close(&s->f);
}

/* One optimiser step after a batch with this loss. */
static struct optim_result take_step(struct setting *s, const struct config *c, double loss)
{
    struct optim_result result;
    require_ok(optim_step(c, s->f.expert, s->g, loss, &s->outlier, &result));
    return result;
}

/* What the optimiser saw does not reach the next batch's gradients. Leaves none behind. */
static void assert_begins_anew(struct setting *s)
{
    const size_t bytes = (size_t)s->f.table->n_params * sizeof(float);
    struct gpt *fresh = fixture_gpt(&s->f, PRECISION_F32, true);
    double loss;
    require_ok(gpt_learn(s->g, s->f.tokens, s->f.targets, 1, 1.0f, &loss));
    require_ok(gpt_learn(fresh, s->f.tokens, s->f.targets, 1, 1.0f, &loss));
    assert_memory_equal(gpt_grads(s->g), gpt_grads(fresh), bytes);
    gpt_destroy(&fresh);
    require_ok(gpt_zero_grads(s->g));
    memset(gpt_grads(s->g), 0, bytes);
}

static void decay_touches_matrices_only(void **state)
{
    (void)state;
    struct setting s;
    struct optim_result r;
    struct config c = some_config();
    c.train.decay = 0.5;
    c.train.warmup = 0;
    c.train.schedule = SCHEDULE_CONSTANT;
    setting_open(&s, PRECISION_F32);
    r = take_step(&s, &c, 2.0); /* gradients are zero: only decay acts */
    assert_true(r.grad_norm == 0.0);
    for (int i = 0; i < s.f.table->n_tensors; i++) {
        const struct param_tensor *t = &s.f.table->tensor[i];
        for (int64_t j = t->offset; j < t->offset + t->real_rows * t->cols; j++) {
            const double kept = t->matrix ? 1.0 - 2e-3 * 0.5 : 1.0;
            const double error = s.f.expert->weights[j] - s.before[j] * kept;
            assert_true(t->matrix ? fabs(error) <= 2e-7 * fabs(s.before[j]) : error == 0.0);
        }
    }
    setting_close(&s);
}

/* The first moment after one step is (1 - beta1) times the clipped gradient. */
static void assert_clipped(double clip, double expected_scale)
{
    struct setting s;
    struct optim_result r;
    struct config c = some_config();
    c.train.clip = clip;
    setting_open(&s, PRECISION_F32);
    gpt_grads(s.g)[3] = 3.0f; /* one in a matrix, one in a vector: a norm of 5 */
    gpt_grads(s.g)[s.f.table->decay_end + 1] = -4.0f;
    r = take_step(&s, &c, 2.0);
    assert_true(fabs(r.grad_norm - 5.0) < 1e-12);
    assert_true(fabs(s.f.expert->adam_m[3] - 0.1 * 3.0 * expected_scale) < 1e-6);
    assert_true(fabs(s.f.expert->adam_m[s.f.table->decay_end + 1] + 0.1 * 4.0 * expected_scale) <
                1e-6);
    setting_close(&s);
}

static void clipping_is_by_global_norm(void **state)
{
    (void)state;
    assert_clipped(1.0, 0.2);
    assert_clipped(4.0, 0.8);
    assert_clipped(10.0, 1.0);
    assert_clipped(0.0, 1.0); /* off */
}

static void step_counts_and_clears(void **state)
{
    (void)state;
    struct setting s;
    struct optim_result r;
    const struct config c = some_config();
    setting_open(&s, PRECISION_F32);
    gpt_grads(s.g)[0] = 1.0f;
    r = take_step(&s, &c, 2.0);
    assert_int_equal(s.f.expert->step, 1);
    assert_true(fabs(r.lr - 2e-4) < 1e-15);
    /* AdamW's first step is lr times the sign of the gradient */
    assert_true(fabs(s.before[0] - s.f.expert->weights[0] - 2e-4) < 1e-6);
    assert_begins_anew(&s);
    r = take_step(&s, &c, 2.0);
    assert_int_equal(s.f.expert->step, 2);
    assert_true(fabs(r.lr - 4e-4) < 1e-15);
    setting_close(&s);
}

/* A step that is not taken changes nothing but the counter, and leaves no gradients behind. */
static void assert_skipped(struct setting *s, const struct config *c, double loss, enum skip why)
{
    const int64_t step = s->f.expert->step;
    const size_t bytes = (size_t)s->f.table->n_params * sizeof(float);
    float *const kept[] = {s->f.expert->weights, s->f.expert->adam_m, s->f.expert->adam_v};
    float *copy[3];
    for (int i = 0; i < 3; i++) {
        copy[i] = malloc(bytes);
        assert_non_null(copy[i]);
        memcpy(copy[i], kept[i], bytes);
    }
    assert_int_equal(take_step(s, c, loss).skip, why);
    assert_int_equal(s->f.expert->step, step + 1);
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(kept[i], copy[i], bytes);
        free(copy[i]);
    }
    assert_begins_anew(s);
}

static void what_is_not_finite_skips_the_step(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    const struct config c = some_config();
    struct setting s;
    setting_open(&s, PRECISION_F32);
    for (int k = 0; k < 3; k++) {
        gpt_grads(s.g)[0] = 1.0f;
        gpt_grads(s.g)[7] = bad[k];
        assert_skipped(&s, &c, 2.0, SKIP_NOT_FINITE);
        gpt_grads(s.g)[0] = 1.0f;
        assert_skipped(&s, &c, bad[k], SKIP_NOT_FINITE);
    }
    assert_int_equal(s.outlier.skipped, 6);
    setting_close(&s);
}

static void outliers_skip_the_step(void **state)
{
    (void)state;
    struct config c = some_config();
    struct setting s;
    c.train.skip = 4.0;
    c.train.skip_window = 8;
    c.train.clip = 1.0; /* what is compared is the norm before clipping */
    setting_open(&s, PRECISION_F32);
    for (int i = 0; i < 8; i++) {
        gpt_grads(s.g)[0] = 2.0f + 0.1f * (float)(i % 2);
        assert_int_equal(take_step(&s, &c, 3.0 + 0.1 * (i % 3)).skip, SKIP_NONE);
    }
    gpt_grads(s.g)[0] = 2.0f;
    assert_skipped(&s, &c, 5.0, SKIP_LOSS);
    assert_int_equal(s.outlier.n, 0); /* eight steps allow for one outlier in a row */
    for (int i = 0; i < 8; i++) {
        gpt_grads(s.g)[0] = 2.0f + 0.1f * (float)(i % 2);
        assert_int_equal(take_step(&s, &c, 3.0 + 0.1 * (i % 3)).skip, SKIP_NONE);
    }
    gpt_grads(s.g)[0] = 4.0f;
    assert_skipped(&s, &c, 3.0, SKIP_GRAD_NORM);
    c.train.skip = 0.0;
    gpt_grads(s.g)[0] = 1e6f;
    assert_int_equal(take_step(&s, &c, 1e6).skip, SKIP_NONE);
    setting_close(&s);
}

/* ---- accumulation ---------------------------------------------------------------------------- */

enum { ROWS = 8, LENGTH = 12, STEPS = 6 };

/* Train some steps on one batch of ROWS sequences, `micro` of them at a time; a copy of the
 * weights, and the losses. */
static float *train_in_parts(int micro, double *losses)
{
    struct fixture f;
    struct outlier outlier = {.n = 0};
    struct optim_result result;
    struct config c = some_config();
    struct gpt *g = NULL;
    c.train.clip = 0.5;
    fixture_open(&f, 2, 2, 32, 50, ROWS, LENGTH);
    const struct gpt_setup setup = {
        .batch = micro, .context = LENGTH, .precision = PRECISION_F32, .learns = true};
    require_ok(gpt_create(f.dev, f.table, setup, &g));
    require_ok(gpt_load(g, f.expert->weights));
    require_ok(gpt_zero_grads(g));
    for (int step = 0; step < STEPS; step++) {
        losses[step] = 0.0;
        for (int row = 0; row < ROWS; row += micro) {
            double loss;
            require_ok(gpt_learn(g, f.tokens + row * LENGTH, f.targets + row * LENGTH, micro,
                                 (float)micro / ROWS, &loss));
            losses[step] += loss * micro / ROWS;
        }
        require_ok(optim_step(&c, f.expert, g, losses[step], &outlier, &result));
    }
    const size_t bytes = (size_t)f.table->n_params * sizeof(float);
    float *weights = malloc(bytes);
    assert_non_null(weights);
    memcpy(weights, f.expert->weights, bytes);
    gpt_destroy(&g);
    fixture_close(&f);
    return weights;
}

/* Biases of keys have no gradient but rounding, which AdamW blows up to a step (tests/model,
 * test_golden.c): they are left out. */
static void assert_same_weights(const float *a, const float *b)
{
    struct fixture f;
    fixture_open(&f, 2, 2, 32, 50, ROWS, LENGTH);
    for (int i = 0; i < f.table->n_tensors; i++) {
        const struct param_tensor *t = &f.table->tensor[i];
        if (t->which == PARAM_QKV_B) continue;
        const double d = relative_distance(a + t->offset, b + t->offset, t->real_rows * t->cols);
        if (!(d < 2e-5)) fail_msg("%s: relative distance %g", t->name, d);
    }
    fixture_close(&f);
}

static void micro_batches_train_like_the_whole(void **state)
{
    (void)state;
    double whole_losses[STEPS], losses[STEPS];
    float *whole = train_in_parts(ROWS, whole_losses);
    for (int micro = 1; micro < ROWS; micro *= 2) {
        float *parts = train_in_parts(micro, losses);
        for (int step = 0; step < STEPS; step++)
            assert_true(fabs(losses[step] - whole_losses[step]) < 1e-5);
        assert_same_weights(parts, whole);
        free(parts);
    }
    assert_true(whole_losses[STEPS - 1] < whole_losses[0] - 0.1); /* it did train */
    free(whole);
}

/* ---- steps that nobody waits for --------------------------------------------------------------
 */

/* What a training left behind, and the figures of its steps. */
struct trained {
    struct setting s;
    double loss[STEPS];
    struct optim_result result[STEPS];
};

/* Two batches a step; the gradients of one step are broken on the way. */
static void learn_step(struct trained *t, int step, bool waits)
{
    double part[2] = {0};
    for (int i = 0; i < 2; i++) {
        t->s.f.tokens[0] = (2 * step + i) % 20;
        require_ok(
            gpt_learn(t->s.g, t->s.f.tokens, t->s.f.targets, 1, 0.5f, waits ? &part[i] : NULL));
    }
    t->loss[step] = part[0] + part[1];
    if (step == STEPS / 2) gpt_grads(t->s.g)[5] = NAN;
}

static void train_waiting(struct trained *t, const struct config *c)
{
    for (int step = 0; step < STEPS; step++) {
        learn_step(t, step, true);
        require_ok(
            optim_step(c, t->s.f.expert, t->s.g, t->loss[step], &t->s.outlier, &t->result[step]));
    }
}

/* The figures of a step are looked at when the next one has been queued. */
static void train_queued(struct trained *t, const struct config *c)
{
    for (int step = 0; step <= STEPS; step++) {
        const int last = step - 1;
        if (step < STEPS) {
            learn_step(t, step, false);
            require_ok(optim_queue(c, t->s.f.expert, t->s.g, step % 2, &t->result[step]));
        }
        if (last >= 0)
            require_ok(
                optim_await(c, t->s.g, last % 2, &t->s.outlier, &t->loss[last], &t->result[last]));
    }
}

static void queued_steps_are_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        static struct trained a, b;
        struct config c = some_config();
        const enum precision precision = i % 2 ? PRECISION_BF16 : PRECISION_F32;
        c.train.clip = i / 2 ? 0.5 : 0.0;
        setting_open(&a.s, precision);
        setting_open(&b.s, precision);
        train_waiting(&a, &c);
        train_queued(&b, &c);
        for (int step = 0; step < STEPS; step++) {
            const struct optim_result *x = &a.result[step], *y = &b.result[step];
            assert_true(a.loss[step] == b.loss[step] && x->lr == y->lr);
            assert_true(x->skip == y->skip && (x->skip != SKIP_NONE) == (step == STEPS / 2));
            assert_true(x->skip || x->grad_norm == y->grad_norm);
        }
        const size_t bytes = (size_t)a.s.f.table->n_params * sizeof(float);
        assert_memory_equal(a.s.f.expert->weights, b.s.f.expert->weights, bytes);
        assert_memory_equal(a.s.f.expert->adam_m, b.s.f.expert->adam_m, bytes);
        assert_memory_equal(a.s.f.expert->adam_v, b.s.f.expert->adam_v, bytes);
        assert_int_equal(a.s.outlier.skipped, 1);
        assert_int_equal(b.s.outlier.skipped, 1);
        setting_close(&a.s);
        setting_close(&b.s);
    }
}

/* After a step the bf16 copy is what loading the new weights would give. */
static void bf16_copy_follows(void **state)
{
    (void)state;
    struct setting s;
    const struct config c = some_config();
    double loss;
    setting_open(&s, PRECISION_BF16);
    const int64_t n = s.f.table->n_params;
    uint16_t *const after = malloc((size_t)n * sizeof *after);
    assert_non_null(after);
    require_ok(gpt_learn(s.g, s.f.tokens, s.f.targets, 1, 1.0f, &loss));
    assert_int_equal(take_step(&s, &c, 2.0).skip, SKIP_NONE);
    memcpy(after, gpt_weights16(s.g), (size_t)n * sizeof *after);
    assert_true(memcmp(s.before, s.f.expert->weights, (size_t)n * sizeof *s.before) != 0);
    require_ok(gpt_load(s.g, s.f.expert->weights));
    assert_memory_equal(after, gpt_weights16(s.g), (size_t)n * sizeof *after);
    free(after);
    setting_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decay_touches_matrices_only),
        cmocka_unit_test(clipping_is_by_global_norm),
        cmocka_unit_test(step_counts_and_clears),
        cmocka_unit_test(what_is_not_finite_skips_the_step),
        cmocka_unit_test(outliers_skip_the_step),
        cmocka_unit_test(micro_batches_train_like_the_whole),
        cmocka_unit_test(queued_steps_are_the_same),
        cmocka_unit_test(bf16_copy_follows),
    };
    return cmocka_run_group_tests_name("optim", tests, NULL, NULL);
}
