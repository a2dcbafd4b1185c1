/* gpt_layout.c - where activations lie: one allocation, cut up anew for each batch size.
 *
 * The same code measures and places, so that what is allocated is what is used. Every piece grows
 * with the batch, so that what suffices for the largest suffices for all. */
#include "model/gpt_impl.h"
#include "model/views.h"

static int64_t rows_of(const struct gpt *g)
{
    return (int64_t)g->batch * g->setup.context;
}

/* Columns of Q | K | V. */
static int64_t qkv_width(const struct gpt_shape *s)
{
    return s->width + 2 * (int64_t)s->kv_heads * (s->width / s->heads);
}

static struct view take_mean(const struct gpt *g, struct arena *a)
{
    return gpt_is_llama(g) ? view_none() : arena_take_f32(a, rows_of(g), 1);
}

static void lay_attention(const struct gpt *g, struct arena *a, struct gpt_block *b)
{
    const struct gpt_shape *s = &g->table->shape;
    const int64_t B = g->batch, T = g->setup.context, R = rows_of(g), C = s->width;
    b->mean1 = take_mean(g, a);
    b->rstd1 = arena_take_f32(a, R, 1);
    b->norm1 = arena_take(a, g->act, R, C, 1);
    b->qkv = arena_take(a, g->act, B, T, qkv_width(s));
    b->stats = arena_take(a, DTYPE_F32, B, s->heads, T);
    b->att = arena_take(a, g->act, B, T, C);
    b->mid = g->setup.learns ? arena_take_f32(a, R, C) : b->in;
}

static void lay_feed_forward(const struct gpt *g, struct arena *a, struct gpt_block *b)
{
    const struct gpt_shape *s = &g->table->shape;
    const int64_t R = rows_of(g);
    b->mean2 = take_mean(g, a);
    b->rstd2 = arena_take_f32(a, R, 1);
    b->norm2 = arena_take(a, g->act, R, s->width, 1);
    b->wide = arena_take(a, g->act, R, gpt_is_llama(g) ? 2 * (int64_t)s->ffn : s->ffn, 1);
}

/* As many rows of logits as GPT_LOGITS_BYTES hold. A learning model judges with f32 logits in the
 * same memory. */
static void lay_logits(struct gpt *g, struct arena *a)
{
    const int64_t R = rows_of(g), Vp = g->table->shape.vocab_pad;
    const enum dtype dtype = g->setup.learns ? g->act : DTYPE_F32;
    const int64_t fit = GPT_LOGITS_BYTES / (Vp * (int64_t)dtype_bytes(dtype));
    const int64_t rows = fit < R ? fit : R;
    g->logits = arena_take(a, dtype, rows < 2 ? 2 : rows, Vp, 1); /* 2 rows of bf16: 1 of f32 */
}

/* ---- judging --------------------------------------------------------------------------------- */

/* One set of everything, in which attention, feed-forward and head each take the place of what came
 * before. */
static void lay_judging(struct gpt *g, struct arena *a)
{
    const int64_t R = rows_of(g), begin = a->used;
    struct gpt_block b = {.in = g->embedded, .out = g->embedded};
    lay_attention(g, a, &b);
    int64_t end = arena_overlay(a, begin);
    lay_feed_forward(g, a, &b);
    g->hidden = arena_take(a, g->act, R, g->table->shape.ffn, 1);
    arena_meet(a, end);
    end = arena_overlay(a, begin);
    lay_logits(g, a);
    arena_meet(a, end);
    for (int l = 0; g->block && l < g->table->shape.layers; l++)
        g->block[l] = b;
    g->lnf = arena_take(a, g->act, R, g->table->shape.width, 1);
}

/* ---- learning -------------------------------------------------------------------------------- */

static void lay_blocks(struct gpt *g, struct arena *a)
{
    struct gpt_block b = {.out = g->embedded};
    for (int l = 0; l < g->table->shape.layers; l++) {
        b.in = b.out;
        if (l == 0 || g->setup.recompute != RECOMPUTE_BLOCK) lay_attention(g, a, &b);
        if (l == 0 || g->setup.recompute == RECOMPUTE_NONE) lay_feed_forward(g, a, &b);
        b.out = arena_take_f32(a, rows_of(g), g->table->shape.width);
        if (g->block) g->block[l] = b;
    }
}

static void lay_gradients(struct gpt *g, struct arena *a)
{
    const struct gpt_shape *s = &g->table->shape;
    const int64_t B = g->batch, T = g->setup.context, R = rows_of(g), C = s->width;
    g->dx = arena_take_f32(a, R, C);
    g->lnf = (struct view){g->dx.data, {R, C, 1, 1}, g->act};
    g->dbranch = g->act == DTYPE_F32 ? g->dx : arena_take(a, g->act, R, C, 1);
    g->dnorm = arena_take(a, g->act, R, C, 1);
    /* the insides of blocks and the logits overlay each other */
    const int64_t begin = a->used;
    g->hidden = g->dhidden = arena_take(a, g->act, R, s->ffn, 1);
    int64_t end = arena_overlay(a, begin);
    g->dqkv = arena_take(a, g->act, B, T, qkv_width(s));
    arena_meet(a, end);
    end = arena_overlay(a, begin);
    lay_logits(g, a);
    arena_meet(a, end);
}

int64_t gpt_layout(struct gpt *g, int batch)
{
    struct arena a = {g->pool, 0};
    g->batch = batch;
    const int64_t R = rows_of(g);
    /* first, so that it stays where it is when the batch changes */
    g->figures = arena_take_f32(&a, 1, sizeof *g->figures / sizeof(float)).data;
    g->tokens = arena_take(&a, DTYPE_I32, batch, g->setup.context, 1);
    g->targets = arena_take(&a, DTYPE_I32, R, 1, 1);
    g->losses = arena_take_f32(&a, R, 1);
    g->embedded = arena_take_f32(&a, R, g->table->shape.width);
    g->lnf_mean = take_mean(g, &a);
    g->lnf_rstd = arena_take_f32(&a, R, 1);
    if (g->setup.learns) {
        lay_blocks(g, &a);
        lay_gradients(g, &a);
    } else {
        lay_judging(g, &a);
    }
    return a.used;
}
