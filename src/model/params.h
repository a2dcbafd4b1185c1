/* params.h - the parameter table: which tensors an expert has and where they lie in a slab.
 *
 * A slab is one allocation of n_params float32 (or bf16) values holding every tensor of one expert:
 * weights, gradients, first moments, ... all have this layout. Tensors start at multiples of 64
 * elements, except those that follow another without a gap because both are one matrix for the
 * model (Q, K and V; gate and up of SwiGLU). Gaps are zero and stay zero. Order, so that what is
 * treated alike lies together:
 *
 *   io matrices | body matrices (per layer) | body vectors (per layer) | io vectors
 *   [---------------- decay ---------------)
 *               [----------------------- body -----------------------)
 *
 * Names and shapes are those of Hugging Face's GPT2LMHeadModel and LlamaForCausalLM. */
#pragma once
#include <stdint.h>
#include "config/config.h"

enum param_group { GROUP_IO, GROUP_BODY };
enum param_init { PARAM_ZERO, PARAM_ONE, PARAM_NORMAL, PARAM_NORMAL_RESIDUAL };

/* Which tensor of the model, for code that looks inside an expert. No architecture has all. KV =
 * NK*HS; W = C + 2 KV; F: width inside the feed-forward. */
enum param {
    PARAM_WTE,   /* (Vp, C) token embedding; the head too where the two are tied */
    PARAM_WPE,   /* (T_max, C) position embedding; gpt2 */
    PARAM_HEAD,  /* (Vp, C); llama, unless tied */
    PARAM_QKV_W, /* (W, C); gpt2 */
    PARAM_Q_W,
    PARAM_K_W,
    PARAM_V_W,    /* (C, C), (KV, C), (KV, C); llama */
    PARAM_PROJ_W, /* (C, C) */
    PARAM_FC_W,   /* (F, C); gpt2 */
    PARAM_GATE_W,
    PARAM_UP_W,     /* (F, C); llama */
    PARAM_FCPROJ_W, /* (C, F) */
    PARAM_LN1_G,    /* gains (_G) of norms are in both architectures, biases (_B) only in gpt2 */
    PARAM_LN1_B,    /* (C) */
    PARAM_QKV_B,    /* (W) */
    PARAM_PROJ_B,   /* (C) */
    PARAM_LN2_G,
    PARAM_LN2_B, /* (C) */
    PARAM_FC_B,
    PARAM_FCPROJ_B, /* (F), (C) */
    PARAM_LNF_G,
    PARAM_LNF_B, /* (C) */
    PARAM_KINDS
};

/* The matrices the model multiplies with: a tensor each, or several that lie side by side. */
enum param_product {
    PRODUCT_HEAD,   /* (Vp, C) */
    PRODUCT_QKV,    /* (W, C): Q | K | V */
    PRODUCT_PROJ,   /* (C, C): of attention's output */
    PRODUCT_FC,     /* into the feed-forward. gpt2: (F, C); llama: (2F, C), gate | up */
    PRODUCT_FCPROJ, /* (C, F): out of the feed-forward */
    PRODUCT_KINDS
};

enum { PARAM_NAME = 64 };

struct param_tensor {
    char name[PARAM_NAME]; /* Hugging Face name: "h.0.attn.c_attn.weight" */
    enum param which;
    int layer; /* 0 for tensors that exist once */
    enum param_group group;
    int64_t rows, cols; /* as stored, (out, in); vectors: rows 1, cols n */
    int64_t real_rows;  /* rows without vocabulary padding */
    int64_t offset;     /* elements from the start of the slab */
    bool matrix;        /* 2-D: decays, and is what SCOPE_MATRICES means */
    bool hf_transposed; /* Hugging Face stores it (in, out) (their Conv1D) */
    bool joined;        /* follows the tensor before it without a gap */
    enum param_init init;
};

struct param_table {
    struct gpt_shape shape;
    int n_tensors;
    struct param_tensor *tensor;  /* owned; in slab order */
    int first[PARAM_KINDS];       /* number of layer 0's tensor; -1: the architecture has none */
    int step[PARAM_KINDS];        /* from one layer's to the next one's */
    int64_t n_params;             /* elements of a slab, gaps included */
    int64_t n_real;               /* parameters a user would count (no padding rows, no gaps) */
    int64_t decay_end;            /* elements [0, decay_end) decay, the rest do not */
    int64_t body_begin, body_end; /* elements of the body group */
};

/* SHOAL_ECONFIG: a shape no model can have. */
enum shoal_status param_table_create(const struct gpt_shape *shape, struct param_table **out);
void param_table_destroy(struct param_table **t);
/* The row of one tensor; NULL when the architecture has none. */
const struct param_tensor *param_find(const struct param_table *t, enum param which, int layer);
/* The row of one tensor that the architecture has. */
const struct param_tensor *param_get(const struct param_table *t, enum param which, int layer);

/* A slab cut at tensors into `fragments` parts of about the same size: where part i begins; part
 * `fragments` would begin at the end. A part may be empty. */
int64_t param_fragment(const struct param_table *t, int i, int fragments);

/* Part of a slab that is one (rows, cols) matrix. */
struct param_matrix {
    int64_t offset, rows, cols;
};
struct param_matrix param_product(const struct param_table *t, enum param_product product,
                                  int layer);
/* Parameters of an expert of this shape, as a user counts them (a tied head once). */
int64_t param_count(const struct gpt_shape *shape);
