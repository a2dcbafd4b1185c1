/* make_run.c - `make_run DIR`: a run on disk for with_h5py.py, and what must be in it in a form
 * that needs neither HDF5 nor our code to read:
 *
 *   DIR/tensors.txt         a line a tensor: name, offset, rows, columns, rows without padding,
 *                           whether Hugging Face stores it transposed
 *   DIR/expert2-SLAB.bin    a slab of expert 2 as it is in memory, float32 */
#include <inttypes.h>
#include <stdio.h>
#include "snapshot/world.h"

static void write_table(const struct world *w, const char *dir)
{
    char path[SHOAL_MAX_PATH];
    assert_int_equal(path_format(path, "%s/tensors.txt", dir), SHOAL_OK);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < w->table->n_tensors; i++) {
        const struct param_tensor *t = &w->table->tensor[i];
        fprintf(file, "%s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %d\n", t->name, t->offset,
                t->matrix ? t->rows : 0, t->cols, t->real_rows, t->hf_transposed);
    }
    assert_int_equal(fclose(file), 0);
}

static void write_slab(const struct world *w, const char *dir, const char *name, const float *slab)
{
    char path[SHOAL_MAX_PATH];
    assert_int_equal(path_format(path, "%s/expert2-%s.bin", dir, name), SHOAL_OK);
    write_bytes(path, slab, (size_t)w->table->n_params * sizeof *slab);
}

int main(int argc, char **argv)
{
    void *state = NULL;
    if (argc != 2 || world_open(&state) != 0) return 1;
    const struct world *w = state;
    const int64_t step = 16;
    run_write(w, argv[1], step, 2);
    struct expert *e = expert_make(w, 2, true, (uint64_t)step + 2); /* as run_write makes it */
    e->step = step;
    write_table(w, argv[1]);
    write_slab(w, argv[1], "weights", e->weights);
    write_slab(w, argv[1], "m", e->adam_m);
    write_slab(w, argv[1], "v", e->adam_v);
    write_slab(w, argv[1], "velocity", e->velocity);
    write_slab(w, argv[1], "own_best", e->own_best);
    char path[SHOAL_MAX_PATH];
    const struct shard_info info = info_of(w, e);
    assert_int_equal(run_best_path(path, argv[1]), SHOAL_OK);
    assert_int_equal(shard_write_weights(path, &info, w->table, w->dev, e->weights, NULL),
                     SHOAL_OK);
    expert_destroy(&e);
    return world_close(&state);
}
