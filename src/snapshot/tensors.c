/* tensors.c - a tensor leaves the device as it lies, is turned into the file's shape, and goes to
 * the file; and back. */
#include "snapshot/tensors.h"

#include <string.h>
#include "base/memory.h"

struct tensor_shape tensor_shape(const struct param_tensor *t, enum tensor_layout layout)
{
    if (!t->matrix) return (struct tensor_shape){1, {t->cols, 0}};
    if (layout == LAYOUT_HF && t->hf_transposed)
        return (struct tensor_shape){2, {t->cols, t->real_rows}};
    return (struct tensor_shape){2, {t->real_rows, t->cols}};
}

enum { TILE = 16 /* floats of a cache line */ };

/* A tile of `in` (of rows `in_row` apart), height x width, transposed into one of `out`. Through a
 * copy: rows of a matrix tend to lie where they evict each other from the cache, so every line is
 * touched once. */
static void transpose_tile(float *out, const float *in, int64_t height, int64_t width,
                           int64_t out_row, int64_t in_row)
{
    float tile[TILE][TILE], turned[TILE];
    for (int64_t r = 0; r < height; r++)
        memcpy(tile[r], in + r * in_row, (size_t)width * sizeof *in);
    for (int64_t c = 0; c < width; c++) {
        for (int64_t r = 0; r < height; r++)
            turned[r] = tile[r][c];
        memcpy(out + c * out_row, turned, (size_t)height * sizeof *out);
    }
}

/* out (cols, rows) = in (rows, cols) transposed. */
static void transpose(float *out, const float *in, int64_t rows, int64_t cols)
{
    for (int64_t r = 0; r < rows; r += TILE) {
        const int64_t height = rows - r < TILE ? rows - r : TILE;
        for (int64_t c = 0; c < cols; c += TILE) {
            const int64_t width = cols - c < TILE ? cols - c : TILE;
            transpose_tile(out + c * rows + r, in + r * cols + c, height, width, rows, cols);
        }
    }
}

/* Host copies of one tensor: as it lies in a slab that is elsewhere, and as it lies in the file. */
struct staging {
    float *stored, *turned; /* each as large as the largest tensor; NULL where it is not needed */
};

static void staging_free(struct staging *s)
{
    mem_free(s->stored);
    mem_free(s->turned);
}

/* Elements of the two buffers. */
static void staging_need(const struct param_table *table, int64_t *stored, int64_t *turned)
{
    *stored = *turned = 0;
    for (int i = 0; i < table->n_tensors; i++) {
        const struct param_tensor *t = &table->tensor[i];
        const int64_t count = t->real_rows * t->cols;
        if (count > *stored) *stored = count;
        if (t->hf_transposed && count > *turned) *turned = count;
    }
}

static enum shoal_status staging_alloc(struct staging *s, const struct param_table *table,
                                       const struct device *dev, enum tensor_layout layout)
{
    int64_t stored, turned;
    staging_need(table, &stored, &turned);
    if (!device_is_host(dev))
        SHOAL_TRY(mem_alloc((size_t)stored * sizeof(float), "one tensor of a file", &s->stored));
    if (layout == LAYOUT_STORED) return SHOAL_OK;
    return mem_alloc((size_t)turned * sizeof(float), "one tensor of a file", &s->turned);
}

static size_t bytes_of(const struct param_tensor *t)
{
    return (size_t)(t->real_rows * t->cols) * sizeof(float);
}

enum shoal_status tensors_put(const struct param_table *table, struct device *dev,
                              const float *slab, enum tensor_layout layout, tensor_put put,
                              void *file)
{
    struct staging s = {NULL, NULL};
    enum shoal_status st;
    SHOAL_GOTO(staging_alloc(&s, table, dev, layout));
    for (int i = 0; i < table->n_tensors; i++) {
        const struct param_tensor *t = &table->tensor[i];
        const bool turn = layout == LAYOUT_HF && t->hf_transposed;
        const float *stored = s.stored ? s.stored : slab + t->offset;
        if (s.stored) SHOAL_GOTO(device_download(dev, s.stored, slab + t->offset, bytes_of(t)));
        if (turn) transpose(s.turned, stored, t->real_rows, t->cols);
        SHOAL_GOTO(put(file, t, turn ? s.turned : stored));
    }
done:
    staging_free(&s);
    return st;
}

enum shoal_status tensors_get(const struct param_table *table, struct device *dev, float *slab,
                              enum tensor_layout layout, tensor_get get, void *file)
{
    struct staging s = {NULL, NULL};
    enum shoal_status st;
    SHOAL_GOTO(staging_alloc(&s, table, dev, layout));
    SHOAL_GOTO(device_zero(dev, slab, (size_t)table->n_params * sizeof(float)));
    for (int i = 0; i < table->n_tensors; i++) {
        const struct param_tensor *t = &table->tensor[i];
        const bool turn = layout == LAYOUT_HF && t->hf_transposed;
        float *stored = s.stored ? s.stored : slab + t->offset;
        SHOAL_GOTO(get(file, t, turn ? s.turned : stored));
        if (turn) transpose(stored, s.turned, t->cols, t->real_rows);
        if (s.stored) SHOAL_GOTO(device_upload(dev, slab + t->offset, s.stored, bytes_of(t)));
    }
    /* Uploads may still be on their way out of the buffers that are freed now. */
    SHOAL_GOTO(device_sync(dev));
done:
    staging_free(&s);
    return st;
}

int64_t tensors_buffer_bytes(const struct param_table *table, bool on_host)
{
    int64_t stored, turned;
    staging_need(table, &stored, &turned);
    return (on_host ? turned : stored + turned) * (int64_t)sizeof(float);
}
