/* Data parallel training against its definition: K replicas with batches of B sequences take the
 * steps of one expert whose batch is all K B sequences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include "base/memory.h"
#include "comm/comm.h"
#include "data/data.h"
#include "evo/protocol.h"
#include "optim/optim.h"
#include "snapshot/shard.h"
#include "worker/worker.h"

enum { K = 3, B = 4, CONTEXT = 16, STEPS = 6 };
#define OK(call) assert_int_equal((call), SHOAL_OK)

struct fixture {
    char dir[64];
    struct config c;
    double loss[STEPS]; /* as reported by the last replica */
    double fitness[K];
};

static void write_tokens(const char *path, int n, uint32_t seed)
{
    const int32_t header[256] = {20240520, 1, n};
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(header, sizeof header, 1, file), 1);
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        const uint16_t token = (uint16_t)((seed >> 24) % 23 + (i % 5) * 3);
        assert_int_equal(fwrite(&token, sizeof token, 1, file), 1);
    }
    assert_int_equal(fclose(file), 0);
}

static void make(struct fixture *f)
{
    char path[128];
    memset(f, 0, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/shoal-parallel-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(path, sizeof path, "%s/train_0.bin", f->dir);
    write_tokens(path, 4000, 1);
    snprintf(path, sizeof path, "%s/val_0.bin", f->dir);
    write_tokens(path, 600, 2);
    char out[128], train[128], val[128], steps[32];
    snprintf(out, sizeof out, "run.out=%s/run", f->dir);
    snprintf(train, sizeof train, "data.train=%s/train_*.bin", f->dir);
    snprintf(val, sizeof val, "data.val=%s/val_*.bin", f->dir);
    snprintf(steps, sizeof steps, "run.steps=%d", STEPS);
    const char *sets[] = {out,
                          train,
                          val,
                          steps,
                          "run.log=1",
                          "threads=1",
                          "population.mode=data_parallel",
                          "population.experts=3",
                          "population.layers_per_expert=2",
                          "model.width=32",
                          "model.heads=2",
                          "model.context=16",
                          "train.batch=4",
                          "train.micro_batch=2",
                          "train.precision=f32",
                          "train.warmup=2",
                          "train.lr=0.003",
                          "train.clip=0.5",
                          "evolution.fitness_batches=1"};
    OK(config_load(&f->c, NULL, sets, sizeof sets / sizeof *sets));
    OK(config_validate(&f->c, 1));
}

static void clear(struct fixture *f)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
}

static enum shoal_status hear(void *owner, const void *record, size_t bytes)
{
    struct fixture *f = owner;
    struct report r;
    assert_int_equal(bytes, sizeof r);
    memcpy(&r, record, sizeof r);
    if (r.kind == REPORT_STEP) f->loss[r.step - 1] = r.value[0];
    if (r.kind == REPORT_FITNESS) f->fitness[r.member] = r.value[0];
    return SHOAL_OK;
}

/* The run as a worker of one carries it out; its shards stay in the run directory. */
static void train(struct fixture *f)
{
    struct comm *comm = NULL;
    struct worker *w = NULL;
    const struct worker_origin origin = {.run_id = "test"};
    int argc = 0;
    char **argv = NULL;
    OK(comm_open(&argc, &argv, &comm));
    comm_set_local(comm, hear, f);
    OK(run_make(f->c.run.out, K));
    OK(worker_create(&f->c, comm, 0, &origin, &w));
    OK(comm_attach(comm, "mpi", worker_device(w)));
    struct order order = {.best = -1, .every = STEPS, .until = STEPS};
    OK(comm_order(comm, &order, order_bytes(K)));
    order = (struct order){.step = STEPS, .until = STEPS, .snapshot = 1, .stop = 1};
    OK(comm_order(comm, &order, order_bytes(K)));
    OK(worker_run(w));
    worker_destroy(&w);
    comm_close(&comm);
}

