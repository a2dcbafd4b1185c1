#include "fuzz/made.h"
#include <stdio.h>
#include <string.h>
#include "base/memory.h"
#include "fuzz/h5_edit.h"
#include "snapshot/index.h"

#define RUN_ID "01234567-89ab-cdef-0123-456789abcdef"

static void must(enum shoal_status st)
{
    fuzz_must(st == SHOAL_OK, "files of our own");
}

const struct config *made_config(void)
{
    static struct config c;
    const char *const overrides[] = {
        "model.layers=2", "model.width=2",       "model.heads=1",      "model.context=1",
        "model.vocab=3",  "data.train=t.bin",    "data.val=v.bin",     "population.experts=2",
        "train.batch=1",  "train.precision=f32", "data.tokenizer=none"};
    if (!c.model.layers)
        must(config_load(&c, NULL, overrides, (int)(sizeof overrides / sizeof overrides[0])));
    return &c;
}

const struct param_table *made_table(void)
{
    static struct param_table *table;
    const struct gpt_shape shape = config_shape(made_config());
    if (!table) must(param_table_create(&shape, &table));
    return table;
}

static void fill(float *slab, float value)
{
    for (int64_t i = 0; i < made_table()->n_params; i++)
        slab[i] = value;
}

static struct shard_info info_of(int expert, const char *config)
{
    return (struct shard_info){.run_id = RUN_ID,
                               .expert = expert,
                               .worker = 1,
                               .step = MADE_STEP,
                               .tokens = 20,
                               .fitness = 2.5,
                               .parent = -1,
                               .config = config};
}

void made_shard(const char *path, float value)
{
    struct history_row judging = {MADE_STEP, 2.5, 2.25, 1.5};
    struct lineage_row lineage = {.step = MADE_STEP, .body = -1, .io = 1, .lr_scale = 1};
    const struct shard_past past = {.judgings = &judging,
                                    .n_judgings = 1,
                                    .lineage = &lineage,
                                    .n_lineage = 1,
                                    .outlier = {.row = {{2.5, 0.5}}, .n = 1}};
    struct expert *e = NULL;
    char *text = NULL;
    must(config_text(made_config(), &text));
    must(expert_create(fuzz_device(), made_table(), 0, false, true, &e));
    const struct shard_info info = info_of(0, text);
    fill(e->weights, value);
    e->step = MADE_STEP;
    e->lr_scale = 1;
    e->parent = -1;
    must(shard_write(path, &info, e, &past, NULL));
    expert_destroy(&e);
    mem_free(text);
}

static void write_shards(const char *dir, const char *config, struct shard_mark *mark)
{
    char path[SHOAL_MAX_PATH];
    float *slab = NULL;
    must(mem_alloc((size_t)made_table()->n_params * sizeof *slab, "weights", &slab));
    for (int k = 0; k < MADE_EXPERTS; k++) {
        const struct shard_info info = info_of(k, config);
        must(run_shard_path(path, dir, k, MADE_STEP));
        must(shard_write_weights(path, &info, made_table(), fuzz_device(), slab, &mark[k].bytes));
        must(shard_digest(path, &mark[k].digest));
        mark[k].expert = k;
    }
    mem_free(slab);
}

void made_run(const char *dir)
{
    double first[] = {5.5, 5.25, 5.0}, last[] = {2.5, 2.25, 2.0};
    struct judging judgings[] = {{0, 0.5, 2, first}, {MADE_STEP, 1.5, 2, last}};
    struct shard_mark mark[MADE_EXPERTS] = {{0}};
    char *text = NULL;
    must(config_text(made_config(), &text));
    must(run_make(dir, MADE_EXPERTS));
    write_shards(dir, text, mark);
    const struct snapshot_index index = {.run_id = RUN_ID,
                                         .experts = MADE_EXPERTS,
                                         .members = MADE_EXPERTS + 1,
                                         .workers = 1,
                                         .time_s = 1.5,
                                         .standing = {.step = MADE_STEP,
                                                      .best = 2,
                                                      .round_done = 1,
                                                      .judged_step = MADE_STEP,
                                                      .best_fitness = 2.0,
                                                      .champion = 2,
                                                      .champion_step = MADE_STEP,
                                                      .champion_fitness = 2.0,
                                                      .live = {{3}}},
                                         .n_judgings = 2,
                                         .judgings = judgings,
                                         .shards = mark,
                                         .config = text};
    must(index_write(dir, &index, NULL));
    mem_free(text);
}

void made_copy(const char *to, const char *from)
{
    char *bytes = NULL;
    size_t n = 0;
    must(file_read(from, &bytes, &n));
    fuzz_file(to, bytes, n);
    mem_free(bytes);
}

bool made_secret(const float *slab)
{
    for (int64_t i = 0; i < made_table()->n_params; i++)
        if (slab[i] == FUZZ_SECRET) return true;
    return false;
}
