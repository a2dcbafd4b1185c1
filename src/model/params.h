/* params.h - the parameter table: which tensors an expert has and where they lie in a slab.
 *
 * A slab is one allocation of n_params float32 (or bf16) values holding every tensor of one expert:
 * weights, gradients, first moments, ... all have this layout. Tensors start at multiples of 64
 * elements; the gaps are zero and stay zero. Order, so that what is treated alike lies together:
 *
 *   io matrices (wte, wpe) | body matrices (per layer) | body vectors (per layer) | io vectors
 * (ln_f)
 *   [------------- decay -------------)
 *                           [---------------- body ----------------) */
#pragma once
#include <stdint.h>
#include "config/config.h"

enum param_group { GROUP_IO, GROUP_BODY };
enum param_init { PARAM_ZERO, PARAM_ONE, PARAM_NORMAL, PARAM_NORMAL_RESIDUAL };

/* Which tensor of the model, for code that looks inside an expert. */
enum param {
    PARAM_WTE, /* (Vp, C) token embedding and head */
    PARAM_WPE, /* (T_max, C) position embedding */
    PARAM_QKV_W,
    PARAM_PROJ_W, /* (3C, C), (C, C) */
    PARAM_FC_W,
    PARAM_FCPROJ_W, /* (4C, C), (C, 4C) */
    PARAM_LN1_G,
    PARAM_LN1_B, /* (C) */
    PARAM_QKV_B,
    PARAM_PROJ_B, /* (3C), (C) */
    PARAM_LN2_G,
    PARAM_LN2_B, /* (C) */
    PARAM_FC_B,
    PARAM_FCPROJ_B, /* (4C), (C) */
    PARAM_LNF_G,
    PARAM_LNF_B, /* (C) */
    PARAM_KINDS
};

struct param_tensor {
    char name[48]; /* Hugging Face name: "h.0.attn.c_attn.weight" */
    enum param which;
    int layer; /* 0 for tensors that exist once */
    enum param_group group;
    int64_t rows, cols; /* as stored, (out, in); vectors: rows 1, cols n */
    int64_t real_rows;  /* rows without vocabulary padding */
    int64_t offset;     /* elements from the start of the slab */
    bool matrix;        /* 2-D: decays, and is what SCOPE_MATRICES means */
    bool hf_transposed; /* Hugging Face stores it (in, out) (their Conv1D) */
    enum param_init init;
};

struct param_table {
    struct gpt_shape shape;
    int n_tensors;
    struct param_tensor *tensor;  /* owned; in slab order */
    int64_t n_params;             /* elements of a slab, gaps included */
    int64_t n_real;               /* parameters a user would count (no padding rows, no gaps) */
    int64_t decay_end;            /* elements [0, decay_end) decay, the rest do not */
    int64_t body_begin, body_end; /* elements of the body group */
};

enum shoal_status param_table_create(const struct gpt_shape *shape, struct param_table **out);
void param_table_destroy(struct param_table **t);
/* The row of one tensor. */
const struct param_tensor *param_get(const struct param_table *t, enum param which, int layer);
/* Parameters of an expert of this shape, as a user counts them (tied head once). */
int64_t param_count(const struct gpt_shape *shape);
