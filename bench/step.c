/* bench/step - how long one expert's training step takes.
 *
 *   build/bench/bench_step LAYERS WIDTH HEADS CONTEXT VOCAB BATCH f32|bf16 THREADS STEPS [DEVICE
 *       [graph]]
 *
 * A step is what a worker does: forward, backward, clipping, AdamW, on tokens drawn at random. With
 * "graph" passes are queued as graphs (train.graph). The first steps, which compile matrix products
 * and record graphs, are not counted. Prints one line of JSON: the
 * median step, all step times, tokens a second, model FLOPs a second (model/flops.h) and the most
 * memory the process ever held, on the host; device_bytes: in tensors of the device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/openmp_wait.h"
#include "config/config.h"
#include "model/expert.h"
#include "model/flops.h"
#include "model/gpt.h"
#include "optim/optim.h"

enum { WARM_STEPS = 4, MAX_STEPS = 1000, ARGUMENTS = 9 };

struct bench {
    struct config cfg;
    struct device *dev;
    struct param_table *table;
    struct expert *expert;
    struct gpt *gpt;
    struct outlier outlier;
    int32_t *tokens, *targets; /* (batch, context) */
    double seconds[MAX_STEPS];
    int threads, steps;
    const char *device;
};

static enum shoal_status parse(struct bench *b, int argc, char **argv)
{
    const bool graph = argc == ARGUMENTS + 3 && strcmp(argv[ARGUMENTS + 2], "graph") == 0;
    SHOAL_CHECK(argc == ARGUMENTS + 1 || argc == ARGUMENTS + 2 || graph, SHOAL_EARG,
                "give LAYERS WIDTH HEADS CONTEXT VOCAB BATCH f32|bf16 THREADS STEPS [DEVICE "
                "[graph]]");
    b->device = argc > ARGUMENTS + 1 ? argv[ARGUMENTS + 1] : "cpu";
    struct config *const c = &b->cfg;
    config_defaults(c);
    c->population.experts = 1;
    c->model.layers = atoi(argv[1]);
    c->model.width = atoi(argv[2]);
    c->model.heads = atoi(argv[3]);
    c->model.context = atoi(argv[4]);
    c->model.vocab = atoi(argv[5]);
    c->train.batch = atoi(argv[6]);
    c->train.precision = strcmp(argv[7], "bf16") == 0 ? PRECISION_BF16 : PRECISION_F32;
    c->train.graph = graph;
    b->threads = atoi(argv[8]);
    b->steps = atoi(argv[9]);
    SHOAL_CHECK(b->steps >= 1 && b->steps <= MAX_STEPS, SHOAL_EARG, "STEPS is 1 to %d", MAX_STEPS);
    return SHOAL_OK;
}

static struct gpt_setup setup_of(const struct bench *b)
{
    return (struct gpt_setup){.batch = b->cfg.train.batch,
                              .context = b->cfg.model.context,
                              .precision = (enum precision)b->cfg.train.precision,
                              .learns = true,
                              .graph = b->cfg.train.graph};
}

static enum shoal_status build(struct bench *b)
{
    const struct gpt_shape shape = config_shape(&b->cfg);
    const int64_t tokens = (int64_t)b->cfg.train.batch * shape.context;
    const struct rng_key key = {.seed = 1, .stream = RNG_DATA};
    SHOAL_TRY(device_open(b->device, 0, b->threads, &b->dev));
    SHOAL_TRY(param_table_create(&shape, &b->table));
    SHOAL_TRY(expert_create(b->dev, b->table, 0, false, false, &b->expert));
    SHOAL_TRY(expert_init(b->expert, 1, 0, shape.layers));
    SHOAL_TRY(gpt_create(b->dev, b->table, setup_of(b), &b->gpt));
    SHOAL_TRY(gpt_load(b->gpt, b->expert->weights));
    SHOAL_TRY(mem_alloc((size_t)tokens * sizeof *b->tokens, "tokens", &b->tokens));
    SHOAL_TRY(mem_alloc((size_t)tokens * sizeof *b->targets, "targets", &b->targets));
    for (int64_t i = 0; i < tokens; i++) {
        b->tokens[i] = (int32_t)(rng_bits(key, (uint64_t)i) % (uint32_t)shape.vocab);
        b->targets[i] = (int32_t)(rng_bits(key, (uint64_t)(i + 1)) % (uint32_t)shape.vocab);
    }
    return gpt_zero_grads(b->gpt);
}

static enum shoal_status step_waiting(struct bench *b)
{
    struct optim_result result;
    double loss;
    SHOAL_TRY(gpt_learn(b->gpt, b->tokens, b->targets, b->cfg.train.batch, 1.0f, &loss));
    return optim_step(&b->cfg, b->expert, b->gpt, loss, &b->outlier, &result);
}

/* As workers do it on a GPU: queue step n while the one before it is under way, and wait for that.
 */
static enum shoal_status step_queued(struct bench *b, int n)
{
    struct optim_result result;
    double loss;
    SHOAL_TRY(gpt_learn(b->gpt, b->tokens, b->targets, b->cfg.train.batch, 1.0f, NULL));
    SHOAL_TRY(optim_queue(&b->cfg, b->expert, b->gpt, n % 2, &result));
    if (n == 0) return SHOAL_OK;
    return optim_await(&b->cfg, b->gpt, (n - 1) % 2, &b->outlier, &loss, &result);
}

static enum shoal_status run(struct bench *b)
{
    const bool waits = device_is_host(b->dev);
    for (int n = 0; n < WARM_STEPS + b->steps; n++) {
        const double start_s = clock_now_s();
        SHOAL_TRY(waits ? step_waiting(b) : step_queued(b, n));
        if (n >= WARM_STEPS) b->seconds[n - WARM_STEPS] = clock_now_s() - start_s;
    }
    return device_sync(b->dev);
}

static int ascending(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static enum shoal_status report(struct bench *b)
{
    struct rusage usage;
    struct json j;
    const double tokens = (double)b->cfg.train.batch * b->cfg.model.context;
    SHOAL_CHECK(getrusage(RUSAGE_SELF, &usage) == 0, SHOAL_EIO, "getrusage failed");
    json_begin(&j);
    json_numbers(&j, "seconds", b->seconds, (size_t)b->steps);
    qsort(b->seconds, (size_t)b->steps, sizeof *b->seconds, ascending);
    const double median = b->seconds[b->steps / 2];
    json_number(&j, "median_s", median);
    json_number(&j, "tokens_per_s", tokens / median);
    json_number(&j, "flops_per_s", gpt_flops_per_token(&b->table->shape) * tokens / median);
    json_number(&j, "peak_rss_bytes", (double)usage.ru_maxrss * 1024.0);
    json_number(&j, "device_bytes",
                (double)(gpt_bytes(b->table, setup_of(b)) +
                         3 * b->table->n_params * (int64_t)sizeof(float)));
    json_string(&j, "device", device_describe(b->dev));
    return json_end(&j, stdout);
}

static enum shoal_status bench(struct bench *b, int argc, char **argv)
{
    SHOAL_TRY(parse(b, argc, argv));
    SHOAL_TRY(build(b));
    SHOAL_TRY(run(b));
    return report(b);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    openmp_wait_briefly(argv);
    const enum shoal_status st = bench(&b, argc, argv);
    if (st != SHOAL_OK) log_error(shoal_failure_text());
    mem_free(b.tokens);
    mem_free(b.targets);
    gpt_destroy(&b.gpt);
    expert_destroy(&b.expert);
    param_table_destroy(&b.table);
    device_close(&b.dev);
    return shoal_exit_code(st);
}
