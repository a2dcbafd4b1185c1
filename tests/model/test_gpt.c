/* The whole model, both architectures: loss and gradients against a double-precision reference,
 * bf16 against f32, judging against learning, recomputation and accumulation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model/fixture.h"
#include "model/reference.h"

enum { N_SHAPES = 9 };

/* The Llama of width 18 has keys that do not begin at a multiple of 64 elements. */
static void open_shape(struct fixture *f, int i)
{
    const struct {
        struct gpt_shape shape;
        int batch, context;
    } cases[N_SHAPES] = {{fixture_gpt2(1, 1, 8, 11), 1, 4},
                         {fixture_gpt2(2, 3, 24, 40), 2, 9},
                         {fixture_gpt2(2, 2, 32, 100), 1, 33},
                         {fixture_gpt2(1, 2, 20, 7), 2, 1},
                         {fixture_gpt2(2, 2, 16, 19), 2, 5},
                         {fixture_llama(1, 1, 1, 8, 12, 11, false), 1, 4},
                         {fixture_llama(2, 3, 1, 18, 20, 40, true), 2, 9},
                         {fixture_llama(2, 4, 2, 32, 64, 100, false), 1, 33},
                         {fixture_llama(1, 5, 5, 20, 33, 7, true), 2, 1}};
    struct gpt_shape shape = cases[i].shape;
    if (i == 4) shape.ffn = 23; /* not four times the width */
    fixture_open_shape(f, shape, cases[i].batch, cases[i].context);
}

static const enum precision precisions[] = {PRECISION_F32, PRECISION_BF16};

/* The expert's weights in double precision; free it. */
static double *weights64(const struct fixture *f)
{
    double *w = malloc((size_t)f->table->n_params * sizeof *w);
    assert_non_null(w);
    for (int64_t i = 0; i < f->table->n_params; i++)
        w[i] = f->expert->weights[i];
    return w;
}

static double reference_of(const struct fixture *f, const double *w)
{
    return reference_loss(f->table, w, f->tokens, f->targets, f->batch, f->context, NULL);
}

static double learn(const struct fixture *f, struct gpt *g)
{
    double loss;
    require_ok(gpt_zero_grads(g));
    require_ok(gpt_learn(g, f->tokens, f->targets, f->batch, 1.0f, &loss));
    return loss;
}

static double judge(const struct fixture *f, struct gpt *g)
{
    double loss;
    require_ok(gpt_judge(g, f->tokens, f->targets, f->batch, &loss));
    return loss;
}

static void loss_is_the_references(void **state)
{
    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        struct fixture f;
        open_shape(&f, i);
        struct gpt *g = fixture_gpt(&f, PRECISION_F32, true);
        double *w = weights64(&f);
        const double expected = reference_of(&f, w);
        assert_true(fabs(judge(&f, g) / expected - 1.0) < 2e-6);
        assert_true(fabs(learn(&f, g) / expected - 1.0) < 2e-6);
        free(w);
        gpt_destroy(&g);
        fixture_close(&f);
    }
}

/* Central difference of the reference's loss: with h = 1e-5 in double precision its own error is
 * far below the float32 error it is there to find. */
static double difference(const struct fixture *f, double *w, int64_t i)
{
    const double h = 1e-5, kept = w[i];
    w[i] = kept + h;
    const double above = reference_of(f, w);
    w[i] = kept - h;
    const double below = reference_of(f, w);
    w[i] = kept;
    return (above - below) / (2.0 * h);
}

/* Some elements of one tensor, among them the first and the last. Tolerance: 2e-5 of the largest
 * gradient in the tensor, plus 2e-7. */
static void check_tensor(const struct fixture *f, double *w, const float *grads,
                         const struct param_tensor *t)
{
    const int64_t n = t->real_rows * t->cols, stride = n / 6 + 1;
    double largest = 0.0;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)grads[t->offset + i]));
    for (int64_t i = 0; i < n; i = i < n - 1 && i + stride > n - 1 ? n - 1 : i + stride) {
        const double expected = difference(f, w, t->offset + i), found = grads[t->offset + i];
        if (!(fabs(found - expected) <= 2e-5 * largest + 2e-7))
            fail_msg("%s element %lld: gradient %.9g, finite difference %.9g", t->name,
                     (long long)i, found, expected);
    }
}

