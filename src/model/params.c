/* params.c - the one place that knows which tensors an architecture has and how they are laid out.
 *
 * Rejected: grouping tensors by layer, as checkpoints usually do. Weight decay, evolution scopes
 * and groups would then be walks over many pieces instead of loops over one range. */
#include "model/params.h"

#include <stdio.h>
#include "base/memory.h"

enum { ALIGN_ELEMENTS = 64 };

enum dim { DIM_ONE, DIM_WIDTH, DIM_VOCAB, DIM_CONTEXT, DIM_QKV, DIM_KV, DIM_FFN };

/* Where a tensor belongs and how it lies. */
enum {
    IO = 0,
    BODY = 1,   /* one in each layer */
    MATRIX = 2, /* 2-D */
    TURNED = 4, /* Hugging Face has it (in, out) */
    JOINED = 8  /* no gap before it */
};

struct row {
    enum param which;
    const char *name; /* with the layer's prefix before it in a block */
    enum dim rows, cols;
    int flags;
    enum param_init init;
};

static const struct row gpt2_rows[] = {
    {PARAM_WTE, "wte.weight", DIM_VOCAB, DIM_WIDTH, IO | MATRIX, PARAM_NORMAL},
    {PARAM_WPE, "wpe.weight", DIM_CONTEXT, DIM_WIDTH, IO | MATRIX, PARAM_NORMAL},
    {PARAM_QKV_W, "attn.c_attn.weight", DIM_QKV, DIM_WIDTH, BODY | MATRIX | TURNED, PARAM_NORMAL},
    {PARAM_PROJ_W, "attn.c_proj.weight", DIM_WIDTH, DIM_WIDTH, BODY | MATRIX | TURNED,
     PARAM_NORMAL_RESIDUAL},
    {PARAM_FC_W, "mlp.c_fc.weight", DIM_FFN, DIM_WIDTH, BODY | MATRIX | TURNED, PARAM_NORMAL},
    {PARAM_FCPROJ_W, "mlp.c_proj.weight", DIM_WIDTH, DIM_FFN, BODY | MATRIX | TURNED,
     PARAM_NORMAL_RESIDUAL},
    {PARAM_LN1_G, "ln_1.weight", DIM_ONE, DIM_WIDTH, BODY, PARAM_ONE},
    {PARAM_LN1_B, "ln_1.bias", DIM_ONE, DIM_WIDTH, BODY, PARAM_ZERO},
    {PARAM_QKV_B, "attn.c_attn.bias", DIM_ONE, DIM_QKV, BODY, PARAM_ZERO},
    {PARAM_PROJ_B, "attn.c_proj.bias", DIM_ONE, DIM_WIDTH, BODY, PARAM_ZERO},
    {PARAM_LN2_G, "ln_2.weight", DIM_ONE, DIM_WIDTH, BODY, PARAM_ONE},
    {PARAM_LN2_B, "ln_2.bias", DIM_ONE, DIM_WIDTH, BODY, PARAM_ZERO},
    {PARAM_FC_B, "mlp.c_fc.bias", DIM_ONE, DIM_FFN, BODY, PARAM_ZERO},
    {PARAM_FCPROJ_B, "mlp.c_proj.bias", DIM_ONE, DIM_WIDTH, BODY, PARAM_ZERO},
    {PARAM_LNF_G, "ln_f.weight", DIM_ONE, DIM_WIDTH, IO, PARAM_ONE},
    {PARAM_LNF_B, "ln_f.bias", DIM_ONE, DIM_WIDTH, IO, PARAM_ZERO},
};

