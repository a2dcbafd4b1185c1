/* gpt_impl.h - what gpt's files share. Private to src/model. */
#pragma once
#include "model/gpt.h"

/* Of every norm, as in the released models. */
#define GPT_NORM_EPS 1e-5f

/* Logits exist for this many bytes' worth of rows at a time: 1024 rows of GPT-2's vocabulary in
 * bf16. Fewer rows make the head's products less efficient. */
enum { GPT_LOGITS_BYTES = 1024 * 50304 * 2 };

/* What one block keeps for the backward pass. R = B*T rows of the present batch; act is f32 or
 * bf16; W and F as in params.h; H is F in gpt2 and 2F in llama. Views of the same name lie in the
 * same memory in all blocks where they are not kept: without learning all but in and out, which are
 * then mid too; by train.recompute those of the feed-forward, or all but in and out. */
struct gpt_block {
    struct view in;           /* (R, C) f32: residual stream entering the block */
    struct view mean1, rstd1; /* (R) f32; mean: gpt2 only */
    struct view norm1;        /* (R, C) act */
    struct view qkv;          /* (B, T, W) act; llama: turned by position */
    struct view stats;        /* (B, NH, T) f32 */
    struct view att;          /* (B, T, C) act */
    struct view mid;          /* (R, C) f32: residual stream after attention */
    struct view mean2, rstd2; /* (R) f32; mean: gpt2 only */
    struct view norm2;        /* (R, C) act */
    struct view wide;         /* (R, H) act: before GELU, or gate | up */
    struct view out;          /* (R, C) f32: residual stream leaving the block */
};

/* Pinned host memory between host and device. */
struct gpt_pinned {
    struct figures figures;
    int32_t tokens[]; /* (B, T), and as many targets */
};

/* Marks of the device: tokens have left a piece of pinned memory; figures have come into it. */
enum { GPT_MARK_TOKENS = 0, GPT_MARK_FIGURES = 2 };

struct gpt {
    struct device *dev;              /* borrowed */
    const struct param_table *table; /* borrowed */
    struct gpt_setup setup;
    enum dtype act;
    float *weights;  /* n_params f32 master weights; borrowed from the expert, NULL before load */
    void *weights16; /* n_params bf16; NULL in f32 */
    float *grads;    /* n_params f32; NULL unless it learns */
    bool accumulate; /* the gradients hold those of earlier batches */
    void *pool;      /* every view below lies in here, and the figures */
    struct figures *figures;
    struct gpt_pinned *pinned[2]; /* used in turn; owned */
    int turn;

    struct gpt_pieces *pieces; /* passes as recorded; NULL: each is queued call by call */

    int batch;               /* the views are laid out for this many sequences; 0: not yet */
    struct view tokens;      /* (B, T) i32 */
    struct view targets;     /* (R) i32 */
    struct view losses;      /* (R) f32 */
    struct view embedded;    /* (R, C) f32 */
    struct gpt_block *block; /* L of them; owned host memory */
    struct view hidden;      /* (R, F) act: after GELU or SwiGLU */
    struct view lnf, lnf_mean, lnf_rstd; /* (R, C) act, (R) f32, (R) f32 */
    struct view logits;                  /* some rows of (Vp) act; f32 without learning */
    /* with learning */
    struct view dx;      /* (R, C) f32: gradient of the residual stream; lnf lies here before */
    struct view dbranch; /* (R, C) act: gradient of a branch's output; is dx in f32 */
    struct view dnorm;   /* (R, C) act: gradient of a norm's output, of attention's output */
    struct view dhidden; /* (R, F) act: in gpt2, of wide; hidden lies here before */
    struct view dqkv;    /* (B, T, W) act: the memory of dhidden */
};

/* Lay g's views out for `batch` sequences on the memory at g->pool; NULL only measures. Returns the
 * bytes needed. */
int64_t gpt_layout(struct gpt *g, int batch);
/* tokens -> g->lnf. */
enum shoal_status gpt_forward(struct gpt *g);
/* Parts of it, which the backward pass repeats where their results were not kept: b->in -> b->mid,
 * and b->mid -> b->wide; in gpt2, where a product brings GELU along, g->hidden too. */
enum shoal_status gpt_attention(struct gpt *g, const struct gpt_block *b, int layer);
enum shoal_status gpt_wide(struct gpt *g, const struct gpt_block *b, int layer);
/* g->lnf and targets -> g->losses; with_grad: also g->dnorm, the gradient of g->lnf, and the
 * gradient of the head, of (sum of losses) * scale. */
enum shoal_status gpt_head(struct gpt *g, bool with_grad, float scale);
/* g->dnorm as gpt_head left it -> all other gradients. */
enum shoal_status gpt_backward(struct gpt *g);

/* gpt_pieces.c: all that is computed of a batch that is on the device: gpt_forward, gpt_head and,
 * with_grad, gpt_backward. At once as a piece, if it was queued before with the same arguments. */
enum shoal_status gpt_pass(struct gpt *g, bool with_grad, float scale);
enum shoal_status gpt_pieces_create(struct gpt_pieces **out);
void gpt_pieces_destroy(struct device *dev, struct gpt_pieces **pieces);

/* ---- views of parameters and shapes ---------------------------------------------------------- */

/* A matrix as products want it, in the activation type; and its gradient. */
struct view gpt_matrix(const struct gpt *g, enum param_product product, int layer);
struct view gpt_matrix_grad(const struct gpt *g, enum param_product product, int layer);
/* Any tensor of the f32 master weights, and its gradient; none where the architecture has none. */
struct view gpt_param(const struct gpt *g, enum param which, int layer);
struct view gpt_grad(const struct gpt *g, enum param which, int layer);
/* The same memory as a matrix: (B, T, n) -> (B*T, n). */
struct view gpt_rows(struct view v);

static inline bool gpt_is_llama(const struct gpt *g)
{
    return g->table->shape.arch == ARCH_LLAMA;
}
static inline struct attention_shape gpt_heads(const struct gpt *g)
{
    return (struct attention_shape){g->table->shape.heads, g->table->shape.kv_heads};
}
