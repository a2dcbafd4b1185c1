/* Arithmetic per token, against counts made from the parameter table and from the loops of
 * attention.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "model/fixture.h"
#include "model/flops.h"

static struct gpt_shape gpt2(int layers, int heads, int width, int context, int vocab)
{
    return (struct gpt_shape){.layers = layers,
                              .heads = heads,
                              .width = width,
                              .context = context,
                              .vocab = vocab,
                              .vocab_pad = (vocab + 127) / 128 * 128,
                              .arch = ARCH_GPT2,
                              .kv_heads = heads,
                              .ffn = 4 * width,
                              .tied = true};
}

/* Multiplications and additions of a token's forward pass that involve a parameter: one of each per
 * entry of every matrix but the position embedding; the token embedding is the head. */
static double matrix_flops(const struct gpt_shape *shape)
{
    struct param_table *table;
    double sum = 0.0;
    require_ok(param_table_create(shape, &table));
    for (int i = 0; i < table->n_tensors; i++) {
        const struct param_tensor *t = &table->tensor[i];
        if (t->matrix && t->which != PARAM_WPE) sum += 2.0 * (double)(t->real_rows * t->cols);
    }
    param_table_destroy(&table);
    return sum;
}

/* Of one sequence: position t takes t + 1 products of two vectors for the scores, and as many for
 * the values. */
static double attention_flops(const struct gpt_shape *shape)
{
    double sum = 0.0;
    for (int layer = 0; layer < shape->layers; layer++)
        for (int t = 0; t < shape->context; t++)
            for (int seen = 0; seen <= t; seen++)
                sum += 2.0 * 2.0 * shape->width;
    return sum;
}

static void every_product_counts_once(void **state)
{
    (void)state;
    const struct gpt_shape shapes[] = {gpt2(3, 4, 64, 200, 1000), gpt2(1, 1, 8, 128, 11)};
    for (int i = 0; i < 2; i++) {
        const struct gpt_shape *s = &shapes[i];
        /* The backward pass takes twice the forward's. Half a context a token leaves out the
         * diagonal: a share of 1 / (T + 1) of attention. */
        const double attention = 3.0 * attention_flops(s) / s->context;
        const double expected = 3.0 * matrix_flops(s) + attention * s->context / (s->context + 1.0);
        assert_true(fabs(gpt_flops_per_token(s) / expected - 1.0) < 1e-12);
    }
}

static void the_124m_model(void **state)
{
    (void)state;
    const struct gpt_shape s = gpt2(12, 12, 768, 1024, 50257);
    /* 84934656 parameters in the blocks' matrices, 38597376 in the head. */
    assert_true(gpt_flops_per_token(&s) == 6.0 * (84934656.0 + 38597376.0) + 56623104.0);
}

/* Its 1100048384 parameters without the embedding's 65536000 and the norms' 92160. */
static void a_llama_of_1100m(void **state)
{
    (void)state;
    const struct gpt_shape s = {.layers = 22,
                                .heads = 32,
                                .width = 2048,
                                .context = 2048,
                                .vocab = 32000,
                                .vocab_pad = 32000,
                                .arch = ARCH_LLAMA,
                                .kv_heads = 4,
                                .ffn = 5632};
    const double matrices = 1100048384.0 - 65536000.0 - 92160.0;
    assert_true(gpt_flops_per_token(&s) == 6.0 * matrices + 6.0 * 22.0 * 2048.0 * 2048.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_product_counts_once),
        cmocka_unit_test(the_124m_model),
        cmocka_unit_test(a_llama_of_1100m),
    };
    return cmocka_run_group_tests_name("flops", tests, NULL, NULL);
}
