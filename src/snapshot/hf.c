/* hf.c - directories of Hugging Face's. Names and shapes are those of the parameter table, but for
 * what stands before a name. */
#include <string.h>
#include "base/json_read.h"
#include "base/memory.h"
#include "snapshot/hf_config.h"
#include "snapshot/safetensors.h"

enum { NAME = 2 * PARAM_NAME, MAX_FILES = 1000 };

/* How names in files differ from the table's: `without` is taken away in front, `with` put there.
 * The first of an architecture is the one written; published files have the others too. */
struct naming {
    int arch;
    const char *without, *with;
};
static const struct naming namings[] = {{ARCH_GPT2, "", "transformer."},
                                        {ARCH_GPT2, "", ""},
                                        {ARCH_LLAMA, "", ""},
                                        {ARCH_LLAMA, "model.", ""}};
enum { NAMINGS = sizeof namings / sizeof namings[0] };

/* Ends of names that hold no weights: masks, and what follows from config.json. */
static const char *const ignored[] = {".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq"};
enum { IGNORED = sizeof ignored / sizeof ignored[0] };

static void name_in_file(char out[NAME], const struct naming *n, const struct param_tensor *t)
{
    const size_t length = strlen(n->without);
    const char *name = t->name + (strncmp(t->name, n->without, length) == 0 ? length : 0);
    snprintf(out, NAME, "%s%s", n->with, name);
}

static const struct naming *first_naming(int arch)
{
    const struct naming *n = namings;
    while (n->arch != arch)
        n++;
    return n;
}

/* ---- export ---------------------------------------------------------------------------------- */

static enum shoal_status put(void *file, const struct param_tensor *t, const float *values)
{
    return safetensors_add(file, values, t->real_rows * t->cols);
}

static enum shoal_status write_tensors(const char *path, const struct param_table *table,
                                       struct device *dev, const float *weights, enum number type)
{
    const struct naming *naming = first_naming(table->shape.arch);
    const size_t n = (size_t)table->n_tensors;
    struct safetensors_writer w = {.out = OUTPUT_CLOSED};
    struct safetensor_plan *plan = NULL;
    char(*name)[NAME] = NULL;
    enum shoal_status st;
    SHOAL_GOTO(mem_alloc(n * sizeof *plan, "names of tensors", &plan));
    SHOAL_GOTO(mem_alloc(n * sizeof *name, "names of tensors", &name));
    for (size_t i = 0; i < n; i++) {
        name_in_file(name[i], naming, &table->tensor[i]);
        plan[i] = (struct safetensor_plan){name[i], tensor_shape(&table->tensor[i], LAYOUT_HF)};
    }
    SHOAL_GOTO(safetensors_create(&w, path, plan, table->n_tensors, type));
    SHOAL_GOTO(tensors_put(table, dev, weights, LAYOUT_HF, put, &w));
    SHOAL_GOTO(safetensors_commit(&w));
done:
    safetensors_abandon(&w);
    mem_free(plan);
    mem_free(name);
    return st;
}

enum shoal_status hf_write(const char *dir, const struct param_table *table, struct device *dev,
                           const float *weights, enum number type, const struct export_text *text)
{
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(path_format(path, "%s/config.json", dir));
    SHOAL_TRY(hf_config_write(path, &table->shape, type, text));
    SHOAL_TRY(path_format(path, "%s/model.safetensors", dir));
    return write_tensors(path, table, dev, weights, type);
}

/* ---- import: which files --------------------------------------------------------------------- */

/* Where a tensor of the table is. */
struct found {
    const struct safetensors *file;
    const struct safetensor *tensor;
};

struct hf {
    struct foreign base;
    struct safetensors *file; /* owned; [n_files] */
    int n_files;
    struct found *found; /* owned; by number in the table */
};

static const char one_file[] = "model.safetensors", index_file[] = "model.safetensors.index.json";

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static enum shoal_status alloc_files(struct hf *m, int n)
{
    return mem_alloc((size_t)n * sizeof *m->file, "a model's files", &m->file);
}

static enum shoal_status open_file(struct hf *m, const char *dir, const char *name)
{
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(path_format(path, "%s/%s", dir, name));
    return safetensors_open(&m->file[m->n_files++], path);
}

/* Open a file of an index unless it is open. Only names in the index's own directory are followed.
 */
