/* The plan for a GPU beside what the CUDA backend allocates on an emulated one: to the byte, but
 * for what drivers and NCCL take. Every case has another kernel that needs most scratch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <cuda_runtime_api.h>
#include "comm/comm.h"
#include "config/config.h"
#include "optim/optim.h"
#include "worker/memory.h"
#include "worker/worker.h"

#define OK(call) assert_int_equal((call), SHOAL_OK)

/* ---- what is allocated ----------------------------------------------------------------------- */

enum { MOST = 64 };

struct account {
    struct {
        void *p;
        size_t bytes;
    } piece[MOST];
    size_t now, most;
};
static struct account device_account, pinned_account;

static void account_add(struct account *a, void *p, size_t bytes)
{
    int i = 0;
    while (i < MOST && a->piece[i].p)
        i++;
    assert_true(i < MOST);
    a->piece[i].p = p;
    a->piece[i].bytes = bytes;
    a->now += bytes;
    if (a->now > a->most) a->most = a->now;
}

static void account_remove(struct account *a, void *p)
{
    int i = 0;
    if (!p) return;
    while (i < MOST && a->piece[i].p != p)
        i++;
    assert_true(i < MOST); /* else freed twice, or by the wrong function */
    a->now -= a->piece[i].bytes;
    a->piece[i].p = NULL;
}

cudaError_t __real_cudaMalloc(void **p, size_t bytes);
cudaError_t __real_cudaMallocHost(void **p, size_t bytes);
cudaError_t __real_cudaFree(void *p);
cudaError_t __real_cudaFreeHost(void *p);
cudaError_t __wrap_cudaMalloc(void **p, size_t bytes);
cudaError_t __wrap_cudaMallocHost(void **p, size_t bytes);
cudaError_t __wrap_cudaFree(void *p);
cudaError_t __wrap_cudaFreeHost(void *p);

cudaError_t __wrap_cudaMalloc(void **p, size_t bytes)
{
    const cudaError_t code = __real_cudaMalloc(p, bytes);
    if (code == cudaSuccess) account_add(&device_account, *p, bytes);
    return code;
}

cudaError_t __wrap_cudaMallocHost(void **p, size_t bytes)
{
    const cudaError_t code = __real_cudaMallocHost(p, bytes);
    if (code == cudaSuccess) account_add(&pinned_account, *p, bytes);
    return code;
}

cudaError_t __wrap_cudaFree(void *p)
{
    account_remove(&device_account, p);
    return __real_cudaFree(p);
}

cudaError_t __wrap_cudaFreeHost(void *p)
{
    account_remove(&pinned_account, p);
    return __real_cudaFreeHost(p);
}

/* ---- a worker's model ------------------------------------------------------------------------ */

struct shape {
    const char *name;
    enum arch arch;
    enum precision precision;
    enum recompute recompute;
    int width, heads, batch, context;
};

/* No more tokens than MOST_TOKENS: a thread of the emulated device costs a microsecond. */
static const struct shape shapes[] = {
    {"the embedding's gradient", ARCH_GPT2, PRECISION_BF16, RECOMPUTE_NONE, 32, 2, 2, 20},
    {"an unfused product", ARCH_GPT2, PRECISION_F32, RECOMPUTE_MLP, 32, 2, 2, 20},
    {"a norm's gradient", ARCH_GPT2, PRECISION_BF16, RECOMPUTE_BLOCK, 96, 2, 2, 32},
    {"attention's gradient", ARCH_GPT2, PRECISION_BF16, RECOMPUTE_NONE, 96, 24, 2, 32},
    {"the angles of positions", ARCH_LLAMA, PRECISION_BF16, RECOMPUTE_NONE, 64, 1, 1, 64},
};
enum { LAYERS = 1, VOCAB = 70, MOST_TOKENS = 64 };

static struct config configure(const struct shape *s)
{
    struct config c;
    config_defaults(&c);
    c.model.arch = (int)s->arch;
    c.model.layers = LAYERS;
    c.model.width = s->width;
    c.model.heads = s->heads;
    c.model.context = s->context;
    c.model.vocab = VOCAB;
    c.model.ffn = s->arch == ARCH_GPT2 ? 0 : 2 * s->width;
    c.population.experts = 1;
    c.train.batch = s->batch;
    c.train.precision = (int)s->precision;
    c.train.recompute = (int)s->recompute;
    c.evolution.recombine = false;
    c.evolution.body.attractor = ATTRACT_BEST;
    c.evolution.body.inertia = 0.5;
    c.evolution.body.cognitive = 1;
    c.evolution.io.attractor = ATTRACT_NONE;
    return c;
}