static const struct row llama_rows[] = {
    {PARAM_WTE, "model.embed_tokens.weight", DIM_VOCAB, DIM_WIDTH, IO | MATRIX, PARAM_NORMAL},
    {PARAM_HEAD, "lm_head.weight", DIM_VOCAB, DIM_WIDTH, IO | MATRIX, PARAM_NORMAL},
    {PARAM_Q_W, "self_attn.q_proj.weight", DIM_WIDTH, DIM_WIDTH, BODY | MATRIX, PARAM_NORMAL},
    {PARAM_K_W, "self_attn.k_proj.weight", DIM_KV, DIM_WIDTH, BODY | MATRIX | JOINED, PARAM_NORMAL},
    {PARAM_V_W, "self_attn.v_proj.weight", DIM_KV, DIM_WIDTH, BODY | MATRIX | JOINED, PARAM_NORMAL},
    {PARAM_PROJ_W, "self_attn.o_proj.weight", DIM_WIDTH, DIM_WIDTH, BODY | MATRIX,
     PARAM_NORMAL_RESIDUAL},
    {PARAM_GATE_W, "mlp.gate_proj.weight", DIM_FFN, DIM_WIDTH, BODY | MATRIX, PARAM_NORMAL},
    {PARAM_UP_W, "mlp.up_proj.weight", DIM_FFN, DIM_WIDTH, BODY | MATRIX | JOINED, PARAM_NORMAL},
    {PARAM_FCPROJ_W, "mlp.down_proj.weight", DIM_WIDTH, DIM_FFN, BODY | MATRIX,
     PARAM_NORMAL_RESIDUAL},
    {PARAM_LN1_G, "input_layernorm.weight", DIM_ONE, DIM_WIDTH, BODY, PARAM_ONE},
    {PARAM_LN2_G, "post_attention_layernorm.weight", DIM_ONE, DIM_WIDTH, BODY, PARAM_ONE},
    {PARAM_LNF_G, "model.norm.weight", DIM_ONE, DIM_WIDTH, IO, PARAM_ONE},
};

/* First and last tensor of each product. */
struct span {
    enum param first, last;
};

static const struct architecture {
    const char *prefix; /* of names in a block */
    const struct row *rows;
    int n_rows;
    struct span product[PRODUCT_KINDS];
} architectures[] = {
    [ARCH_GPT2] = {"h.",
                   gpt2_rows,
                   sizeof gpt2_rows / sizeof *gpt2_rows,
                   {[PRODUCT_HEAD] = {PARAM_WTE, PARAM_WTE},
                    [PRODUCT_QKV] = {PARAM_QKV_W, PARAM_QKV_W},
                    [PRODUCT_PROJ] = {PARAM_PROJ_W, PARAM_PROJ_W},
                    [PRODUCT_FC] = {PARAM_FC_W, PARAM_FC_W},
                    [PRODUCT_FCPROJ] = {PARAM_FCPROJ_W, PARAM_FCPROJ_W}}},
    [ARCH_LLAMA] = {"model.layers.",
                    llama_rows,
                    sizeof llama_rows / sizeof *llama_rows,
                    {[PRODUCT_HEAD] = {PARAM_HEAD, PARAM_HEAD},
                     [PRODUCT_QKV] = {PARAM_Q_W, PARAM_V_W},
                     [PRODUCT_PROJ] = {PARAM_PROJ_W, PARAM_PROJ_W},
                     [PRODUCT_FC] = {PARAM_GATE_W, PARAM_UP_W},
                     [PRODUCT_FCPROJ] = {PARAM_FCPROJ_W, PARAM_FCPROJ_W}}},
};

static int64_t size_of(const struct gpt_shape *s, enum dim dim)
{
    const int64_t kv = (int64_t)s->kv_heads * (s->width / s->heads);
    const int64_t size[] = {[DIM_ONE] = 1,
                            [DIM_WIDTH] = s->width,
                            [DIM_VOCAB] = s->vocab_pad,
                            [DIM_CONTEXT] = s->context,
                            [DIM_QKV] = s->width + 2 * kv,
                            [DIM_KV] = kv,
                            [DIM_FFN] = s->ffn};
    return size[dim];
}

/* ---- what there is --------------------------------------------------------------------------- */