/* The first B sequences of each replica's stream from `position` on, as one batch. */
static void take_all(const struct fixture *f, const struct data *data, int64_t position,
                     int32_t *tokens, int32_t *targets)
{
    for (int k = 0; k < K; k++)
        for (int b = 0; b < B; b++)
            OK(data_sample(data, (uint64_t)f->c.run.seed, k, position + b,
                           tokens + (k * B + b) * CONTEXT, targets + (k * B + b) * CONTEXT));
}

struct reference {
    struct device *dev;
    struct param_table *table;
    struct expert *e;
    struct gpt *g;
    double loss[STEPS];
};

static void train_alone(struct fixture *f, struct reference *r)
{
    const struct gpt_shape shape = config_shape(&f->c);
    const struct gpt_setup setup = {.batch = K * B, .context = CONTEXT, .learns = true};
    static int32_t tokens[K * B * CONTEXT], targets[K * B * CONTEXT];
    struct data *data = NULL;
    struct outlier *outlier = NULL;
    memset(r, 0, sizeof *r);
    OK(mem_alloc(sizeof *outlier, "a test's outliers", &outlier));
    OK(device_open("cpu", 0, 1, &r->dev));
    OK(param_table_create(&shape, &r->table));
    OK(gpt_create(r->dev, r->table, setup, &r->g));
    OK(expert_create(r->dev, r->table, 0, false, false, &r->e));
    OK(expert_init(r->e, (uint64_t)f->c.run.seed, 0, shape.layers));
    OK(data_open("data.train", f->c.data.train, CONTEXT, f->c.model.vocab, &data));
    OK(gpt_load(r->g, r->e->weights));
    OK(gpt_zero_grads(r->g));
    for (int step = 0; step < STEPS; step++) {
        struct optim_result result;
        take_all(f, data, (int64_t)step * B, tokens, targets);
        OK(gpt_learn(r->g, tokens, targets, K * B, 1.0f, &r->loss[step]));
        OK(optim_step(&f->c, r->e, r->g, r->loss[step], outlier, &result));
    }
    mem_free(outlier);
    data_close(&data);
}

static void clear_reference(struct reference *r)
{
    expert_destroy(&r->e);
    gpt_destroy(&r->g);
    param_table_destroy(&r->table);
    device_close(&r->dev);
}

/* The largest difference between a replica's shard and the reference, as a share of the largest
 * weight. */
static double difference(const struct fixture *f, const struct reference *r, int expert)
{
    char path[SHOAL_MAX_PATH];
    float *weights = NULL;
    double most = 0, largest = 0;
    OK(device_alloc(r->dev, (size_t)r->table->n_params * sizeof *weights, "a shard", &weights));
    OK(run_shard_path(path, f->c.run.out, expert, STEPS));
    OK(shard_read_weights(path, r->table, r->dev, weights));
    for (int64_t i = 0; i < r->table->n_params; i++) {
        most = fmax(most, fabs((double)weights[i] - r->e->weights[i]));
        largest = fmax(largest, fabs((double)r->e->weights[i]));
    }
    device_free(r->dev, weights);
    return most / largest;
}

static void replicas_take_the_steps_of_one_large_batch(void **state)
{
    (void)state;
    struct fixture f;
    struct reference r;
    make(&f);
    train(&f);
    train_alone(&f, &r);
    for (int step = 0; step < STEPS; step++)
        assert_true(fabs(f.loss[step] - r.loss[step]) < 1e-5);
    assert_true(f.loss[STEPS - 1] < f.loss[0] - 0.01);
    for (int k = 0; k < K; k++) {
        const double off = difference(&f, &r, k);
        print_message("replica %d: largest difference %.1e of the largest weight\n", k, off);
        assert_true(off < 2e-4);
        assert_true(f.fitness[k] == f.fitness[0]);
    }
    clear_reference(&r);
    clear(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_take_the_steps_of_one_large_batch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
