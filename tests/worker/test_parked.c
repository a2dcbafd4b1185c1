/* What a worker whose experts are parked takes of an emulated GPU and of page-locked memory is what
 * the plan says, to the byte, but for what drivers take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "comm/comm.h"
#include "emulated/emulated.h"
#include "evo/protocol.h"
#include "snapshot/shard.h"
#include "worker/park.h"
#include "worker/worker.h"

enum { K = 4, STEPS = 4, EVERY = 2 };
#define OK(call) assert_int_equal((call), SHOAL_OK)

struct fixture {
    char dir[64];
    struct config c;
    struct comm *comm;
    int judged; /* members, so far */
};

static void write_tokens(const char *path, int n)
{
    const int32_t header[256] = {20240520, 1, n};
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(header, sizeof header, 1, file), 1);
    for (int i = 0; i < n; i++) {
        const uint16_t token = (uint16_t)(i * i % 61);
        assert_int_equal(fwrite(&token, sizeof token, 1, file), 1);
    }
    assert_int_equal(fclose(file), 0);
}

static void make(struct fixture *f, const char *const *more, int n)
{
    char path[128], out[128], train[128], val[128];
    const char *sets[24] = {out,
                            train,
                            val,
                            "run.steps=4",
                            "device=cuda",
                            "model.layers=4",
                            "model.width=16",
                            "model.heads=2",
                            "model.context=8",
                            "train.batch=1",
                            "snapshot.every=0",
                            "evolution.every=2",
                            "evolution.judge=4",
                            "evolution.fitness_batches=1"};
    memset(f, 0, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/shoal-parked-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(path, sizeof path, "%s/train_0.bin", f->dir);
    write_tokens(path, 2000);
    snprintf(path, sizeof path, "%s/val_0.bin", f->dir);
    write_tokens(path, 400);
    snprintf(out, sizeof out, "run.out=%s/run", f->dir);
    snprintf(train, sizeof train, "data.train=%s/train_*.bin", f->dir);
    snprintf(val, sizeof val, "data.val=%s/val_*.bin", f->dir);
    for (int i = 0; i < n; i++)
        sets[14 + i] = more[i];
    OK(config_load(&f->c, NULL, sets, 14 + n));
    OK(config_validate(&f->c, 1));
}

static void clear(const struct fixture *f)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
}

/* Train and judge; a round and the same again; save and stop. */
static void order_next(struct fixture *f)
{
    const int members = K + f->c.evolution.recombine;
    struct order order = {.every = EVERY, .best = -1, .until = STEPS};
    if (f->judged % members != 0) return;
    if (f->judged > 0) {
        order.step = f->judged / members * STEPS;
        order.until = order.step + STEPS;
        order.best = 1;
        order.judged = 1;
        order.round = f->judged == members;
        order.snapshot = order.stop = !order.round;
    }
    for (int k = 0; k < K; k++)
        live_put(&order.live, k, true);
    OK(comm_order(f->comm, &order, order_bytes(K)));
}

static enum shoal_status hear(void *owner, const void *record, size_t bytes)
{
    struct fixture *f = owner;
    struct report r;
    if (bytes == 0) return SHOAL_OK;
    assert_int_equal(bytes, sizeof r);
    memcpy(&r, record, sizeof r);
    if (r.kind != REPORT_FITNESS) return SHOAL_OK;
    f->judged++;
    order_next(f);
    return SHOAL_OK;
}

static struct emulated_memory run(struct fixture *f)
{
    struct worker *w = NULL;
    comm_set_local(f->comm, hear, f);
    OK(run_make(f->c.run.out, K));
    OK(worker_create(&f->c, f->comm, 0, &w));
    OK(worker_begin(w, "test", NULL));
    OK(comm_attach(f->comm, "mpi", worker_device(w)));
    emulated_memory_begin(); /* matrices that measured the device's peak are gone */
    order_next(f);
    OK(worker_run(w));
    const struct emulated_memory held = emulated_memory_now();
    worker_destroy(&w);
    return held;
}

