/* Learning rate, clipping, decay, steps that are skipped. AdamW against PyTorch: tests/model. */
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

/* ---- learning rate --------------------------------------------------------------------------- */

static void assert_lr(const struct config *c, int64_t step, double expected)
{
    const double found = optim_lr(c, step);
    if (!(fabs(found - expected) < 1e-15))
        fail_msg("step %lld: learning rate %.17g, expected %.17g", (long long)step, found,
                 expected);
}

static void warmup_is_linear_and_reaches_the_peak(void **state)
{
    (void)state;
    struct config c = some_config();
    for (int schedule = SCHEDULE_COSINE; schedule <= SCHEDULE_WSD; schedule++) {
        c.train.schedule = schedule;
        assert_lr(&c, 1, 2e-4);
        assert_lr(&c, 5, 1e-3);
        assert_lr(&c, 10, 2e-3);
    }
}

static void schedules_end_where_they_say(void **state)
{
    (void)state;
    struct config c = some_config();
    assert_lr(&c, 35, 2e-4 + 1.8e-3 * (0.5 + sqrt(0.125))); /* a quarter: cos 45 degrees */
    assert_lr(&c, 60, 1.1e-3);
    assert_lr(&c, 110, 2e-4);
    assert_lr(&c, 500, 2e-4);
    c.train.schedule = SCHEDULE_LINEAR;
    assert_lr(&c, 35, 1.55e-3);
    assert_lr(&c, 110, 2e-4);
    c.train.schedule = SCHEDULE_CONSTANT;
    assert_lr(&c, 110, 2e-3);
    c.train.schedule = SCHEDULE_WSD; /* falls over the last 22 steps */
    assert_lr(&c, 88, 2e-3);
    assert_lr(&c, 99, 1.1e-3);
    assert_lr(&c, 110, 2e-4);
}

static void degenerate_schedules_are_finite(void **state)
{
    (void)state;
    struct config c = some_config();
    for (int schedule = SCHEDULE_COSINE; schedule <= SCHEDULE_WSD; schedule++) {
        c.train.schedule = schedule;
        c.train.warmup = 0;
        c.run.steps = 1;
        assert_true(isfinite(optim_lr(&c, 1)));
        c.train.warmup = 50; /* longer than the run */
        assert_lr(&c, 1, 2e-3 / 50.0);
        c.run.steps = 0;
        c.train.warmup = 0;
        assert_true(isfinite(optim_lr(&c, 1)));
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

struct setting {
    struct fixture f;
    struct gpt *g;
    float *before; /* weights at the start */
};

static void setting_open(struct setting *s, enum precision precision)
{
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
    require_ok(optim_step(&c, s.f.expert, s.g, &r)); /* gradients are zero: only decay acts */
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
    require_ok(optim_step(&c, s.f.expert, s.g, &r));
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
    require_ok(optim_step(&c, s.f.expert, s.g, &r));
    assert_int_equal(s.f.expert->step, 1);
    assert_true(fabs(r.lr - 2e-4) < 1e-15);
    /* AdamW's first step is lr times the sign of the gradient */
    assert_true(fabs(s.before[0] - s.f.expert->weights[0] - 2e-4) < 1e-6);
    for (int64_t i = 0; i < s.f.table->n_params; i++)
        assert_true(gpt_grads(s.g)[i] == 0.0f);
    require_ok(optim_step(&c, s.f.expert, s.g, &r));
    assert_int_equal(s.f.expert->step, 2);
    assert_true(fabs(r.lr - 4e-4) < 1e-15);
    setting_close(&s);
}

static void not_finite_gradients_skip_the_step(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    const struct config c = some_config();
    for (int k = 0; k < 3; k++) {
        struct setting s;
        struct optim_result r;
        setting_open(&s, PRECISION_F32);
        gpt_grads(s.g)[0] = 1.0f;
        gpt_grads(s.g)[7] = bad[k];
        require_ok(optim_step(&c, s.f.expert, s.g, &r));
        assert_false(isfinite(r.grad_norm));
        assert_int_equal(s.f.expert->step, 1);
        for (int64_t i = 0; i < s.f.table->n_params; i++) {
            assert_true(s.f.expert->weights[i] == s.before[i]);
            assert_true(s.f.expert->adam_m[i] == 0.0f && s.f.expert->adam_v[i] == 0.0f);
            assert_true(gpt_grads(s.g)[i] == 0.0f);
        }
        setting_close(&s);
    }
}

/* After a step the bf16 copy is what loading the new weights would give. */
static void bf16_copy_follows(void **state)
{
    (void)state;
    struct setting s;
    struct optim_result r;
    const struct config c = some_config();
    double loss;
    setting_open(&s, PRECISION_BF16);
    const int64_t n = s.f.table->n_params;
    uint16_t *const after = malloc((size_t)n * sizeof *after);
    assert_non_null(after);
    require_ok(gpt_learn(s.g, s.f.tokens, s.f.targets, 1, 1.0f, &loss));
    require_ok(optim_step(&c, s.f.expert, s.g, &r));
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
        cmocka_unit_test(warmup_is_linear_and_reaches_the_peak),
        cmocka_unit_test(schedules_end_where_they_say),
        cmocka_unit_test(degenerate_schedules_are_finite),
        cmocka_unit_test(decay_touches_matrices_only),
        cmocka_unit_test(clipping_is_by_global_norm),
        cmocka_unit_test(step_counts_and_clears),
        cmocka_unit_test(not_finite_gradients_skip_the_step),
        cmocka_unit_test(bf16_copy_follows),
    };
    return cmocka_run_group_tests_name("optim", tests, NULL, NULL);
}