/* Two micro-batches, an update and a judging. */
static void work(const struct config *c, struct expert *e, struct gpt *g)
{
    static const struct outlier nothing;
    static struct outlier past;
    int32_t tokens[MOST_TOKENS], targets[MOST_TOKENS];
    struct optim_result result;
    double loss = 0;
    past = nothing;
    for (int i = 0; i < MOST_TOKENS; i++) {
        tokens[i] = i * 7 % VOCAB;
        targets[i] = (i * 7 + 7) % VOCAB;
    }
    OK(gpt_load(g, e->weights));
    OK(gpt_zero_grads(g));
    for (int i = 0; i < 2; i++)
        OK(gpt_learn(g, tokens, targets, c->train.batch, 0.5f, &loss));
    OK(optim_step(c, e, g, loss, &past, &result));
    OK(gpt_judge(g, tokens, targets, c->train.batch, &loss));
}

static void run(const struct config *c, const struct param_table *table)
{
    struct device *dev = NULL;
    struct expert *e = NULL;
    struct gpt *g = NULL;
    memset(&device_account, 0, sizeof device_account);
    memset(&pinned_account, 0, sizeof pinned_account);
    OK(device_open("cuda", 0, 1, &dev));
    OK(gpt_create(dev, table, worker_setup(c), &g));
    OK(expert_create(dev, table, 0, true, true, &e));
    OK(expert_init(e, 1, 0, LAYERS));
    work(c, e, g);
    expert_destroy(&e);
    gpt_destroy(&g);
    device_close(&dev);
}

static void planned_to_the_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct config c = configure(&shapes[i]);
        const struct gpt_shape shape = config_shape(&c);
        struct param_table *table = NULL;
        OK(param_table_create(&shape, &table));
        const struct memory m = memory_of(&c, table, (struct memory_place){0, 1, 1, true, 0});
        const int64_t foretold = memory_total(&m, MEMORY_DEVICE) - m.bytes[MEMORY_CONTEXT];
        run(&c, table);
        print_message("%s: %lld bytes foretold, %zu allocated\n", shapes[i].name,
                      (long long)foretold, device_account.most);
        assert_int_equal(device_account.most, foretold);
        assert_int_equal(pinned_account.most, memory_total(&m, MEMORY_PINNED));
        assert_int_equal(device_account.now, 0);
        assert_int_equal(pinned_account.now, 0);
        param_table_destroy(&table);
    }
}

/* Each item is in one place, and the host's peak leaves the GPU's out. */
static void kinds(void **state)
{
    (void)state;
    struct config c = configure(&shapes[0]);
    const struct gpt_shape shape = config_shape(&c);
    struct param_table *table = NULL;
    OK(param_table_create(&shape, &table));
    c.population.experts = 4;
    c.evolution.recombine = true;
    (void)strcpy(c.transport, "mpi");
    const struct memory gpu = memory_of(&c, table, (struct memory_place){1, 2, 1, true, 0});
    const struct memory cpu = memory_of(&c, table, (struct memory_place){1, 2, 1, false, 0});
    int64_t all = 0;
    for (int i = 0; i < MEMORY_ITEMS; i++)
        all += gpu.bytes[i];
    assert_int_equal(all, memory_total(&gpu, MEMORY_DEVICE) + memory_total(&gpu, MEMORY_HOST) +
                              memory_total(&gpu, MEMORY_PINNED));
    assert_int_equal(memory_total(&cpu, MEMORY_DEVICE) + memory_total(&cpu, MEMORY_PINNED), 0);
    assert_int_equal(gpu.bytes[MEMORY_WEIGHTS], cpu.bytes[MEMORY_WEIGHTS]);
    assert_int_equal(gpu.bytes[MEMORY_NCCL], 0);
    assert_true(gpu.bytes[MEMORY_STAGE] > 0);
    assert_true(memory_peak(&gpu) < memory_peak(&cpu));
    (void)strcpy(c.transport, "auto");
    const struct memory by_nccl = memory_of(&c, table, (struct memory_place){1, 2, 1, true, 0});
    assert_true(by_nccl.bytes[MEMORY_NCCL] > 0);
    assert_true(by_nccl.bytes[MEMORY_STAGE] < gpu.bytes[MEMORY_STAGE]);
    param_table_destroy(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_to_the_byte),
        cmocka_unit_test(kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
