#include "snapshot/world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/rng.h"

enum { EXPERTS = 3 };

int world_open(void **state)
{
    /* Odd sizes: no multiple of a tile, padding in the vocabulary, gaps between tensors. */
    const char *const overrides[] = {
        "model.layers=6", "model.width=20",     "model.heads=2",  "model.context=11",
        "model.vocab=61", "data.train=t.bin",   "data.val=v.bin", "population.experts=3",
        "train.batch=4",  "data.tokenizer=none"};
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    scratch_make(&w->scratch);
    const int n = (int)(sizeof overrides / sizeof overrides[0]);
    assert_int_equal(config_load(&w->config, NULL, overrides, n), SHOAL_OK);
    assert_int_equal(config_text(&w->config, &w->text), SHOAL_OK);
    assert_int_equal(device_open("cpu", 0, 1, &w->dev), SHOAL_OK);
    const struct gpt_shape shape = config_shape(&w->config);
    assert_int_equal(param_table_create(&shape, &w->table), SHOAL_OK);
    *state = w;
    return 0;
}

int world_close(void **state)
{
    struct world *w = *state;
    param_table_destroy(&w->table);
    device_close(&w->dev);
    mem_free(w->text);
    scratch_remove(&w->scratch);
    free(w);
    return 0;
}

const char *world_path(struct world *w, const char *name)
{
    assert_int_equal(path_format(w->path, "%s/%s", w->scratch.dir, name), SHOAL_OK);
    return w->path;
}

static void fill(const struct param_table *table, float *slab, uint64_t seed)
{
    for (int i = 0; slab && i < table->n_tensors; i++) {
        const struct param_tensor *t = &table->tensor[i];
        const struct rng_key key = {.seed = seed, .stream = RNG_INIT, .tensor = (uint32_t)i};
        for (int64_t at = 0; at < t->real_rows * t->cols; at++) {
            const uint32_t bits = at == 1 ? 0x80000000u : rng_bits(key, (uint64_t)at);
            memcpy(slab + t->offset + at, &bits, sizeof bits);
        }
    }
}

struct expert *expert_make(const struct world *w, int number, bool with_extras, uint64_t seed)
{
    struct expert *e = NULL;
    assert_int_equal(expert_create(w->dev, w->table, number, with_extras, with_extras, &e),
                     SHOAL_OK);
    fill(w->table, e->weights, 5 * seed);
    fill(w->table, e->adam_m, 5 * seed + 1);
    fill(w->table, e->adam_v, 5 * seed + 2);
    fill(w->table, e->velocity, 5 * seed + 3);
    fill(w->table, e->own_best, 5 * seed + 4);
    e->own_best_fitness = 1.25;
    e->step = 100;
    e->position = 400 + number;
    e->tokens = INT64_C(5000000000) + number;
    e->fitness = number == 1 ? NAN : 2.5 + number;
    e->parent = EXPERTS;
    e->lr_scale = 1.25;
    return e;
}

static bool same_slab(const struct param_table *table, const float *a, const float *b)
{
    if (!a || !b) return a == b;
    return memcmp(a, b, (size_t)table->n_params * sizeof *a) == 0;
}

bool same_expert(const struct expert *a, const struct expert *b)
{
    const double of_a[] = {a->fitness, a->own_best_fitness};
    const double of_b[] = {b->fitness, b->own_best_fitness};
    return same_slab(a->table, a->weights, b->weights) &&
           same_slab(a->table, a->adam_m, b->adam_m) && same_slab(a->table, a->adam_v, b->adam_v) &&
           same_slab(a->table, a->velocity, b->velocity) &&
           same_slab(a->table, a->own_best, b->own_best) && a->step == b->step &&
           a->position == b->position && a->tokens == b->tokens && a->parent == b->parent &&
           a->lr_scale == b->lr_scale &&
           memcmp(of_a, of_b, a->own_best ? sizeof of_a : sizeof of_a[0]) == 0;
}

struct shard_info info_of(const struct world *w, const struct expert *e)
{
    return (struct shard_info){.run_id = RUN_ID,
                               .expert = e->number,
                               .worker = 1,
                               .step = e->step,
                               .tokens = e->tokens,
                               .fitness = e->fitness,
                               .parent = e->parent,
                               .config = w->text};
}

