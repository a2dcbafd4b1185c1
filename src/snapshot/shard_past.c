/* shard_past.c - what an expert has behind it: tables. */
#include "snapshot/shard_past.h"

#include <math.h>
#include <string.h>
#include "base/memory.h"

static const struct h5_column history_column[] = {
    {"step", KIND_I64, offsetof(struct history_row, step)},
    {"fitness", KIND_F64, offsetof(struct history_row, fitness)},
    {"train_loss", KIND_F64, offsetof(struct history_row, train_loss)},
    {"time_s", KIND_F64, offsetof(struct history_row, time_s)},
};
static const struct h5_columns history_columns = {
    history_column, sizeof history_column / sizeof history_column[0], sizeof(struct history_row)};

static const struct h5_column lineage_column[] = {
    {"step", KIND_I64, offsetof(struct lineage_row, step)},
    {"body", KIND_I32, offsetof(struct lineage_row, body)},
    {"io", KIND_I32, offsetof(struct lineage_row, io)},
    {"kind", KIND_I32, offsetof(struct lineage_row, kind)},
    {"distance", KIND_F64, offsetof(struct lineage_row, distance)},
    {"lr_scale", KIND_F64, offsetof(struct lineage_row, lr_scale)},
};
static const struct h5_columns lineage_columns = {
    lineage_column, sizeof lineage_column / sizeof lineage_column[0], sizeof(struct lineage_row)};

static const struct h5_column outlier_column[] = {
    {"loss", KIND_F64, offsetof(struct outlier_row, loss)},
    {"grad_norm", KIND_F64, offsetof(struct outlier_row, grad_norm)},
};
static const struct h5_columns outlier_columns = {
    outlier_column, sizeof outlier_column / sizeof outlier_column[0], sizeof(struct outlier_row)};

/* ---- the outlier window ---------------------------------------------------------------------- */

static enum shoal_status write_outlier(const struct h5 *h, const struct outlier *o)
{
    SHOAL_TRY(h5_group(h, "/state/outlier"));
    SHOAL_TRY(h5_set_int(h, "/state/outlier", "skipped", o->skipped));
    SHOAL_TRY(h5_set_int(h, "/state/outlier", "in_a_row", o->in_a_row));
    return h5_write_table(h, "/state/outlier/window", &outlier_columns, o->row, o->n);
}

static enum shoal_status check_outlier(const struct h5 *h, const struct outlier_row *row, int64_t n)
{
    SHOAL_CHECK(n <= SHOAL_MAX_SKIP_WINDOW, SHOAL_EFORMAT,
                "%s: /state/outlier/window has %lld rows, at most %d are possible", h->path,
                (long long)n, SHOAL_MAX_SKIP_WINDOW);
    for (int64_t i = 0; i < n; i++)
        SHOAL_CHECK(isfinite(row[i].loss) && isfinite(row[i].grad_norm), SHOAL_EFORMAT,
                    "%s: row %lld of /state/outlier/window is not finite", h->path, (long long)i);
    return SHOAL_OK;
}

static enum shoal_status read_outlier(const struct h5 *h, struct outlier *o)
{
    struct outlier_row *row = NULL;
    int64_t n = 0;
    enum shoal_status st;
    memset(o, 0, sizeof *o);
    if (!h5_exists(h, "/state/outlier")) return SHOAL_OK;
    SHOAL_GOTO(h5_get_int(h, "/state/outlier", "skipped", &o->skipped));
    SHOAL_GOTO(h5_get_int32(h, "/state/outlier", "in_a_row", 0, INT32_MAX, &o->in_a_row));
    SHOAL_GOTO(h5_read_table(h, "/state/outlier/window", &outlier_columns, &row, &n));
    SHOAL_GOTO(check_outlier(h, row, n));
    if (n > 0) memcpy(o->row, row, (size_t)n * sizeof *row);
    o->n = (int)n;
done:
    mem_free(row);
    return st;
}

/* ---- lineage --------------------------------------------------------------------------------- */

static enum shoal_status check_lineage(const struct h5 *h, const struct lineage_row *row, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        SHOAL_CHECK(row[i].body >= -1 && row[i].body <= SHOAL_MAX_EXPERTS && row[i].io >= -1 &&
                        row[i].io <= SHOAL_MAX_EXPERTS && row[i].kind >= 0 &&
                        row[i].kind < LINEAGE_KINDS,
                    SHOAL_EFORMAT, "%s: row %lld of /history/lineage names no member or kind",
                    h->path, (long long)i);
    return SHOAL_OK;
}

enum shoal_status past_read_lineage(const struct h5 *h, struct lineage_row **rows, int64_t *n)
{
    *rows = NULL;
    *n = 0;
    if (!h5_exists(h, "/history/lineage")) return SHOAL_OK;
    SHOAL_TRY(h5_read_table(h, "/history/lineage", &lineage_columns, rows, n));
    const enum shoal_status st = check_lineage(h, *rows, *n);
    if (st == SHOAL_OK) return st;
    mem_free(*rows);
    *rows = NULL;
    *n = 0;
    return st;
}

/* ---- norms of tensors ------------------------------------------------------------------------ */

static const char *const norm_name[NORM_KINDS] = {
    [NORM_WEIGHT] = "/history/tensors/weight_norm",
    [NORM_GRADIENT] = "/history/tensors/gradient_norm",
    [NORM_DISTANCE] = "/history/tensors/distance",
};

static struct h5_shape norms_shape(const struct norms *x)
{
    return (struct h5_shape){2, {(hsize_t)x->n, (hsize_t)x->tensors}, {"judging", "tensor"}};
}