static void gradients_are_finite_differences(void **state)
{
    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        struct fixture f;
        open_shape(&f, i);
        struct gpt *g = fixture_gpt(&f, PRECISION_F32, true);
        double *w = weights64(&f);
        learn(&f, g);
        for (int t = 0; t < f.table->n_tensors; t++)
            check_tensor(&f, w, gpt_grads(g), &f.table->tensor[t]);
        free(w);
        gpt_destroy(&g);
        fixture_close(&f);
    }
}

/* Padding rows of wte, positions beyond the batch's context and gaps between tensors. */
static void nothing_flows_into_padding(void **state)
{
    (void)state;
    for (int k = 0; k < 2 * N_SHAPES; k++) {
        struct fixture f;
        open_shape(&f, k / 2);
        struct gpt *g = fixture_gpt(&f, precisions[k % 2], true);
        learn(&f, g);
        for (int i = 0; i < f.table->n_tensors; i++) {
            const struct param_tensor *t = &f.table->tensor[i];
            const int64_t rows = t->which == PARAM_WPE ? f.context : t->real_rows;
            const int64_t end = i + 1 < f.table->n_tensors ? t[1].offset : f.table->n_params;
            for (int64_t j = t->offset + rows * t->cols; j < end; j++)
                assert_true(gpt_grads(g)[j] == 0.0f);
        }
        gpt_destroy(&g);
        fixture_close(&f);
    }
}

static double cosine(const float *a, const float *b, int64_t n)
{
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (int64_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

static void assert_bf16_is_close(struct gpt_shape shape)
{
    struct fixture f;
    fixture_open_shape(&f, shape, 4, 32);
    struct gpt *g32 = fixture_gpt(&f, PRECISION_F32, true);
    struct gpt *g16 = fixture_gpt(&f, PRECISION_BF16, true);
    const double exact = learn(&f, g32), rounded = learn(&f, g16);
    assert_null(gpt_weights16(g32));
    assert_true(fabs(rounded / exact - 1.0) < 3e-3);
    assert_true(fabs(judge(&f, g16) / exact - 1.0) < 3e-3);
    for (int i = 0; i < f.table->n_tensors; i++) {
        const struct param_tensor *t = &f.table->tensor[i];
        const double c =
            cosine(gpt_grads(g16) + t->offset, gpt_grads(g32) + t->offset, t->rows * t->cols);
        if (!(c > 0.99)) fail_msg("%s: cosine of bf16 and f32 gradients is %g", t->name, c);
    }
    /* and it is not f32 in disguise */
    assert_true(relative_distance(gpt_grads(g16), gpt_grads(g32), f.table->n_params) > 1e-4);
    gpt_destroy(&g16);
    gpt_destroy(&g32);
    fixture_close(&f);
}

static void bf16_is_close_to_f32(void **state)
{
    (void)state;
    assert_bf16_is_close(fixture_gpt2(3, 4, 64, 97));
    assert_bf16_is_close(fixture_llama(3, 4, 2, 64, 192, 97, false));
    assert_bf16_is_close(fixture_llama(3, 4, 4, 64, 192, 97, true));
}

static void assert_judging_is_learning(int shape)
{
    struct fixture f;
    open_shape(&f, shape);
    struct gpt *learner = fixture_gpt(&f, PRECISION_F32, true);
    struct gpt *judging = fixture_gpt(&f, PRECISION_F32, false);
    const double loss = learn(&f, learner);
    assert_true(judge(&f, learner) == loss);
    assert_true(judge(&f, judging) == loss);
    /* the gradients are as gpt_learn left them, and a model that only judges has none */
    double *before = malloc((size_t)f.table->n_params * sizeof *before);
    assert_non_null(before);
    for (int64_t i = 0; i < f.table->n_params; i++)
        before[i] = gpt_grads(learner)[i];
    judge(&f, learner);
    for (int64_t i = 0; i < f.table->n_params; i++)
        assert_true(before[i] == gpt_grads(learner)[i]);
    free(before);
    assert_null(gpt_grads(judging));
    gpt_destroy(&judging);
    gpt_destroy(&learner);
    fixture_close(&f);
}

static void judging_is_learning_without_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < N_SHAPES; i++)
        assert_judging_is_learning(i);
}

