/* Shards of experts, edited through HDF5 (h5_edit.h); the first byte says in which of the ways they
 * are read. What is read never comes from another file. */
#include "base/memory.h"
#include "fuzz/h5_edit.h"
#include "fuzz/made.h"

static void prepare(char good[SHOAL_MAX_PATH])
{
    char path[SHOAL_MAX_PATH];
    made_shard(fuzz_path(path, "secret-as-made.h5"), FUZZ_SECRET);
    made_shard(fuzz_path(good, "good.h5"), 0.5f);
}

/* Anew for each input: edits may lead there too. */
static void place_secrets(void)
{
    enum { SECRETS = 1024 };
    float secret[SECRETS];
    char path[SHOAL_MAX_PATH], made[SHOAL_MAX_PATH];
    for (int i = 0; i < SECRETS; i++)
        secret[i] = FUZZ_SECRET;
    fuzz_file(fuzz_path(path, FUZZ_SECRET_BYTES), secret, sizeof secret);
    made_copy(fuzz_path(path, FUZZ_SECRET_H5), fuzz_path(made, "secret-as-made.h5"));
}

/* As `shoal eval` does: a model of the size that the file says. */
static void read_weights(const char *path)
{
    struct config c;
    struct param_table *table = NULL;
    float *weights = NULL;
    if (!fuzz_ok(shard_read_config(path, &c))) return;
    const struct gpt_shape shape = config_shape(&c);
    fuzz_must(param_table_create(&shape, &table) == SHOAL_OK, "a table of parameters");
    fuzz_must(device_alloc(fuzz_device(), (size_t)table->n_params * sizeof *weights, "weights",
                           &weights) == SHOAL_OK,
              "a model no larger than its file");
    if (fuzz_ok(shard_read_weights(path, table, fuzz_device(), weights)) &&
        table->n_params == made_table()->n_params)
        fuzz_must(!made_secret(weights), "no weights of other files");
    device_free(fuzz_device(), weights);
    param_table_destroy(&table);
}

/* As --resume does. */
static void read_expert(const char *path)
{
    struct shard_past past = {.n_judgings = 0};
    struct expert *e = NULL;
    fuzz_must(expert_create(fuzz_device(), made_table(), 0, false, true, &e) == SHOAL_OK, "memory");
    if (fuzz_ok(shard_read(path, e, &past)))
        fuzz_must(!made_secret(e->weights) && !made_secret(e->adam_m) && !made_secret(e->own_best),
                  "no numbers of other files");
    mem_free(past.judgings);
    mem_free(past.lineage);
    expert_destroy(&e);
}

/* As `shoal inspect` does. */
static void read_past(const char *path)
{
    struct shard_info info;
    struct lineage_row *rows = NULL;
    int64_t n = 0;
    if (fuzz_ok(shard_read_info(path, &info))) shard_info_free(&info);
    if (fuzz_ok(shard_read_lineage(path, &rows, &n))) mem_free(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static char good[SHOAL_MAX_PATH];
    struct fuzz_input in = {data, n};
    char path[SHOAL_MAX_PATH];
    if (!good[0]) prepare(good);
    place_secrets();
    made_copy(fuzz_path(path, "edited.h5"), good);
    const unsigned way = (unsigned)fuzz_take(&in, 1) % 4;
    if (!h5_edit(path, &in)) return 0;
    if (way == 0) read_weights(path);
    if (way == 1) read_expert(path);
    if (way == 2) read_past(path);
    if (way == 3) (void)fuzz_ok(shard_check(path));
    return 0;
}