static struct h5_shape steps_shape(const struct norms *x)
{
    return (struct h5_shape){1, {(hsize_t)x->n, 0}, {"judging", ""}};
}

/* One kind, between rows of all kinds and a matrix of its own. */
static void gather(float *matrix, const struct norms *x, int kind)
{
    const size_t n = (size_t)x->tensors;
    for (size_t i = 0; i < (size_t)x->n; i++)
        memcpy(matrix + i * n, x->value + (i * NORM_KINDS + (size_t)kind) * n, n * sizeof *matrix);
}

static void scatter(const struct norms *x, int kind, const float *matrix)
{
    const size_t n = (size_t)x->tensors;
    for (size_t i = 0; i < (size_t)x->n; i++)
        memcpy(x->value + (i * NORM_KINDS + (size_t)kind) * n, matrix + i * n, n * sizeof *matrix);
}

static enum shoal_status write_names(const struct h5 *h, const struct param_table *table)
{
    char *names = NULL;
    SHOAL_TRY(mem_alloc((size_t)table->n_tensors * PARAM_NAME, "names of tensors", &names));
    for (int i = 0; i < table->n_tensors; i++)
        memcpy(names + (size_t)i * PARAM_NAME, table->tensor[i].name, PARAM_NAME);
    const enum shoal_status st =
        h5_write_words(h, "/history/tensors/tensor", "tensor", names, table->n_tensors, PARAM_NAME);
    mem_free(names);
    return st;
}

static enum shoal_status write_norms(const struct h5 *h, const struct param_table *table,
                                     const struct norms *x)
{
    const struct h5_shape shape = norms_shape(x), steps = steps_shape(x);
    const size_t floats = (size_t)x->n * (size_t)x->tensors;
    float *matrix = NULL;
    enum shoal_status st;
    if (x->n == 0) return SHOAL_OK;
    SHOAL_GOTO(mem_alloc(floats * sizeof *matrix, "norms of tensors", &matrix));
    SHOAL_GOTO(write_names(h, table));
    SHOAL_GOTO(h5_set_int(h, "/history/tensors", "judgings", x->heard));
    SHOAL_GOTO(h5_write(h, "/history/tensors/step", KIND_I64, &steps, x->step));
    for (int kind = 0; kind < NORM_KINDS; kind++) {
        gather(matrix, x, kind);
        SHOAL_GOTO(h5_write(h, norm_name[kind], KIND_F32, &shape, matrix));
    }
done:
    mem_free(matrix);
    return st;
}

static enum shoal_status read_matrices(const struct h5 *h, struct norms *x)
{
    const struct h5_shape shape = norms_shape(x), steps = steps_shape(x);
    const size_t floats = (size_t)x->n * (size_t)x->tensors;
    float *matrix = NULL;
    enum shoal_status st;
    SHOAL_GOTO(mem_alloc(floats * sizeof *matrix, "norms of tensors", &matrix));
    SHOAL_GOTO(h5_read(h, "/history/tensors/step", KIND_I64, &steps, x->step));
    for (int kind = 0; kind < NORM_KINDS; kind++) {
        SHOAL_GOTO(h5_read(h, norm_name[kind], KIND_F32, &shape, matrix));
        scatter(x, kind, matrix);
    }
done:
    mem_free(matrix);
    return st;
}

/* Files of versions that did not keep them have none. */
static enum shoal_status read_norms(const struct h5 *h, const struct param_table *table,
                                    struct norms *x)
{
    int64_t judgings = 0;
    *x = (struct norms){.tensors = 0};
    if (!h5_exists(h, "/history/tensors")) return SHOAL_OK;
    SHOAL_TRY(h5_get_int(h, "/history/tensors", "judgings", &judgings));
    SHOAL_CHECK(judgings > 0, SHOAL_EFORMAT, "%s: /history/tensors is of %lld judgings", h->path,
                (long long)judgings);
    SHOAL_TRY(norms_make(x, table->n_tensors, judgings));
    return read_matrices(h, x);
}

/* ---- all of it ------------------------------------------------------------------------------- */

enum shoal_status past_write(const struct h5 *h, const struct param_table *table,
                             const struct shard_past *past)
{
    SHOAL_TRY(write_outlier(h, &past->outlier));
    SHOAL_TRY(
        h5_write_table(h, "/history/judgings", &history_columns, past->judgings, past->n_judgings));
    SHOAL_TRY(
        h5_write_table(h, "/history/lineage", &lineage_columns, past->lineage, past->n_lineage));
    return write_norms(h, table, &past->norms);
}

enum shoal_status past_read(const struct h5 *h, const struct param_table *table,
                            struct shard_past *past)
{
    SHOAL_TRY(read_outlier(h, &past->outlier));
    SHOAL_TRY(h5_read_table(h, "/history/judgings", &history_columns, &past->judgings,
                            &past->n_judgings));
    SHOAL_TRY(past_read_lineage(h, &past->lineage, &past->n_lineage));
    return read_norms(h, table, &past->norms);
}

int64_t past_bytes(const struct param_table *table)
{
    const struct norms one = {.tensors = table->n_tensors, .n = 1};
    const struct h5_shape steps = steps_shape(&one), matrix = norms_shape(&one),
                          names = {1, {(hsize_t)table->n_tensors, 0}, {"", ""}};
    return h5_bytes(&steps, sizeof *one.step) + h5_bytes(&names, PARAM_NAME) +
           NORM_KINDS * h5_bytes(&matrix, sizeof *one.value);
}

void shard_past_free(struct shard_past *past)
{
    mem_free(past->judgings);
    mem_free(past->lineage);
    norms_free(&past->norms);
    past->judgings = NULL;
    past->lineage = NULL;
    past->n_judgings = past->n_lineage = 0;
}