/* In bf16 the two kinds of model lay out logits differently; judging must not see it, but for the
 * rounding of matmuls of other sizes. */
static void assert_judging_needs_no_learner(struct fixture *f)
{
    struct gpt *learner = fixture_gpt(f, PRECISION_BF16, true);
    struct gpt *judging = fixture_gpt(f, PRECISION_BF16, false);
    assert_true(fabs(judge(f, learner) / judge(f, judging) - 1.0) < 1e-6);
    gpt_destroy(&judging);
    gpt_destroy(&learner);
}

static void judging_in_bf16_is_the_same_with_and_without_learning(void **state)
{
    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        struct fixture f;
        open_shape(&f, i);
        assert_judging_needs_no_learner(&f);
        fixture_close(&f);
    }
}

/* Two halves, each scaled by 1/2, against the whole batch: the same gradients, and the same mean
 * loss, to 1e-5. */
static void assert_accumulates(struct fixture *f)
{
    const int half = f->batch / 2, offset = half * f->context;
    const struct gpt_setup setup = {
        .batch = half, .context = f->context, .precision = PRECISION_F32, .learns = true};
    struct gpt *whole = fixture_gpt(f, PRECISION_F32, true);
    struct gpt *parts = fixture_gpt_setup(f, setup);
    double first, second;
    require_ok(gpt_zero_grads(parts));
    require_ok(gpt_learn(parts, f->tokens, f->targets, half, 0.5f, &first));
    require_ok(gpt_learn(parts, f->tokens + offset, f->targets + offset, half, 0.5f, &second));
    assert_true(fabs(learn(f, whole) - (first + second) / 2.0) < 1e-5);
    assert_true(relative_distance(gpt_grads(parts), gpt_grads(whole), f->table->n_params) < 1e-5);
    /* the large model, used for half its batch, gives the same bits as the small one */
    require_ok(gpt_zero_grads(whole));
    require_ok(gpt_learn(whole, f->tokens, f->targets, half, 0.5f, &second));
    assert_true(first == second);
    gpt_destroy(&parts);
    gpt_destroy(&whole);
}

static void micro_batches_add_up(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, 2, 2, 32, 50, 4, 12);
    assert_accumulates(&f);
    fixture_close(&f);
    for (int tied = 0; tied < 2; tied++) {
        fixture_open_shape(&f, fixture_llama(2, 2, 1, 32, 64, 50, tied), 4, 12);
        assert_accumulates(&f);
        fixture_close(&f);
    }
}

/* After gpt_zero_grads nothing of earlier gradients is left, whatever they were. */
static void gradients_begin_anew(void **state)
{
    (void)state;
    for (int k = 0; k < 2 * N_SHAPES; k++) {
        struct fixture f;
        open_shape(&f, k / 2);
        struct gpt *g = fixture_gpt(&f, precisions[k % 2], true);
        struct gpt *fresh = fixture_gpt(&f, precisions[k % 2], true);
        for (int i = 0; i < f.table->n_tensors; i++) {
            const struct param_tensor *t = &f.table->tensor[i];
            for (int64_t j = 0; j < t->rows * t->cols; j++)
                gpt_grads(g)[t->offset + j] = NAN;
        }
        learn(&f, g);
        learn(&f, fresh);
        assert_memory_equal(gpt_grads(g), gpt_grads(fresh),
                            (size_t)f.table->n_params * sizeof(float));
        gpt_destroy(&fresh);
        gpt_destroy(&g);
        fixture_close(&f);
    }
}

/* Two batches, so that what one leaves in shared memory could reach the other. */
static void assert_same_bits(const struct fixture *f, enum precision precision,
                             enum recompute recompute)
{
    struct gpt_setup setup = {
        .batch = f->batch, .context = f->context, .precision = precision, .learns = true};
    struct gpt *keeping = fixture_gpt_setup(f, setup);
    setup.recompute = recompute;
    struct gpt *recomputing = fixture_gpt_setup(f, setup);
    for (int i = 0; i < 2; i++) {
        double expected, loss;
        require_ok(gpt_learn(keeping, f->tokens, f->targets, f->batch - i, 0.5f, &expected));
        require_ok(gpt_learn(recomputing, f->tokens, f->targets, f->batch - i, 0.5f, &loss));
        assert_true(loss == expected);
        assert_memory_equal(gpt_grads(recomputing), gpt_grads(keeping),
                            (size_t)f->table->n_params * sizeof(float));
    }
    gpt_destroy(&recomputing);
    gpt_destroy(&keeping);
}

