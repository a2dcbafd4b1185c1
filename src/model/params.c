/* params.c - the one place that knows which tensors a GPT-2 has and how they are laid out.
 *
 * Rejected: grouping tensors by layer, as checkpoints usually do. Weight decay, evolution scopes
 * and groups would then be walks over many pieces instead of loops over one range. */
#include "model/params.h"

#include <stdio.h>
#include "base/memory.h"

enum { ALIGN_ELEMENTS = 64, MATRICES_PER_LAYER = 4, VECTORS_PER_LAYER = 8 };

/* Sizes are multiples of one letter of the shape. */
enum unit { UNIT_ONE, UNIT_WIDTH, UNIT_VOCAB_PAD, UNIT_CONTEXT };
struct extent {
    int times;
    enum unit unit;
};

struct row {
    const char *name; /* with "h.<layer>." before it in a block */
    enum param_group group;
    struct extent rows, cols;
    bool matrix, hf_transposed;
    enum param_init init;
};

static const struct row rows_of[PARAM_KINDS] = {
    [PARAM_WTE] =
        {"wte.weight", GROUP_IO, {1, UNIT_VOCAB_PAD}, {1, UNIT_WIDTH}, true, false, PARAM_NORMAL},
    [PARAM_WPE] =
        {"wpe.weight", GROUP_IO, {1, UNIT_CONTEXT}, {1, UNIT_WIDTH}, true, false, PARAM_NORMAL},
    [PARAM_QKV_W] = {"attn.c_attn.weight",
                     GROUP_BODY,
                     {3, UNIT_WIDTH},
                     {1, UNIT_WIDTH},
                     true,
                     true,
                     PARAM_NORMAL},
    [PARAM_PROJ_W] = {"attn.c_proj.weight",
                      GROUP_BODY,
                      {1, UNIT_WIDTH},
                      {1, UNIT_WIDTH},
                      true,
                      true,
                      PARAM_NORMAL_RESIDUAL},
    [PARAM_FC_W] =
        {"mlp.c_fc.weight", GROUP_BODY, {4, UNIT_WIDTH}, {1, UNIT_WIDTH}, true, true, PARAM_NORMAL},
    [PARAM_FCPROJ_W] = {"mlp.c_proj.weight",
                        GROUP_BODY,
                        {1, UNIT_WIDTH},
                        {4, UNIT_WIDTH},
                        true,
                        true,
                        PARAM_NORMAL_RESIDUAL},
    [PARAM_LN1_G] =
        {"ln_1.weight", GROUP_BODY, {1, UNIT_ONE}, {1, UNIT_WIDTH}, false, false, PARAM_ONE},
    [PARAM_LN1_B] =
        {"ln_1.bias", GROUP_BODY, {1, UNIT_ONE}, {1, UNIT_WIDTH}, false, false, PARAM_ZERO},
    [PARAM_QKV_B] =
        {"attn.c_attn.bias", GROUP_BODY, {1, UNIT_ONE}, {3, UNIT_WIDTH}, false, false, PARAM_ZERO},
    [PARAM_PROJ_B] =
        {"attn.c_proj.bias", GROUP_BODY, {1, UNIT_ONE}, {1, UNIT_WIDTH}, false, false, PARAM_ZERO},
    [PARAM_LN2_G] =
        {"ln_2.weight", GROUP_BODY, {1, UNIT_ONE}, {1, UNIT_WIDTH}, false, false, PARAM_ONE},
    [PARAM_LN2_B] =
        {"ln_2.bias", GROUP_BODY, {1, UNIT_ONE}, {1, UNIT_WIDTH}, false, false, PARAM_ZERO},
    [PARAM_FC_B] =
        {"mlp.c_fc.bias", GROUP_BODY, {1, UNIT_ONE}, {4, UNIT_WIDTH}, false, false, PARAM_ZERO},
    [PARAM_FCPROJ_B] =
        {"mlp.c_proj.bias", GROUP_BODY, {1, UNIT_ONE}, {1, UNIT_WIDTH}, false, false, PARAM_ZERO},
    [PARAM_LNF_G] =
        {"ln_f.weight", GROUP_IO, {1, UNIT_ONE}, {1, UNIT_WIDTH}, false, false, PARAM_ONE},
    [PARAM_LNF_B] =
        {"ln_f.bias", GROUP_IO, {1, UNIT_ONE}, {1, UNIT_WIDTH}, false, false, PARAM_ZERO},
};

static int64_t extent_of(const struct gpt_shape *s, struct extent e)
{
    const int64_t unit[] = {[UNIT_ONE] = 1,
                            [UNIT_WIDTH] = s->width,
                            [UNIT_VOCAB_PAD] = s->vocab_pad,
                            [UNIT_CONTEXT] = s->context};
    return e.times * unit[e.unit];
}