const struct shard_past *some_past(void)
{
    static struct history_row history[] = {
        {0, 5.5, 5.75, 0.5}, {50, NAN, NAN, 1.5}, {100, 2.5, 2.25, 2.5}};
    static struct lineage_row lineage[] = {
        {.step = 50, .body = -1, .io = -1, .kind = LINEAGE_STAYED, .lr_scale = 1},
        {.step = 100,
         .body = 2,
         .io = 3,
         .kind = LINEAGE_MOVED,
         .distance = 0.125,
         .lr_scale = 1.2}};
    static const struct shard_past past = {
        .judgings = history,
        .n_judgings = sizeof history / sizeof history[0],
        .lineage = lineage,
        .n_lineage = sizeof lineage / sizeof lineage[0],
        .outlier =
            {.row = {{2.5, 0.1}, {-0.0, 1e308}, {5e-324, 3.0}, {1.0 / 3.0, 0.7}, {2.25, 1.0}},
             .n = 5,
             .in_a_row = 3,
             .skipped = 1234567890123},
        .loss_sum = 7.75,
        .losses = 3,
        .last_loss = -INFINITY};
    return &past;
}

bool same_outlier(const struct outlier *o)
{
    return memcmp(o, &some_past()->outlier, sizeof *o) == 0;
}

enum shoal_status write_expert(const struct world *w, const char *path, const struct expert *e)
{
    const struct shard_info info = info_of(w, e);
    int64_t bytes = 0;
    const enum shoal_status st = shard_write(path, &info, e, some_past(), &bytes);
    if (st == SHOAL_OK) assert_true(bytes > 0);
    return st;
}

void run_write_shards(const struct world *w, const char *run, int64_t step)
{
    char path[SHOAL_MAX_PATH];
    assert_int_equal(run_make(run, EXPERTS), SHOAL_OK);
    for (int k = 0; k < EXPERTS; k++) {
        struct expert *e = expert_make(w, k, k == 2, (uint64_t)(step + k));
        e->step = step;
        assert_int_equal(run_shard_path(path, run, k, step), SHOAL_OK);
        assert_int_equal(write_expert(w, path, e), SHOAL_OK);
        expert_destroy(&e);
    }
}

void run_write_index(const struct world *w, const char *run, int64_t step, int best)
{
    double first[] = {5.5, 5.25, 5.75, 5.0}, second[] = {NAN, NAN, INFINITY, NAN};
    double third[] = {2.5, NAN, 2.5, 2.5};
    if (best >= 0) third[best] = 2.0;
    struct judging judgings[] = {
        {0, 0.5, 3, first}, {step / 2, 1.5, -1, second}, {step - 1, 2.5, best, third}};
    struct shard_mark marks[EXPERTS] = {{0}};
    char path[SHOAL_MAX_PATH];
    for (int k = 0; k < EXPERTS; k++) {
        assert_int_equal(run_shard_path(path, run, k, step), SHOAL_OK);
        marks[k].expert = k;
        if (path_exists(path)) assert_int_equal(shard_digest(path, &marks[k].digest), SHOAL_OK);
    }
    struct snapshot_index index = {
        .run_id = RUN_ID,
        .experts = EXPERTS,
        .members = EXPERTS + 1,
        .workers = 2,
        .time_s = 12.5,
        .standing = {.step = step,
                     .best = best,
                     .round_done = 1,
                     .judged_step = step - 1, /* halted between two judgings */
                     .best_fitness = 2.0,
                     .champion = best,
                     .champion_step = step - 1,
                     .champion_fitness = 2.0,
                     .live = {{5}}},
        .n_judgings = 3,
        .judgings = judgings,
        .shards = marks,
        .config = w->text,
    };
    int64_t bytes = 0;
    assert_int_equal(index_write(run, &index, &bytes), SHOAL_OK);
    assert_true(bytes > 0);
}

void run_write(const struct world *w, const char *run, int64_t step, int best)
{
    run_write_shards(w, run, step);
    run_write_index(w, run, step, best);
}

void file_copy(const char *to, const char *from)
{
    char *data = NULL;
    size_t bytes = 0;
    assert_int_equal(file_read(from, &data, &bytes), SHOAL_OK);
    assert_int_equal(file_write(to, data, bytes), SHOAL_OK);
    mem_free(data);
}
