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

static void fixture_of(struct fixture *f, enum arch arch)
{
    fixture_open_shape(f,
                       arch == ARCH_GPT2 ? fixture_gpt2(6, 2, 32, 70)
                                         : fixture_llama(6, 2, 1, 32, 96, 70, false),
                       4, 11);
}

/* What gpt_create allocates; gpt_bytes must have said so. */
static int64_t assert_bytes(const struct fixture *f, struct gpt_setup setup)
{
    const int64_t before = device_bytes;
    struct gpt *g = fixture_gpt_setup(f, setup);
    const int64_t bytes = device_bytes - before;
    assert_int_equal(bytes, gpt_bytes(f->table, setup));
    gpt_destroy(&g);
    return bytes;
}

static void create_allocates_what_bytes_says(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct fixture f;
        fixture_of(&f, (enum arch)(k % 2));
        struct gpt_setup setup = {
            .batch = f.batch, .context = f.context, .precision = (enum precision)(k / 2)};
        const int64_t judging = assert_bytes(&f, setup);
        setup.learns = true;
        const int64_t keeping = assert_bytes(&f, setup);
        setup.recompute = RECOMPUTE_MLP;
        const int64_t without_mlp = assert_bytes(&f, setup);
        setup.recompute = RECOMPUTE_BLOCK;
        const int64_t without_blocks = assert_bytes(&f, setup);
        assert_true(judging < without_blocks && without_blocks < without_mlp &&
                    without_mlp < keeping);
        fixture_close(&f);
    }
}

static void learn_and_step(const struct fixture *f, struct gpt *g, const struct config *c)
{
    struct optim_result result;
    struct outlier outlier = {.n = 0};
    double loss;
    require_ok(gpt_learn(g, f->tokens, f->targets, f->batch, 1.0f, &loss));
    require_ok(gpt_judge(g, f->tokens, f->targets, f->batch, &loss));
    require_ok(optim_step(c, f->expert, g, loss, &outlier, &result));
}

static void assert_steps_without_allocating(enum arch arch, struct gpt_setup setup)
{
    struct fixture f;
    struct config c = {0};
    c.run.steps = 10;
    c.train.lr = 1e-3;
    c.train.clip = 1.0;
    c.train.beta1 = 0.9;
    c.train.beta2 = 0.95;
    c.train.eps = 1e-8;
    fixture_of(&f, arch);
    setup.batch = f.batch;
    setup.context = f.context;
    setup.learns = true;
    struct gpt *g = fixture_gpt_setup(&f, setup);
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

static void a_step_allocates_nothing(void **state)
{
    (void)state;
    for (int arch = ARCH_GPT2; arch <= ARCH_LLAMA; arch++)
        for (int precision = PRECISION_F32; precision <= PRECISION_BF16; precision++)
            for (int recompute = RECOMPUTE_NONE; recompute <= RECOMPUTE_BLOCK; recompute++)
                assert_steps_without_allocating(
                    (enum arch)arch, (struct gpt_setup){.precision = (enum precision)precision,
                                                        .recompute = (enum recompute)recompute});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_allocates_what_bytes_says),
        cmocka_unit_test(a_step_allocates_nothing),
    };
    return cmocka_run_group_tests_name("allocation", tests, NULL, NULL);
}
