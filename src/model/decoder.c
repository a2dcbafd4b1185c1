/* decoder.c - one token at a time: the forward pass of gpt_forward.c for a single position, with
 * the keys and values of earlier positions kept per layer. */
#include "model/decoder.h"

#include "base/memory.h"
#include "model/gpt_impl.h"
#include "model/views.h"

struct decoder {
    struct device *dev;              /* borrowed */
    const struct param_table *table; /* borrowed */
    float *weights;                  /* borrowed; only read */
    void *pool;                      /* the views below lie in here */
    float *host_logits;              /* (V); owned, host */
    int position;                    /* tokens fed since reset */

    struct view token;      /* (1, 1) i32 */
    struct view x;          /* (1, C): residual stream */
    struct view norm;       /* (1, C) */
    struct view mean, rstd; /* (1): not used here, but the norm's kernel keeps them */
    struct view qkv;        /* (1, W) */
    struct view att;        /* (1, C) */
    struct view wide;       /* (1, F); llama: (1, 2F) */
    struct view hidden;     /* (1, F) */
    struct view logits;     /* (1, Vp) */
    struct view keys;       /* (L, T_max, KV) */
    struct view values;     /* (L, T_max, KV) */
};

static int64_t lay(struct decoder *d)
{
    struct arena a = {d->pool, 0};
    const struct gpt_shape *s = &d->table->shape;
    const int64_t C = s->width, KV = (int64_t)s->kv_heads * (C / s->heads), F = s->ffn;
    d->token = arena_take(&a, DTYPE_I32, 1, 1, 1);
    d->x = arena_take_f32(&a, 1, C);
    d->norm = arena_take_f32(&a, 1, C);
    d->mean = arena_take_f32(&a, 1, 1);
    d->rstd = arena_take_f32(&a, 1, 1);
    d->qkv = arena_take_f32(&a, 1, C + 2 * KV);
    d->att = arena_take_f32(&a, 1, C);
    d->wide = arena_take_f32(&a, 1, s->arch == ARCH_LLAMA ? 2 * F : F);
    d->hidden = arena_take_f32(&a, 1, F);
    d->logits = arena_take_f32(&a, 1, s->vocab_pad);
    d->keys = arena_take(&a, DTYPE_F32, s->layers, s->context, KV);
    d->values = arena_take(&a, DTYPE_F32, s->layers, s->context, KV);
    return a.used;
}

enum shoal_status decoder_create(struct device *dev, const struct param_table *table,
                                 const float *weights, struct decoder **out)
{
    enum shoal_status st = SHOAL_OK;
    struct decoder *d = NULL;
    *out = NULL;
    SHOAL_TRY(mem_alloc(sizeof *d, "a decoder", &d));
    d->dev = dev;
    d->table = table;
    d->weights = (float *)weights; /* views are not const; kernels never write their inputs */
    SHOAL_GOTO(mem_alloc((size_t)table->shape.vocab * sizeof(float), "logits", &d->host_logits));
    SHOAL_GOTO(device_alloc(dev, (size_t)lay(d), "a key/value cache", &d->pool));
    lay(d);
    *out = d;
    return SHOAL_OK;
done:
    decoder_destroy(&d);
    return st;
}

void decoder_destroy(struct decoder **d)
{
    struct decoder *x = *d;
    if (!x) return;
    if (x->pool) device_free(x->dev, x->pool);
    mem_free(x->host_logits);
    mem_free(x);
    *d = NULL;
}

void decoder_reset(struct decoder *d)
{
    d->position = 0;
}

int decoder_position(const struct decoder *d)
{
    return d->position;
}

static struct view param(const struct decoder *d, enum param which, int layer)
{
    return param_view(d->table, d->weights, DTYPE_F32, which, layer);
}

static struct view matrix(const struct decoder *d, enum param_product product, int layer)
{
    return product_view(d->table, d->weights, DTYPE_F32, product, layer);
}

static bool is_llama(const struct decoder *d)
{
    return d->table->shape.arch == ARCH_LLAMA;
}

static enum shoal_status normalise(struct decoder *d, enum param gain, enum param bias, int layer)
{
    return kernel_norm(d->dev, d->norm, is_llama(d) ? view_none() : d->mean, d->rstd, d->x,
                       param(d, gain, layer), param(d, bias, layer), GPT_NORM_EPS);
}