static enum shoal_status check_heads(const struct gpt_shape *s)
{
    SHOAL_CHECK(s->width % s->heads == 0, SHOAL_ECONFIG,
                "model: width %d is not a multiple of heads %d", s->width, s->heads);
    if (s->arch == ARCH_GPT2) {
        SHOAL_CHECK(s->kv_heads == s->heads && s->tied, SHOAL_ECONFIG,
                    "model: gpt2 has as many heads of keys (kv_heads %d) as heads (%d), and its "
                    "head is tied to the token embedding",
                    s->kv_heads, s->heads);
        return SHOAL_OK;
    }
    SHOAL_CHECK(s->heads % s->kv_heads == 0, SHOAL_ECONFIG,
                "model: heads %d is not a multiple of kv_heads %d", s->heads, s->kv_heads);
    SHOAL_CHECK(s->width / s->heads % 2 == 0, SHOAL_ECONFIG,
                "model: heads of %d numbers; rotary positions need an even number",
                s->width / s->heads);
    SHOAL_CHECK(s->rope_theta >= 1.0f, SHOAL_ECONFIG, "model: rope_theta %g is below 1",
                (double)s->rope_theta);
    return SHOAL_OK;
}

static enum shoal_status check_shape(const struct gpt_shape *s)
{
    SHOAL_CHECK(s->arch == ARCH_GPT2 || s->arch == ARCH_LLAMA, SHOAL_ECONFIG,
                "model: architecture %d is not known", s->arch);
    SHOAL_CHECK(
        s->layers > 0 && s->heads > 0 && s->width > 0 && s->context > 0 && s->vocab > 0,
        SHOAL_ECONFIG,
        "model: layers %d, heads %d, width %d, context %d and vocab %d must all be positive",
        s->layers, s->heads, s->width, s->context, s->vocab);
    SHOAL_CHECK(s->kv_heads > 0 && s->ffn > 0, SHOAL_ECONFIG,
                "model: kv_heads %d and ffn %d must be positive", s->kv_heads, s->ffn);
    SHOAL_CHECK(s->vocab_pad >= s->vocab, SHOAL_ECONFIG,
                "model: padded vocabulary %d is smaller than vocab %d", s->vocab_pad, s->vocab);
    return check_heads(s);
}

/* How many of a row's tensors there are. */
static int layers_of(const struct gpt_shape *s, const struct row *row)
{
    if (row->which == PARAM_HEAD && s->tied) return 0;
    return row->flags & BODY ? s->layers : 1;
}

/* Everything about a tensor but its place. */
static struct param_tensor describe(const struct gpt_shape *s, const struct row *row, int layer)
{
    struct param_tensor t = {.which = row->which,
                             .layer = layer,
                             .group = row->flags & BODY ? GROUP_BODY : GROUP_IO,
                             .rows = size_of(s, row->rows),
                             .cols = size_of(s, row->cols),
                             .matrix = row->flags & MATRIX,
                             .hf_transposed = row->flags & TURNED,
                             .joined = row->flags & JOINED,
                             .init = row->init};
    t.real_rows = row->rows == DIM_VOCAB ? s->vocab : t.rows;
    if (row->flags & BODY)
        snprintf(t.name, sizeof t.name, "%s%d.%s", architectures[s->arch].prefix, layer, row->name);
    else
        snprintf(t.name, sizeof t.name, "%s", row->name);
    return t;
}

int64_t param_count(const struct gpt_shape *shape)
{
    const struct architecture *arch = &architectures[shape->arch];
    int64_t n = 0;
    for (int i = 0; i < arch->n_rows; i++) {
        const struct param_tensor t = describe(shape, &arch->rows[i], 0);
        n += t.real_rows * t.cols * layers_of(shape, &arch->rows[i]);
    }
    return n;
}

/* ---- where it lies --------------------------------------------------------------------------- */

/* Append the tensors of one section of the slab: the rows whose flags BODY and MATRIX are these,
 * layer by layer. */
