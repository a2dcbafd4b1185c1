/* Decoding token by token against the whole forward pass; sampling. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "model/decoder.h"
#include "model/fixture.h"
#include "model/reference.h"

enum { VOCAB = 70, CONTEXT = 21 };

/* Loss of one target under the decoder's logits. */
static double loss_of(const float *logits, int target)
{
    double sum = 0.0;
    for (int v = 0; v < VOCAB; v++)
        sum += exp((double)logits[v]);
    return log(sum) - logits[target];
}

static void assert_logits(struct gpt_shape shape)
{
    struct fixture f;
    struct decoder *d;
    const float *logits;
    static double expected[CONTEXT][VOCAB];
    double judged, summed = 0.0;
    int counted = 0;
    fixture_open_shape(&f, shape, 1, CONTEXT);
    double *w = malloc((size_t)f.table->n_params * sizeof *w);
    assert_non_null(w);
    for (int64_t i = 0; i < f.table->n_params; i++)
        w[i] = f.expert->weights[i];
    reference_loss(f.table, w, f.tokens, f.targets, 1, CONTEXT, &expected[0][0]);
    require_ok(decoder_create(f.dev, f.table, f.expert->weights, &d));
    for (int t = 0; t < CONTEXT; t++) {
        assert_int_equal(decoder_position(d), t);
        require_ok(decoder_step(d, f.tokens[t], &logits));
        for (int v = 0; v < VOCAB; v++)
            assert_true(fabs(logits[v] - expected[t][v]) < 2e-5);
        if (f.targets[t] < 0) continue;
        summed += loss_of(logits, f.targets[t]);
        counted++;
    }
    struct gpt *g = fixture_gpt(&f, PRECISION_F32, false);
    require_ok(gpt_judge(g, f.tokens, f.targets, 1, &judged));
    assert_true(fabs(judged - summed / counted) < 1e-5);
    gpt_destroy(&g);
    decoder_destroy(&d);
    free(w);
    fixture_close(&f);
}

static void logits_are_the_forward_passes(void **state)
{
    (void)state;
    assert_logits(fixture_gpt2(3, 2, 32, VOCAB));
    assert_logits(fixture_llama(3, 4, 2, 32, 64, VOCAB, false));
    assert_logits(fixture_llama(2, 3, 1, 18, 20, VOCAB, true));
}

static void assert_resets(struct gpt_shape shape)
{
    struct fixture f;
    struct decoder *d;
    const float *logits;
    fixture_open_shape(&f, shape, 1, CONTEXT);
    require_ok(decoder_create(f.dev, f.table, f.expert->weights, &d));
    require_ok(decoder_step(d, 3, &logits));
    const float first = logits[0];
    for (int t = 1; t < f.table->shape.context; t++)
        require_ok(decoder_step(d, 5, &logits));
    assert_int_equal(decoder_step(d, 5, &logits), SHOAL_EARG);
    decoder_reset(d);
    assert_int_equal(decoder_position(d), 0);
    require_ok(decoder_step(d, 3, &logits));
    assert_true(logits[0] == first);
    assert_int_equal(decoder_step(d, VOCAB, &logits), SHOAL_EARG);
    assert_int_equal(decoder_step(d, -1, &logits), SHOAL_EARG);
    decoder_destroy(&d);
    assert_null(d);
    fixture_close(&f);
}

static void reset_forgets_and_a_full_context_is_refused(void **state)
{
    (void)state;
    assert_resets(fixture_gpt2(1, 2, 16, VOCAB));
    assert_resets(fixture_llama(1, 2, 1, 16, 64, VOCAB, false));
}

/* ---- sampling -------------------------------------------------------------------------------- */

enum { N_LOGITS = 7, DRAWS = 20000 };
static const float some_logits[N_LOGITS] = {0.5f, 2.0f, -1.0f, 1.5f, 2.5f, -3.0f, 0.0f};

static int32_t sample(struct sampling s, uint64_t index)
{
    float scratch[N_LOGITS];
    int32_t token = -1;
    require_ok(sample_token(some_logits, N_LOGITS, s, index, scratch, &token));
    assert_in_range(token, 0, N_LOGITS - 1);
    return token;
}

static void zero_temperature_and_top_one_are_the_likeliest(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(sample((struct sampling){0.0f, 0, 1}, i), 4);
        assert_int_equal(sample((struct sampling){2.0f, 1, 1}, i), 4);
    }
}

/* Frequencies within five standard errors of softmax(logits / temperature) over the top k. */
static void assert_frequencies(struct sampling s, const int *allowed, int n_allowed)
{
    int seen[N_LOGITS] = {0}, total = 0;
    double sum = 0.0;
    for (uint64_t i = 0; i < DRAWS; i++)
        seen[sample(s, i)]++;
    for (int a = 0; a < n_allowed; a++)
        sum += exp(some_logits[allowed[a]] / s.temperature);
    for (int a = 0; a < n_allowed; a++) {
        const double p = exp(some_logits[allowed[a]] / s.temperature) / sum;
        const double error = fabs(seen[allowed[a]] / (double)DRAWS - p);
        assert_true(error < 5.0 * sqrt(p * (1.0 - p) / DRAWS));
        total += seen[allowed[a]];
    }
    assert_int_equal(total, DRAWS);
}

static void frequencies_follow_temperature_and_top_k(void **state)
{
    (void)state;
    const int all[] = {0, 1, 2, 3, 4, 5, 6}, top[] = {1, 3, 4};
    assert_frequencies((struct sampling){1.0f, 0, 5}, all, 7);
    assert_frequencies((struct sampling){0.7f, 0, 6}, all, 7);
    assert_frequencies((struct sampling){1.3f, 3, 7}, top, 3);
    assert_frequencies((struct sampling){1.3f, 99, 7}, all, 7);
}

static void draws_depend_on_seed_and_index(void **state)
{
    (void)state;
    int by_seed = 0, by_index = 0;
    for (uint64_t i = 0; i < 100; i++) {
        const int32_t token = sample((struct sampling){1.0f, 0, 1}, i);
        assert_int_equal(token, sample((struct sampling){1.0f, 0, 1}, i));
        by_seed += token != sample((struct sampling){1.0f, 0, 2}, i);
        by_index += token != sample((struct sampling){1.0f, 0, 1}, i + 1000);
    }
    assert_true(by_seed > 20 && by_index > 20);
}

static void diverged_logits_are_an_error(void **state)
{
    (void)state;
    float logits[N_LOGITS] = {0}, scratch[N_LOGITS];
    int32_t token;
    logits[3] = NAN;
    const struct sampling s = {1.0f, 0, 1};
    assert_int_equal(sample_token(logits, N_LOGITS, s, 0, scratch, &token), SHOAL_ENUMERIC);
    logits[3] = INFINITY;
    assert_int_equal(sample_token(logits, N_LOGITS, s, 0, scratch, &token), SHOAL_ENUMERIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_the_forward_passes),
        cmocka_unit_test(reset_forgets_and_a_full_context_is_refused),
        cmocka_unit_test(zero_temperature_and_top_one_are_the_likeliest),
        cmocka_unit_test(frequencies_follow_temperature_and_top_k),
        cmocka_unit_test(draws_depend_on_seed_and_index),
        cmocka_unit_test(diverged_logits_are_an_error),
    };
    return cmocka_run_group_tests_name("decoder", tests, NULL, NULL);
}
