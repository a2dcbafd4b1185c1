/* What the number of threads may change: nothing when it stays the same, little when it does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "model/fixture.h"

enum { BATCH = 6, CONTEXT = 96 };

struct result {
    double loss;
    float *grads; /* owned */
};

static struct result learn(const struct fixture *f, int threads, enum precision precision)
{
    struct fixture with = *f;
    struct result r;
    const size_t bytes = (size_t)f->table->n_params * sizeof(float);
    require_ok(device_open("cpu", 0, threads, &with.dev));
    struct gpt *g = fixture_gpt(&with, precision, true);
    require_ok(gpt_learn(g, f->tokens, f->targets, f->batch, 1.0f, &r.loss));
    r.grads = malloc(bytes);
    assert_non_null(r.grads);
    memcpy(r.grads, gpt_grads(g), bytes);
    gpt_destroy(&g);
    device_close(&with.dev);
    return r;
}

static void compare(struct gpt_shape shape, enum precision precision)
{
    struct fixture f;
    fixture_open_shape(&f, shape, BATCH, CONTEXT);
    const int64_t n = f.table->n_params;
    struct result one = learn(&f, 1, precision), two = learn(&f, 2, precision);
    struct result again = learn(&f, 2, precision);
    assert_true(two.loss == again.loss);
    assert_memory_equal(two.grads, again.grads, (size_t)n * sizeof(float));
    assert_true(fabs(two.loss / one.loss - 1.0) < 1e-5);
    assert_true(relative_distance(two.grads, one.grads, n) < 1e-5);
    free(one.grads);
    free(two.grads);
    free(again.grads);
    fixture_close(&f);
}

static void gpt2(void **state)
{
    (void)state;
    compare(fixture_gpt2(3, 4, 96, 300), PRECISION_F32);
    compare(fixture_gpt2(3, 4, 96, 300), PRECISION_BF16);
}

static void llama(void **state)
{
    (void)state;
    compare(fixture_llama(3, 4, 2, 96, 250, 300, false), PRECISION_F32);
    compare(fixture_llama(3, 4, 2, 96, 250, 300, false), PRECISION_BF16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gpt2), cmocka_unit_test(llama)};
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
