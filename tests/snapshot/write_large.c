/* write_large.c - write and read back one shard of any size. Usage: write_large FILE [KEY=VALUE]...
 *
 * Weights and both moments are one slab, written three times, so that a file may be three times as
 * large as memory. Prints what it took as one line of JSON; large.py looks at the file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/memory.h"
#include "base/rng.h"
#include "snapshot/shard.h"
#include "snapshot/verify.h"

struct made {
    struct config config;
    char *text;
    struct device *dev;
    struct param_table *table;
    struct expert e; /* its slabs are the same */
};

/* Values that tell where they are: the elements' numbers in the slab, as exact floats. */
static void fill(struct made *m)
{
    for (int i = 0; i < m->table->n_tensors; i++) {
        const struct param_tensor *t = &m->table->tensor[i];
        for (int64_t at = 0; at < t->real_rows * t->cols; at++)
            m->e.weights[t->offset + at] = (float)((t->offset + at) % 16777213);
    }
}

static enum shoal_status make(struct made *m, int n, const char *const *sets)
{
    SHOAL_TRY(config_load(&m->config, NULL, sets, n));
    SHOAL_TRY(config_text(&m->config, &m->text));
    SHOAL_TRY(device_open("cpu", 0, 1, &m->dev));
    const struct gpt_shape shape = config_shape(&m->config);
    SHOAL_TRY(param_table_create(&shape, &m->table));
    m->e = (struct expert){
        .table = m->table, .dev = m->dev, .lr_scale = 1, .fitness = 3, .parent = -1};
    SHOAL_TRY(
        device_alloc(m->dev, (size_t)m->table->n_params * sizeof(float), "a slab", &m->e.weights));
    m->e.adam_m = m->e.adam_v = m->e.weights;
    fill(m);
    return SHOAL_OK;
}

static enum shoal_status check(const char *path)
{
    struct verified v;
    SHOAL_TRY(verify(path, &v));
    const int findings = v.n_findings;
    for (int i = 0; i < findings; i++)
        fprintf(stderr, "%s: %s\n", v.findings[i].path, v.findings[i].what);
    verified_free(&v);
    SHOAL_CHECK(findings == 0, SHOAL_EFORMAT, "%s: verify has findings", path);
    return SHOAL_OK;
}

static enum shoal_status run(struct made *m, const char *path)
{
    const struct shard_info info = {.run_id = "00000000-0000-0000-0000-000000000000",
                                    .fitness = 3,
                                    .parent = -1,
                                    .config = m->text};
    struct shard_past past = {.last_loss = NAN};
    const size_t slab = (size_t)m->table->n_params * sizeof(float);
    uint64_t before = 0, after = 0;
    int64_t bytes = 0;
    double at_s[5];
    SHOAL_TRY(slab_digest(m->dev, m->e.weights, m->table->n_params, &before));
    at_s[0] = clock_now_s();
    SHOAL_TRY(shard_write(path, &info, &m->e, &past, &bytes));
    at_s[1] = clock_now_s();
    memset(m->e.weights, 0x55, slab);
    at_s[2] = clock_now_s();
    SHOAL_TRY(shard_read(path, &m->e, &past));
    at_s[3] = clock_now_s();
    shard_past_free(&past);
    SHOAL_TRY(slab_digest(m->dev, m->e.weights, m->table->n_params, &after));
    SHOAL_CHECK(before == after, SHOAL_EFORMAT, "%s: other weights came back", path);
    at_s[4] = clock_now_s();
    SHOAL_TRY(check(path));
    printf("{\"parameters\": %lld, \"bytes\": %lld, \"write_s\": %.2f, \"read_s\": %.2f, "
           "\"verify_s\": %.2f}\n",
           (long long)m->table->n_real, (long long)bytes, at_s[1] - at_s[0], at_s[3] - at_s[2],
           clock_now_s() - at_s[4]);
    return SHOAL_OK;
}

int main(int argc, char **argv)
{
    struct made m = {.text = NULL};
    enum shoal_status st = SHOAL_EARG;
    if (argc < 2) return 2;
    SHOAL_GOTO(make(&m, argc - 2, (const char *const *)(argv + 2)));
    SHOAL_GOTO(run(&m, argv[1]));
done:
    if (st != SHOAL_OK) fprintf(stderr, "write_large: %s\n", shoal_failure_text());
    if (m.e.weights) device_free(m.dev, m.e.weights);
    param_table_destroy(&m.table);
    device_close(&m.dev);
    mem_free(m.text);
    return st == SHOAL_OK ? 0 : 1;
}