static enum shoal_status add_file(struct hf *m, const char *dir, const char *index,
                                  const char *name)
{
    SHOAL_CHECK(name && name[0] && name[0] != '.' && !strchr(name, '/'), SHOAL_EFORMAT,
                "%s: weight_map names '%.80s', which is no file beside it", index,
                name ? name : "nothing");
    for (int i = 0; i < m->n_files; i++)
        if (strcmp(strrchr(m->file[i].path, '/') + 1, name) == 0) return SHOAL_OK;
    SHOAL_CHECK(m->n_files < MAX_FILES, SHOAL_EFORMAT, "%s: names more than %d files", index,
                MAX_FILES);
    return open_file(m, dir, name);
}

static enum shoal_status open_listed(struct hf *m, const char *dir, const char *index,
                                     struct json_object *map)
{
    SHOAL_CHECK(json_object_is_type(map, json_type_object), SHOAL_EFORMAT,
                "%s: has no weight_map; is it the index of a model?", index);
    SHOAL_TRY(alloc_files(m, MAX_FILES));
    struct json_object_iterator i = json_object_iter_begin(map);
    const struct json_object_iterator end = json_object_iter_end(map);
    for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i))
        SHOAL_TRY(add_file(m, dir, index, json_text_of(json_object_iter_peek_value(&i))));
    return SHOAL_OK;
}

static enum shoal_status open_index(struct hf *m, const char *dir, const char *name)
{
    char path[SHOAL_MAX_PATH];
    struct json_object *root = NULL;
    enum shoal_status st;
    SHOAL_GOTO(path_format(path, "%s/%s", dir, name));
    SHOAL_GOTO(json_read(path, "an index", "that lists a model's tensors", &root));
    SHOAL_GOTO(open_listed(m, dir, path, json_object_object_get(root, "weight_map")));
done:
    json_object_put(root);
    return st;
}

static enum shoal_status open_in_dir(struct hf *m, const char *dir)
{
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(path_format(path, "%s/%s", dir, one_file));
    if (path_exists(path)) {
        SHOAL_TRY(alloc_files(m, 1));
        return open_file(m, dir, one_file);
    }
    SHOAL_TRY(path_format(path, "%s/%s", dir, index_file));
    if (path_exists(path)) return open_index(m, dir, index_file);
    return SHOAL_FAIL(SHOAL_EIO,
                      "no model in '%s': it has neither model.safetensors nor "
                      "model.safetensors.index.json; other formats of weights become these with "
                      "save_pretrained of the library transformers",
                      dir);
}

/* path: what was asked for. */
static enum shoal_status open_files(struct hf *m, const char *path, char dir[SHOAL_MAX_PATH])
{
    if (path_is_dir(path)) {
        SHOAL_TRY(path_format(dir, "%s", path));
        return open_in_dir(m, dir);
    }
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    SHOAL_TRY(path_parent(dir, path));
    if (ends_with(name, ".json")) return open_index(m, dir, name);
    SHOAL_TRY(alloc_files(m, 1));
    return open_file(m, dir, name);
}

/* ---- import: which tensors ------------------------------------------------------------------- */

/* *found: file NULL where there is none. Two of a name are refused. */
static enum shoal_status find_tensor(const struct hf *m, const char *name, struct found *found)
{
    *found = (struct found){NULL, NULL};
    for (int i = 0; i < m->n_files; i++) {
        const struct safetensor *t = safetensors_find(&m->file[i], name);
        if (!t) continue;
        SHOAL_CHECK(!found->file, SHOAL_EFORMAT, "%s: tensor '%.80s' is in %s too",
                    found->file->path, name, m->file[i].path);
        *found = (struct found){&m->file[i], t};
    }
    return SHOAL_OK;
}

/* The way in which the files name their tensors, by that of the embedding. */
static enum shoal_status find_naming(const struct hf *m, const struct param_table *table,
                                     const struct naming **out)
{
    const struct param_tensor *t = param_get(table, PARAM_WTE, 0);
    char name[NAME];
    for (int i = 0; i < NAMINGS; i++) {
        struct found found;
        if (namings[i].arch != table->shape.arch) continue;
        name_in_file(name, &namings[i], t);
        SHOAL_TRY(find_tensor(m, name, &found));
        *out = &namings[i];
        if (found.file) return SHOAL_OK;
    }
    name_in_file(name, first_naming(table->shape.arch), t);
    return SHOAL_FAIL(SHOAL_EFORMAT,
                      "%s: has no tensor '%s': it is not the model that config.json describes",
                      m->file[0].path, name);
}

