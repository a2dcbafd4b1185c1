#include "fuzz/imported.h"
#include "fuzz/fuzz.h"
#include "snapshot/interchange.h"

static void read_weights(const struct foreign *f)
{
    const struct gpt_shape shape = config_shape(foreign_config(f));
    struct param_table *table = NULL;
    float *weights = NULL;
    fuzz_must(param_table_create(&shape, &table) == SHOAL_OK, "a table of parameters");
    fuzz_must(device_alloc(fuzz_device(), (size_t)table->n_params * sizeof *weights, "weights",
                           &weights) == SHOAL_OK,
              "a model no larger than its file");
    fuzz_must(foreign_read(f, table, fuzz_device(), weights) == SHOAL_OK,
              "all numbers of what was opened");
    device_free(fuzz_device(), weights);
    param_table_destroy(&table);
}

void fuzz_import(const char *path)
{
    struct foreign *f = NULL;
    if (fuzz_ok(foreign_open(path, &f))) read_weights(f);
    foreign_close(&f);
}