static enum shoal_status check_shape(const struct gpt_shape *s)
{
    SHOAL_CHECK(
        s->layers > 0 && s->heads > 0 && s->width > 0 && s->context > 0 && s->vocab > 0,
        SHOAL_ECONFIG,
        "model: layers %d, heads %d, width %d, context %d and vocab %d must all be positive",
        s->layers, s->heads, s->width, s->context, s->vocab);
    SHOAL_CHECK(s->width % s->heads == 0, SHOAL_ECONFIG,
                "model: width %d is not a multiple of heads %d", s->width, s->heads);
    SHOAL_CHECK(s->vocab_pad >= s->vocab, SHOAL_ECONFIG,
                "model: padded vocabulary %d is smaller than vocab %d", s->vocab_pad, s->vocab);
    return SHOAL_OK;
}

/* Where a tensor stands in slab order (params.h). */
static int index_of(int layers, enum param which, int layer)
{
    if (which <= PARAM_WPE) return (int)which;
    if (which <= PARAM_FCPROJ_W) return 2 + MATRICES_PER_LAYER * layer + (int)(which - PARAM_QKV_W);
    const int vectors = 2 + MATRICES_PER_LAYER * layers;
    if (which <= PARAM_FCPROJ_B)
        return vectors + VECTORS_PER_LAYER * layer + (int)(which - PARAM_LN1_G);
    return vectors + VECTORS_PER_LAYER * layers + (int)(which - PARAM_LNF_G);
}

static int layers_of(const struct gpt_shape *s, enum param which)
{
    return rows_of[which].group == GROUP_BODY ? s->layers : 1;
}

/* Everything about a tensor but its place. */
static struct param_tensor describe(const struct gpt_shape *s, enum param which, int layer)
{
    const struct row *row = &rows_of[which];
    struct param_tensor t = {.which = which,
                             .layer = layer,
                             .group = row->group,
                             .rows = extent_of(s, row->rows),
                             .cols = extent_of(s, row->cols),
                             .matrix = row->matrix,
                             .hf_transposed = row->hf_transposed,
                             .init = row->init};
    t.real_rows = which == PARAM_WTE ? s->vocab : t.rows;
    if (row->group == GROUP_BODY)
        snprintf(t.name, sizeof t.name, "h.%d.%s", layer, row->name);
    else
        snprintf(t.name, sizeof t.name, "%s", row->name);
    return t;
}

/* Offsets in slab order, and the ends of the ranges that are treated alike. */
static void place(struct param_table *t)
{
    int64_t at = 0;
    t->body_begin = -1;
    for (int i = 0; i < t->n_tensors; i++) {
        struct param_tensor *p = &t->tensor[i];
        p->offset = at;
        t->n_real += p->real_rows * p->cols;
        if (p->group == GROUP_BODY && t->body_begin < 0) t->body_begin = at;
        const int64_t n = p->rows * p->cols;
        at += (n + ALIGN_ELEMENTS - 1) / ALIGN_ELEMENTS * ALIGN_ELEMENTS;
        if (p->group == GROUP_BODY) t->body_end = at;
        if (p->matrix) t->decay_end = at;
    }
    t->n_params = at;
}

enum shoal_status param_table_create(const struct gpt_shape *shape, struct param_table **out)
{
    *out = NULL;
    SHOAL_TRY(check_shape(shape));
    const int n = 4 + (MATRICES_PER_LAYER + VECTORS_PER_LAYER) * shape->layers;
    struct param_table *t = NULL;
    SHOAL_TRY(mem_alloc(sizeof *t, "the parameter table", &t));
    const enum shoal_status st =
        mem_alloc((size_t)n * sizeof *t->tensor, "the parameter table", &t->tensor);
    if (st != SHOAL_OK) {
        param_table_destroy(&t);
        return st;
    }
    t->shape = *shape;
    t->n_tensors = n;
    for (int which = 0; which < PARAM_KINDS; which++)
        for (int l = 0; l < layers_of(shape, (enum param)which); l++)
            t->tensor[index_of(shape->layers, (enum param)which, l)] =
                describe(shape, (enum param)which, l);
    place(t);
    *out = t;
    return SHOAL_OK;
}

void param_table_destroy(struct param_table **t)
{
    if (!*t) return;
    mem_free((*t)->tensor);
    mem_free(*t);
    *t = NULL;
}

const struct param_tensor *param_get(const struct param_table *t, enum param which, int layer)
{
    SHOAL_ASSERT(layer >= 0 && layer < layers_of(&t->shape, which));
    return &t->tensor[index_of(t->shape.layers, which, layer)];
}

int64_t param_count(const struct gpt_shape *shape)
{
    int64_t n = 0;
    for (int which = 0; which < PARAM_KINDS; which++) {
        const struct param_tensor t = describe(shape, (enum param)which, 0);
        n += t.real_rows * t.cols * layers_of(shape, (enum param)which);
    }
    return n;
}