static bool may_be_ignored(const char *name, const struct gpt_shape *shape)
{
    if (shape->tied && strcmp(name, "lm_head.weight") == 0) return true;
    for (int i = 0; i < IGNORED; i++)
        if (ends_with(name, ignored[i])) return true;
    return false;
}

/* Every tensor of the table, with its shape. */
static enum shoal_status find_all(struct hf *m, const struct param_table *table,
                                  const struct naming *naming)
{
    SHOAL_TRY(
        mem_alloc((size_t)table->n_tensors * sizeof *m->found, "a model's tensors", &m->found));
    for (int i = 0; i < table->n_tensors; i++) {
        const struct param_tensor *t = &table->tensor[i];
        struct found *found = &m->found[i];
        char name[NAME];
        name_in_file(name, naming, t);
        SHOAL_TRY(find_tensor(m, name, found));
        SHOAL_CHECK(found->file, SHOAL_EFORMAT,
                    "%s: tensor '%s' is missing: the file is not whole, or config.json is of "
                    "another model",
                    m->file[0].path, name);
        SHOAL_TRY(safetensors_check(found->file, found->tensor, tensor_shape(t, LAYOUT_HF)));
    }
    return SHOAL_OK;
}

/* Weights that would be left out mean a model of another kind. */
static enum shoal_status refuse_others(const struct hf *m, const struct param_table *table)
{
    for (int f = 0; f < m->n_files; f++) {
        for (int i = 0; i < m->file[f].n; i++) {
            const struct safetensor *t = &m->file[f].tensor[i];
            bool known = may_be_ignored(t->name, &table->shape);
            for (int k = 0; !known && k < table->n_tensors; k++)
                known = m->found[k].tensor == t;
            SHOAL_CHECK(known, SHOAL_EFORMAT,
                        "%s: tensor '%.80s' is no part of a %s model as config.json describes it",
                        m->file[f].path, t->name,
                        table->shape.arch == ARCH_LLAMA ? "llama" : "gpt2");
        }
    }
    return SHOAL_OK;
}

static enum shoal_status find_tensors(struct hf *m)
{
    const struct gpt_shape shape = config_shape(&m->base.config);
    struct param_table *table = NULL;
    const struct naming *naming = NULL;
    enum shoal_status st;
    SHOAL_GOTO(param_table_create(&shape, &table));
    SHOAL_GOTO(find_naming(m, table, &naming));
    SHOAL_GOTO(find_all(m, table, naming));
    SHOAL_GOTO(refuse_others(m, table));
done:
    param_table_destroy(&table);
    return st;
}

/* ---- import ---------------------------------------------------------------------------------- */

static enum shoal_status open_model(struct hf *m, const char *path)
{
    char dir[SHOAL_MAX_PATH], config[SHOAL_MAX_PATH];
    SHOAL_TRY(open_files(m, path, dir));
    SHOAL_CHECK(m->n_files > 0, SHOAL_EFORMAT, "%s: lists no tensors", path);
    SHOAL_TRY(path_format(config, "%s/config.json", dir));
    SHOAL_TRY(hf_config_read(config, &m->base.config));
    return find_tensors(m);
}

struct import {
    const struct hf *m;
    const struct param_table *table;
};

static enum shoal_status get(void *file, const struct param_tensor *t, float *values)
{
    const struct import *i = file;
    const struct found *found = &i->m->found[t - i->table->tensor];
    return safetensors_read(found->file, found->tensor, values);
}

static enum shoal_status read_weights(const struct foreign *f, const struct param_table *table,
                                      struct device *dev, float *weights)
{
    struct import i = {(const struct hf *)f, table};
    return tensors_get(table, dev, weights, LAYOUT_HF, get, &i);
}

static void close_model(struct foreign *f)
{
    struct hf *m = (struct hf *)f;
    for (int i = 0; i < m->n_files; i++)
        safetensors_close(&m->file[i]);
    mem_free(m->file);
    mem_free(m->found);
    mem_free(m);
}

enum shoal_status hf_open(const char *path, struct foreign **out)
{
    static const struct foreign_ops ops = {"Hugging Face", read_weights, close_model};
    struct hf *m;
    SHOAL_TRY(mem_alloc(sizeof *m, "a model", &m));
    m->base.ops = &ops;
    const enum shoal_status st = open_model(m, path);
    if (st != SHOAL_OK) {
        close_model(&m->base);
        return st;
    }
    *out = &m->base;
    return SHOAL_OK;
}
