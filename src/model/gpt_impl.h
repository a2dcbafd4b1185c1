/* gpt_impl.h - what gpt's files share. Private to src/model. */
#pragma once
#include "model/gpt.h"

#define GPT_LAYERNORM_EPS 1e-5f

/* Logits exist for this many bytes' worth of rows at a time. */
enum { GPT_LOGITS_BYTES = 32 << 20 };

/* What one block keeps for the backward pass. R = B*T rows of the present batch; act is f32 or
 * bf16. Without learning all blocks share one set, and in, mid and out are the same memory. */
struct gpt_block {
    struct view in;           /* (R, C) f32: residual stream entering the block */
    struct view mean1, rstd1; /* (R) f32 */
    struct view ln1;          /* (R, C) act */
    struct view qkv;          /* (B, T, 3C) act */
    struct view att;          /* (B, T, C) act */
    struct view stats;        /* (B, NH, T) f32 */
    struct view mid;          /* (R, C) f32: residual stream after attention */
    struct view mean2, rstd2; /* (R) f32 */
    struct view ln2;          /* (R, C) act */
    struct view fc, gelu;     /* (R, 4C) act; the same memory without learning */
    struct view out;          /* (R, C) f32: residual stream leaving the block */
};

struct gpt {
    struct device *dev;              /* borrowed */
    const struct param_table *table; /* borrowed */
    int max_batch, context;          /* most sequences; T */
    bool learns;
    enum dtype act;
    float *weights;  /* n_params f32 master weights; borrowed from the expert, NULL before load */
    void *weights16; /* n_params bf16; NULL in f32 */
    float *grads;    /* n_params f32; NULL unless it learns */
    void *pool;      /* every view below lies in here */

    int batch;               /* the views are laid out for this many sequences; 0: not yet */
    struct view tokens;      /* (B, T) i32 */
    struct view targets;     /* (R) i32 */
    struct view losses;      /* (R) f32 */
    struct view embedded;    /* (R, C) f32 */
    struct gpt_block *block; /* L of them; owned host memory */
    struct view branch;      /* (R, C) act: output of attention or feed-forward */
    struct view lnf, lnf_mean, lnf_rstd; /* (R, C) act, (R) f32, (R) f32 */
    struct view logits;                  /* some rows of (Vp) act */
    /* with learning */
    struct view dx;      /* (R, C) f32: gradient of the residual stream */
    struct view dbranch; /* (R, C) act: gradient of a branch's output; is dx in f32 */
    struct view dnorm;   /* (R, C) act: gradient of a norm's output, of attention's output */
    struct view dwide;   /* (R, 4C) act: gradient inside the feed-forward */
    struct view dqkv;    /* (B, T, 3C) act: the same memory as dwide */
};

/* Lay g's views out for `batch` sequences on the memory at g->pool; NULL only measures. Returns the
 * bytes needed. */
int64_t gpt_layout(struct gpt *g, int batch);
/* tokens -> g->lnf. */
enum shoal_status gpt_forward(struct gpt *g);
/* g->lnf and targets -> g->losses; with_grad: also g->dnorm, the gradient of g->lnf, and the
 * gradient of the head, of (sum of losses) * scale. */
enum shoal_status gpt_head(struct gpt *g, bool with_grad, float scale);
/* g->dnorm as gpt_head left it -> all other gradients. */
enum shoal_status gpt_backward(struct gpt *g);

/* ---- views of parameters and shapes ---------------------------------------------------------- */

/* A matrix as matmuls want it, in the activation type. */
struct view gpt_matrix(const struct gpt *g, enum param which, int layer);
/* Any tensor of the f32 master weights; vectors are (n). */
struct view gpt_master(const struct gpt *g, enum param which, int layer);
/* Any tensor's gradient. */
struct view gpt_grad(const struct gpt *g, enum param which, int layer);
/* The same memory as a matrix: (B, T, n) -> (B*T, n). */
struct view gpt_rows(struct view v);