static void compare(struct comm *comm, const char *name, const char *const *sets, int n)
{
    struct fixture f;
    struct param_table *table = NULL;
    make(&f, sets, n);
    f.comm = comm;
    const struct gpt_shape shape = config_shape(&f.c);
    OK(param_table_create(&shape, &table));
    const struct memory m = memory_of(&f.c, table, (struct memory_place){0, 1, 1, true, 0});
    const int64_t device = memory_total(&m, MEMORY_DEVICE) - m.bytes[MEMORY_CONTEXT];
    const int64_t pinned = memory_total(&m, MEMORY_PINNED);
    const struct emulated_memory held = run(&f);
    print_message("%s: %lld and %lld bytes foretold, %zu and %zu held\n", name, (long long)device,
                  (long long)pinned, held.device_peak, held.pinned_peak);
    assert_int_equal(f.judged, 2 * (K + f.c.evolution.recombine));
    assert_int_equal(held.device_peak, device);
    assert_int_equal(held.pinned_peak, pinned);
    assert_int_equal(emulated_memory_now().device, 0);
    assert_int_equal(emulated_memory_now().pinned, 0);
    param_table_destroy(&table);
    clear(&f);
}

static void planned_to_the_byte(void **state)
{
    struct comm *const comm = *state;
    const char *const on[] = {"population.park=on"};
    const char *const extras[] = {"population.park=on", "evolution.delay=1",
                                  "evolution.body.inertia=0.5", "evolution.io.cognitive=1",
                                  "evolution.body.moments=inherit"};
    compare(comm, "parked", on, 1);
    compare(comm, "parked, with every slab there is", extras, 5);
}

/* Wherever memory ends, that is said, and nothing is left behind. */
static void memory_ends(void **state)
{
    const char *const extras[] = {"population.park=on", "evolution.delay=1",
                                  "evolution.body.inertia=0.5"};
    enum shoal_status st = SHOAL_ENOMEM;
    struct fixture f;
    int n = 0;
    make(&f, extras, 3);
    f.comm = *state;
    while (st != SHOAL_OK) {
        struct worker *w = NULL;
        emulated_fail_allocation(++n);
        st = worker_create(&f.c, f.comm, 0, &w);
        if (st == SHOAL_OK) st = worker_begin(w, "test", NULL);
        assert_true(st == SHOAL_OK || (st == SHOAL_ENOMEM && emulated_fail_allocation(0) == 0));
        worker_destroy(&w);
        assert_int_equal(emulated_memory_now().device, 0);
        assert_int_equal(emulated_memory_now().pinned, 0);
    }
    emulated_fail_allocation(0);
    assert_true(n > 6 + 4 * K); /* sets, and homes with a velocity */
    clear(&f);
}

/* Three experts of a GPU that has room for them stay there, and so do two of any. */
static void by_itself(void **state)
{
    (void)state;
    struct config c;
    struct param_table *table = NULL;
    config_defaults(&c);
    c.population.layers_per_expert = 2;
    const struct gpt_shape shape = config_shape(&c);
    OK(param_table_create(&shape, &table));
    struct memory_place place = {.workers = 1, .threads = 1, .gpu = true};
    const struct memory all = memory_of(&c, table, place);
    const int64_t needed = memory_total(&all, MEMORY_DEVICE);
    assert_int_equal(all.bytes[MEMORY_PARKED], 0); /* nobody knows the GPU */
    place.gpu_bytes = needed + needed / 31 + 1;
    assert_false(park_applies(&c, table, place));
    place.gpu_bytes = needed;
    assert_true(park_applies(&c, table, place));
    const struct memory parked = memory_of(&c, table, place);
    const int64_t slab = parked.bytes[MEMORY_GRADIENTS];
    assert_int_equal(parked.bytes[MEMORY_PARKED], 3 * c.population.experts * slab);
    assert_int_equal(needed - memory_total(&parked, MEMORY_DEVICE),
                     3 * (c.population.experts - 2) * slab);
    place.workers = 2;
    assert_false(park_applies(&c, table, place));
    place.workers = 1;
    place.gpu = false;
    assert_false(park_applies(&c, table, place));
    c.population.park = PARK_ON;
    assert_true(park_applies(&c, table, place));
    c.population.mode = POPULATION_DATA_PARALLEL;
    assert_false(park_applies(&c, table, place));
    param_table_destroy(&table);
}

static int join(void **state)
{
    struct comm *comm = NULL;
    int argc = 0;
    char **argv = NULL;
    OK(comm_open(&argc, &argv, &comm));
    *state = comm;
    return 0;
}

static int leave(void **state)
{
    struct comm *comm = *state;
    comm_close(&comm);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_itself),
                                       cmocka_unit_test(planned_to_the_byte),
                                       cmocka_unit_test(memory_ends)};
    return cmocka_run_group_tests(tests, join, leave);
}
