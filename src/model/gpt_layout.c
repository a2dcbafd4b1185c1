/* gpt_layout.c - where activations lie: one allocation, cut up anew for each batch size.
 *
 * The same code measures and places, so that what is allocated is what is used. */
#include "model/gpt_impl.h"
#include "model/views.h"

static void lay_block(const struct gpt *g, struct arena *a, struct gpt_block *b, struct view in)
{
    const int64_t B = g->batch, T = g->context, R = B * T;
    const int64_t C = g->table->shape.width, NH = g->table->shape.heads;
    b->in = in;
    b->mean1 = arena_take_f32(a, R, 1);
    b->rstd1 = arena_take_f32(a, R, 1);
    b->ln1 = arena_take(a, g->act, R, C, 1);
    b->qkv = arena_take(a, g->act, B, T, 3 * C);
    b->stats = arena_take(a, DTYPE_F32, B, NH, T);
    b->att = arena_take(a, g->act, B, T, C);
    b->mid = g->learns ? arena_take_f32(a, R, C) : in;
    b->mean2 = arena_take_f32(a, R, 1);
    b->rstd2 = arena_take_f32(a, R, 1);
    b->ln2 = arena_take(a, g->act, R, C, 1);
    b->fc = arena_take(a, g->act, R, 4 * C, 1);
    b->gelu = g->learns ? arena_take(a, g->act, R, 4 * C, 1) : b->fc;
    b->out = g->learns ? arena_take_f32(a, R, C) : in;
}

static void lay_blocks(struct gpt *g, struct arena *a)
{
    struct view x = g->embedded;
    struct gpt_block b = {0};
    for (int l = 0; l < g->table->shape.layers; l++) {
        if (l == 0 || g->learns) lay_block(g, a, &b, x);
        if (g->block) g->block[l] = b;
        x = b.out;
    }
}

/* As many rows of logits as GPT_LOGITS_BYTES hold. Judging uses the same memory for f32 logits. */
static void lay_logits(struct gpt *g, struct arena *a)
{
    const int64_t R = (int64_t)g->batch * g->context, Vp = g->table->shape.vocab_pad;
    const enum dtype dtype = g->learns ? g->act : DTYPE_F32;
    const int64_t fit = GPT_LOGITS_BYTES / (Vp * (int64_t)dtype_bytes(dtype));
    const int64_t rows = fit < R ? fit : R;
    g->logits = arena_take(a, dtype, rows < 2 ? 2 : rows, Vp, 1); /* 2 rows of bf16: 1 of f32 */
}

static void lay_gradients(struct gpt *g, struct arena *a)
{
    const int64_t B = g->batch, T = g->context, R = B * T, C = g->table->shape.width;
    g->dx = arena_take_f32(a, R, C);
    g->dbranch = g->act == DTYPE_F32 ? g->dx : arena_take(a, g->act, R, C, 1);
    g->dnorm = arena_take(a, g->act, R, C, 1);
    g->dwide = arena_take(a, g->act, R, 4 * C, 1);
    g->dqkv = (struct view){g->dwide.data, {B, T, 3 * C, 1}, g->act};
}

int64_t gpt_layout(struct gpt *g, int batch)
{
    struct arena a = {g->pool, 0};
    const int64_t R = (int64_t)batch * g->context, C = g->table->shape.width;
    g->batch = batch;
    g->tokens = arena_take(&a, DTYPE_I32, batch, g->context, 1);
    g->targets = arena_take(&a, DTYPE_I32, R, 1, 1);
    g->losses = arena_take_f32(&a, R, 1);
    g->embedded = arena_take_f32(&a, R, C);
    lay_blocks(g, &a);
    g->branch = arena_take(&a, g->act, R, C, 1);
    g->lnf_mean = arena_take_f32(&a, R, 1);
    g->lnf_rstd = arena_take_f32(&a, R, 1);
    g->lnf = arena_take(&a, g->act, R, C, 1);
    lay_logits(g, &a);
    if (g->learns) lay_gradients(g, &a);
    return a.used;
}