static void add_section(struct param_table *t, int flags)
{
    const struct architecture *arch = &architectures[t->shape.arch];
    const int begin = t->n_tensors, layers = flags & BODY ? t->shape.layers : 1;
    for (int l = 0; l < layers; l++) {
        for (int i = 0; i < arch->n_rows; i++) {
            const struct row *row = &arch->rows[i];
            if ((row->flags & (BODY | MATRIX)) != flags || l >= layers_of(&t->shape, row)) continue;
            if (l == 0) t->first[row->which] = t->n_tensors;
            t->tensor[t->n_tensors++] = describe(&t->shape, row, l);
        }
    }
    const int step = (t->n_tensors - begin) / layers;
    for (int i = begin; i < t->n_tensors; i++)
        t->step[t->tensor[i].which] = step;
}

/* Offsets in slab order, and the ends of the ranges that are treated alike. */
static void place(struct param_table *t)
{
    int64_t at = 0, end = 0; /* of the tensor before: with the gap after it, and without */
    t->body_begin = -1;
    for (int i = 0; i < t->n_tensors; i++) {
        struct param_tensor *p = &t->tensor[i];
        p->offset = p->joined ? end : at;
        t->n_real += p->real_rows * p->cols;
        if (p->group == GROUP_BODY && t->body_begin < 0) t->body_begin = p->offset;
        end = p->offset + p->rows * p->cols;
        at = (end + ALIGN_ELEMENTS - 1) / ALIGN_ELEMENTS * ALIGN_ELEMENTS;
        if (p->group == GROUP_BODY) t->body_end = at;
        if (p->matrix) t->decay_end = at;
    }
    t->n_params = at;
}

enum shoal_status param_table_create(const struct gpt_shape *shape, struct param_table **out)
{
    *out = NULL;
    SHOAL_TRY(check_shape(shape));
    const int rows = architectures[shape->arch].n_rows;
    struct param_table *t = NULL;
    SHOAL_TRY(mem_alloc(sizeof *t, "the parameter table", &t));
    const enum shoal_status st = mem_alloc((size_t)rows * (size_t)shape->layers * sizeof *t->tensor,
                                           "the parameter table", &t->tensor);
    if (st != SHOAL_OK) {
        param_table_destroy(&t);
        return st;
    }
    t->shape = *shape;
    for (int i = 0; i < PARAM_KINDS; i++)
        t->first[i] = -1;
    add_section(t, IO | MATRIX);
    add_section(t, BODY | MATRIX);
    add_section(t, BODY);
    add_section(t, IO);
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

/* ---- looking it up --------------------------------------------------------------------------- */

const struct param_tensor *param_find(const struct param_table *t, enum param which, int layer)
{
    SHOAL_ASSERT(layer >= 0 && layer < t->shape.layers);
    return t->first[which] < 0 ? NULL : &t->tensor[t->first[which] + layer * t->step[which]];
}

const struct param_tensor *param_get(const struct param_table *t, enum param which, int layer)
{
    const struct param_tensor *p = param_find(t, which, layer);
    SHOAL_ASSERT(p && p->which == which && p->layer == layer);
    return p;
}

struct param_matrix param_product(const struct param_table *t, enum param_product product,
                                  int layer)
{
    const bool tied = product == PRODUCT_HEAD && t->shape.tied;
    const struct span span =
        tied ? (struct span){PARAM_WTE, PARAM_WTE} : architectures[t->shape.arch].product[product];
    const struct param_tensor *first = param_get(t, span.first, layer);
    const struct param_tensor *last = param_get(t, span.last, layer);
    struct param_matrix m = {first->offset, 0, first->cols};
    for (const struct param_tensor *p = first; p <= last; p++) {
        SHOAL_ASSERT(p->cols == m.cols && p->offset == m.offset + m.rows * m.cols);
        m.rows += p->rows;
    }
    return m;
}

int64_t param_fragment(const struct param_table *t, int i, int fragments)
{
    /* A tensor belongs to the part in which its middle lies. */
    const int64_t from = t->n_params * i / fragments;
    if (i <= 0) return 0;
    for (int k = 0; k < t->n_tensors && i < fragments; k++) {
        const struct param_tensor *tensor = &t->tensor[k];
        if (tensor->offset + tensor->rows * tensor->cols / 2 >= from) return tensor->offset;
    }
    return t->n_params;
}
