/* gpt_create allocates what gpt_bytes says, and a training step allocates nothing.
 *
 * The linker sends every allocation of shoal's own code through the __wrap functions below. Shared
 * libraries (oneDNN builds small argument tables inside a call) are not counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "model/fixture.h"
#include "optim/optim.h"

/* Since the program began; the linker gives the wrappers no argument to count in. */
static int64_t allocations;
static int64_t device_bytes;

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __real_posix_memalign(void **out, size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes);
enum shoal_status __real_device_alloc(struct device *dev, size_t bytes, const char *what,
                                      void *out);
enum shoal_status __wrap_device_alloc(struct device *dev, size_t bytes, const char *what,
                                      void *out);

void *__wrap_malloc(size_t bytes)
{
    allocations++;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    allocations++;
    return __real_calloc(n, bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
    allocations++;
    return __real_realloc(p, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    allocations++;
    return __real_aligned_alloc(alignment, bytes);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes)
{
    allocations++;
    return __real_posix_memalign(out, alignment, bytes);
}

enum shoal_status __wrap_device_alloc(struct device *dev, size_t bytes, const char *what, void *out)
{
    device_bytes += (int64_t)bytes;
    return __real_device_alloc(dev, bytes, what, out);
}

static void create_allocates_what_bytes_says(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, 3, 2, 32, 70, 4, 11);
    for (int precision = PRECISION_F32; precision <= PRECISION_BF16; precision++)
        for (int learns = 0; learns < 2; learns++) {
            const int64_t before = device_bytes;
            struct gpt *g = fixture_gpt(&f, (enum precision)precision, learns);
            assert_int_equal(device_bytes - before, gpt_bytes(f.table, f.batch, f.context,
                                                              (enum precision)precision, learns));
            gpt_destroy(&g);
        }
    /* learning keeps every layer's activations, judging only one layer's */
    assert_true(gpt_bytes(f.table, 4, 11, PRECISION_F32, true) >
                2 * gpt_bytes(f.table, 4, 11, PRECISION_F32, false));
    fixture_close(&f);
}

static void learn_and_step(const struct fixture *f, struct gpt *g, const struct config *c)
{
    struct optim_result result;
    double loss;
    require_ok(gpt_learn(g, f->tokens, f->targets, f->batch, 1.0f, &loss));
    require_ok(gpt_judge(g, f->tokens, f->targets, f->batch, &loss));
    require_ok(optim_step(c, f->expert, g, &result));
}

static void assert_steps_without_allocating(enum precision precision)
{
    struct fixture f;
    struct config c = {0};
    c.run.steps = 10;
    c.train.lr = 1e-3;
    c.train.clip = 1.0;
    c.train.beta1 = 0.9;
    c.train.beta2 = 0.95;
    c.train.eps = 1e-8;
    fixture_open(&f, 2, 2, 32, 70, 4, 11);
    struct gpt *g = fixture_gpt(&f, precision, true);
    learn_and_step(&f, g, &c); /* kernels may set themselves up in the first */
    const int64_t before = allocations, bytes_before = device_bytes;
    assert_true(before > 0 && bytes_before > 0); /* the wrappers do count */
    for (int i = 0; i < 3; i++)
        learn_and_step(&f, g, &c);
    assert_int_equal(allocations, before);
    assert_int_equal(device_bytes, bytes_before);
    gpt_destroy(&g);
    fixture_close(&f);
}

static void f32_step_allocates_nothing(void **state)
{
    (void)state;
    assert_steps_without_allocating(PRECISION_F32);
}

static void bf16_step_allocates_nothing(void **state)
{
    (void)state;
    assert_steps_without_allocating(PRECISION_BF16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_allocates_what_bytes_says),
        cmocka_unit_test(f32_step_allocates_nothing),
        cmocka_unit_test(bf16_step_allocates_nothing),
    };
    return cmocka_run_group_tests_name("allocation", tests, NULL, NULL);
}
