/* slab.c - a dataset for each tensor, in Hugging Face's shape (tensors.h turns it). */
#include "snapshot/slab.h"

#include <string.h>
#include <sys/stat.h>
#include "snapshot/tensors.h"

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
    const struct tensor_shape s = tensor_shape(t, LAYOUT_HF);
    const bool turned = t->hf_transposed;
    return (struct h5_shape){s.rank,
                             {(hsize_t)s.dim[0], (hsize_t)s.dim[1]},
                             {label[turned ? 1 : 0], label[turned ? 0 : 1]}};
}

/* "/params" and "h.0.attn.c_attn.weight" -> "/params/h/0/attn/c_attn/weight". */
static enum shoal_status dataset_name(char *out, const char *group, const struct param_tensor *t)
{
    SHOAL_TRY(path_format(out, "%s/%s", group, t->name));
    for (char *at = out + strlen(group); *at; at++)
        if (*at == '.') *at = '/';
    return SHOAL_OK;
}

/* Where a slab's tensors go to or come from. */
struct place {
    const struct h5 *h;
    const char *group;
};

static enum shoal_status put(void *file, const struct param_tensor *t, const float *values)
{
    const struct place *p = file;
    const struct h5_shape shape = file_shape(t);
    char name[SHOAL_MAX_PATH];
    SHOAL_TRY(dataset_name(name, p->group, t));
    return h5_write(p->h, name, KIND_F32, &shape, values);
}

static enum shoal_status get(void *file, const struct param_tensor *t, float *values)
{
    const struct place *p = file;
    const struct h5_shape shape = file_shape(t);
    char name[SHOAL_MAX_PATH];
    SHOAL_TRY(dataset_name(name, p->group, t));
    return h5_read(p->h, name, KIND_F32, &shape, values);
}

enum shoal_status slab_write(const struct h5 *h, const char *group, const struct param_table *table,
                             struct device *dev, const float *slab)
{
    struct place p = {h, group};
    return tensors_put(table, dev, slab, LAYOUT_HF, put, &p);
}

enum shoal_status slab_read(const struct h5 *h, const char *group, const struct param_table *table,
                            struct device *dev, float *slab)
{
    struct place p = {h, group};
    return tensors_get(table, dev, slab, LAYOUT_HF, get, &p);
}

enum shoal_status slab_check(const struct h5 *h, const char *group, const struct param_table *table)
{
    char name[SHOAL_MAX_PATH];
    for (int i = 0; i < table->n_tensors; i++) {
        const struct h5_shape shape = file_shape(&table->tensor[i]);
        SHOAL_TRY(dataset_name(name, group, &table->tensor[i]));
        SHOAL_TRY(h5_check(h, name, KIND_F32, &shape));
    }
    return SHOAL_OK;
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

int64_t slab_buffer_bytes(const struct param_table *table, bool on_host)
{
    return tensors_buffer_bytes(table, on_host);
}

enum shoal_status slab_check_room(const char *path, const struct gpt_shape *shape)
{
    struct param_table *table;
    struct stat file;
    SHOAL_CHECK(stat(path, &file) == 0, SHOAL_EIO, "%s: vanished while it was read", path);
    SHOAL_TRY(param_table_create(shape, &table));
    const int64_t bytes = table->n_real * (int64_t)sizeof(float);
    param_table_destroy(&table);
    SHOAL_CHECK(bytes <= file.st_size, SHOAL_EFORMAT,
                "%s: has %lld bytes, but the weights of the model in its configuration take %lld; "
                "the file is damaged, use another snapshot",
                path, (long long)file.st_size, (long long)bytes);
    return SHOAL_OK;
}