/* One layer's part of a cache. */
static struct view cache_of(struct view cache, int layer)
{
    float *const at = (float *)cache.data + layer * cache.dim[1] * cache.dim[2];
    return view_make(at, DTYPE_F32, cache.dim[1], cache.dim[2]);
}

/* x += w . in + bias */
static enum shoal_status add_product(struct decoder *d, struct view in, enum param_product w,
                                     enum param bias, int l)
{
    return kernel_matmul_residual(d->dev, d->x, d->x, in, matrix(d, w, l), param(d, bias, l));
}

static enum shoal_status attention(struct decoder *d, int l)
{
    const struct gpt_shape *s = &d->table->shape;
    const struct attention_shape heads = {s->heads, s->kv_heads};
    SHOAL_TRY(normalise(d, PARAM_LN1_G, PARAM_LN1_B, l));
    SHOAL_TRY(kernel_matmul(d->dev, d->qkv, d->norm, matrix(d, PRODUCT_QKV, l),
                            param(d, PARAM_QKV_B, l)));
    if (is_llama(d)) {
        struct view qkv = d->qkv; /* a batch of one sequence of one token */
        qkv.dim[1] = 1;
        qkv.dim[2] = d->qkv.dim[1];
        SHOAL_TRY(kernel_rope(d->dev, qkv, heads, d->position, s->rope_theta, false));
    }
    SHOAL_TRY(kernel_attention_decode(d->dev, d->att, cache_of(d->keys, l), cache_of(d->values, l),
                                      d->qkv, d->position, heads));
    return add_product(d, d->att, PRODUCT_PROJ, PARAM_PROJ_B, l);
}

static enum shoal_status feed_forward(struct decoder *d, int l)
{
    SHOAL_TRY(normalise(d, PARAM_LN2_G, PARAM_LN2_B, l));
    SHOAL_TRY(
        kernel_matmul(d->dev, d->wide, d->norm, matrix(d, PRODUCT_FC, l), param(d, PARAM_FC_B, l)));
    SHOAL_TRY(is_llama(d) ? kernel_swiglu(d->dev, d->hidden, d->wide)
                          : kernel_gelu(d->dev, d->hidden, d->wide));
    return add_product(d, d->hidden, PRODUCT_FCPROJ, PARAM_FCPROJ_B, l);
}

static enum shoal_status embed(struct decoder *d, int32_t token)
{
    struct view wpe = param(d, PARAM_WPE, 0);
    SHOAL_TRY(device_upload(d->dev, d->token.data, &token, sizeof token));
    /* position is the column in kernel_embed, so column 0 must find this position's row */
    if (wpe.data) wpe = view_rows(wpe, d->position, wpe.dim[0] - d->position);
    return kernel_embed(d->dev, d->x, d->token, param(d, PARAM_WTE, 0), wpe);
}

static enum shoal_status head(struct decoder *d)
{
    SHOAL_TRY(normalise(d, PARAM_LNF_G, PARAM_LNF_B, 0));
    SHOAL_TRY(kernel_matmul(d->dev, d->logits, d->norm, matrix(d, PRODUCT_HEAD, 0), view_none()));
    return device_download(d->dev, d->host_logits, d->logits.data,
                           (size_t)d->table->shape.vocab * sizeof(float));
}

enum shoal_status decoder_step(struct decoder *d, int32_t token, const float **logits)
{
    const struct gpt_shape *s = &d->table->shape;
    SHOAL_CHECK(token >= 0 && token < s->vocab, SHOAL_EARG,
                "decoder: token %d is not in the vocabulary of %d", token, s->vocab);
    SHOAL_CHECK(d->position < s->context, SHOAL_EARG,
                "decoder: the context of %d tokens is full; reset it first", s->context);
    SHOAL_TRY(embed(d, token));
    for (int l = 0; l < s->layers; l++) {
        SHOAL_TRY(attention(d, l));
        SHOAL_TRY(feed_forward(d, l));
    }
    SHOAL_TRY(head(d));
    d->position++;
    *logits = d->host_logits;
    return SHOAL_OK;
}