static void recomputing_changes_no_bit(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct fixture f;
        fixture_open_shape(
            &f, k == 0 ? fixture_gpt2(4, 3, 48, 90) : fixture_llama(4, 4, 2, 64, 128, 90, false), 3,
            37);
        for (int p = 0; p < 2; p++) {
            assert_same_bits(&f, precisions[p], RECOMPUTE_MLP);
            assert_same_bits(&f, precisions[p], RECOMPUTE_BLOCK);
        }
        fixture_close(&f);
    }
}

/* A large vocabulary needs two pieces of logits for 400 rows, and one piece for 200. */
static void head_in_pieces_is_the_head(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, 1, 1, 8, 65000, 4, 100);
    assert_accumulates(&f);
    struct gpt *g = fixture_gpt(&f, PRECISION_F32, false);
    double *w = weights64(&f);
    assert_true(fabs(judge(&f, g) / reference_of(&f, w) - 1.0) < 2e-6);
    free(w);
    gpt_destroy(&g);
    assert_judging_needs_no_learner(&f);
    fixture_close(&f);
}

static void diverged_weights_give_a_result(void **state)
{
    (void)state;
    struct fixture f;
    open_shape(&f, 1);
    struct gpt *g = fixture_gpt(&f, PRECISION_F32, true);
    f.expert->weights[param_get(f.table, PARAM_FC_B, 1)->offset] = NAN;
    assert_false(isfinite(judge(&f, g)));
    assert_false(isfinite(learn(&f, g)));
    gpt_destroy(&g);
    fixture_close(&f);
}

static void bad_batches_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct gpt *none = NULL;
    struct gpt_setup setup = {.batch = 1, .precision = PRECISION_F32};
    double loss;
    open_shape(&f, 1);
    struct gpt *g = fixture_gpt(&f, PRECISION_F32, false);
    assert_int_equal(gpt_judge(g, f.tokens, f.targets, f.batch + 1, &loss), SHOAL_EARG);
    assert_int_equal(gpt_learn(g, f.tokens, f.targets, f.batch, 1.0f, &loss), SHOAL_EARG);
    assert_int_equal(gpt_zero_grads(g), SHOAL_EARG);
    const int32_t kept = f.tokens[5];
    f.tokens[5] = f.table->shape.vocab;
    assert_int_equal(gpt_judge(g, f.tokens, f.targets, f.batch, &loss), SHOAL_EARG);
    assert_non_null(strstr(shoal_failure_text(), "token 40 at place 5"));
    f.tokens[5] = kept;
    for (int i = 0; i < f.batch * f.context; i++)
        f.targets[i] = -1;
    assert_int_equal(gpt_judge(g, f.tokens, f.targets, f.batch, &loss), SHOAL_EARG);
    setup.context = f.table->shape.context + 1;
    assert_int_equal(gpt_create(f.dev, f.table, setup, &none), SHOAL_EARG);
    gpt_destroy(&g);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_is_the_references),
        cmocka_unit_test(gradients_are_finite_differences),
        cmocka_unit_test(nothing_flows_into_padding),
        cmocka_unit_test(bf16_is_close_to_f32),
        cmocka_unit_test(judging_is_learning_without_gradients),
        cmocka_unit_test(judging_in_bf16_is_the_same_with_and_without_learning),
        cmocka_unit_test(micro_batches_add_up),
        cmocka_unit_test(gradients_begin_anew),
        cmocka_unit_test(recomputing_changes_no_bit),
        cmocka_unit_test(head_in_pieces_is_the_head),
        cmocka_unit_test(diverged_weights_give_a_result),
        cmocka_unit_test(bad_batches_are_refused),
    };
    return cmocka_run_group_tests_name("gpt", tests, NULL, NULL);
}
