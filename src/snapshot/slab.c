/* slab.c - one tensor at a time through a host buffer: leaves the device as it lies, is turned into
 * Hugging Face's shape, and goes to the file; and back. */
#include "snapshot/slab.h"

#include <string.h>
#include "base/memory.h"

/* What the dimensions are, (out, in). */
static const char *const labels[PARAM_KINDS][2] = {
    [PARAM_WTE] = {"vocabulary", "width"},
    [PARAM_WPE] = {"position", "width"},
    [PARAM_HEAD] = {"vocabulary", "width"},
    [PARAM_QKV_W] = {"query, key, value", "width"},
    [PARAM_Q_W] = {"query", "width"},
    [PARAM_K_W] = {"key", "width"},
    [PARAM_V_W] = {"value", "width"},
    [PARAM_PROJ_W] = {"width", "heads"},
    [PARAM_FC_W] = {"hidden", "width"},
    [PARAM_GATE_W] = {"hidden", "width"},
    [PARAM_UP_W] = {"hidden", "width"},
    [PARAM_FCPROJ_W] = {"width", "hidden"},
    [PARAM_LN1_G] = {"width", ""},
    [PARAM_LN1_B] = {"width", ""},
    [PARAM_QKV_B] = {"query, key, value", ""},
    [PARAM_PROJ_B] = {"width", ""},
    [PARAM_LN2_G] = {"width", ""},
    [PARAM_LN2_B] = {"width", ""},
    [PARAM_FC_B] = {"hidden", ""},
    [PARAM_FCPROJ_B] = {"width", ""},
    [PARAM_LNF_G] = {"width", ""},
    [PARAM_LNF_B] = {"width", ""},
};

static struct h5_shape file_shape(const struct param_tensor *t)
{
    const char *const *label = labels[t->which];
    const hsize_t rows = (hsize_t)t->real_rows, cols = (hsize_t)t->cols;
    if (!t->matrix) return (struct h5_shape){1, {cols, 0}, {label[0], label[1]}};
    if (t->hf_transposed) return (struct h5_shape){2, {cols, rows}, {label[1], label[0]}};
    return (struct h5_shape){2, {rows, cols}, {label[0], label[1]}};
}

/* "/params" and "h.0.attn.c_attn.weight" -> "/params/h/0/attn/c_attn/weight". */
static enum shoal_status dataset_name(char *out, const char *group, const struct param_tensor *t)
{
    SHOAL_TRY(path_format(out, "%s/%s", group, t->name));
    for (char *at = out + strlen(group); *at; at++)
        if (*at == '.') *at = '/';
    return SHOAL_OK;
}

/* out (cols, rows) = in (rows, cols) transposed, in tiles that stay in the cache. */
static void transpose(float *out, const float *in, int64_t rows, int64_t cols)
{
    enum { TILE = 32 };
    for (int64_t r0 = 0; r0 < rows; r0 += TILE) {
        for (int64_t c0 = 0; c0 < cols; c0 += TILE) {
            for (int64_t r = r0; r < rows && r < r0 + TILE; r++)
                for (int64_t c = c0; c < cols && c < c0 + TILE; c++)
                    out[c * rows + r] = in[r * cols + c];
        }
    }
}

/* Host copies of one tensor: as it lies in a slab, and as it lies in the file. */
struct staging {
    float *stored, *turned; /* each as large as the largest tensor */
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

static enum shoal_status staging_alloc(struct staging *s, const struct param_table *table)
{
    int64_t stored, turned;
    staging_need(table, &stored, &turned);
    SHOAL_TRY(mem_alloc((size_t)stored * sizeof(float), "one tensor of a snapshot", &s->stored));
    return mem_alloc((size_t)turned * sizeof(float), "one tensor of a snapshot", &s->turned);
}

static enum shoal_status tensor_write(const struct h5 *h, const char *group, struct device *dev,
                                      const float *slab, const struct param_tensor *t,
                                      const struct staging *s)
{
    char name[SHOAL_MAX_PATH];
    const struct h5_shape shape = file_shape(t);
    SHOAL_TRY(dataset_name(name, group, t));
    SHOAL_TRY(device_download(dev, s->stored, slab + t->offset,
                              (size_t)(t->real_rows * t->cols) * sizeof(float)));
    if (t->hf_transposed) transpose(s->turned, s->stored, t->real_rows, t->cols);
    return h5_write(h, name, KIND_F32, &shape, t->hf_transposed ? s->turned : s->stored);
}

static enum shoal_status tensor_read(const struct h5 *h, const char *group, struct device *dev,
                                     float *slab, const struct param_tensor *t,
                                     const struct staging *s)
{
    char name[SHOAL_MAX_PATH];
    const struct h5_shape shape = file_shape(t);
    SHOAL_TRY(dataset_name(name, group, t));
    SHOAL_TRY(h5_read(h, name, KIND_F32, &shape, t->hf_transposed ? s->turned : s->stored));
    if (t->hf_transposed) transpose(s->stored, s->turned, t->cols, t->real_rows);
    return device_upload(dev, slab + t->offset, s->stored,
                         (size_t)(t->real_rows * t->cols) * sizeof(float));
}

enum shoal_status slab_write(const struct h5 *h, const char *group, const struct param_table *table,
                             struct device *dev, const float *slab)
{
    struct staging s = {NULL, NULL};
    enum shoal_status st;
    SHOAL_GOTO(staging_alloc(&s, table));
    for (int i = 0; i < table->n_tensors; i++)
        SHOAL_GOTO(tensor_write(h, group, dev, slab, &table->tensor[i], &s));
done:
    staging_free(&s);
    return st;
}

enum shoal_status slab_read(const struct h5 *h, const char *group, const struct param_table *table,
                            struct device *dev, float *slab)
{
    struct staging s = {NULL, NULL};
    enum shoal_status st;
    SHOAL_GOTO(staging_alloc(&s, table));
    SHOAL_GOTO(device_zero(dev, slab, (size_t)table->n_params * sizeof(float)));
    for (int i = 0; i < table->n_tensors; i++)
        SHOAL_GOTO(tensor_read(h, group, dev, slab, &table->tensor[i], &s));
    /* Uploads may still be on their way out of the buffers that are freed now. */
    SHOAL_GOTO(device_sync(dev));
done:
    staging_free(&s);
    return st;
}

int64_t slab_bytes(const struct param_table *table)
{
    int64_t bytes = 0;
    for (int i = 0; i < table->n_tensors; i++) {
        const struct h5_shape shape = file_shape(&table->tensor[i]);
        bytes += h5_bytes(&shape, sizeof(float));
    }
    return bytes;
}

int64_t slab_buffer_bytes(const struct param_table *table)
{
    int64_t stored, turned;
    staging_need(table, &stored, &turned);
    return (stored + turned) * (int64_t)sizeof(float);
}
