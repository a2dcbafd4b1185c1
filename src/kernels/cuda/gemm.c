/* gemm.c - matrix products by cuBLASLt, with the epilogue inside the product where it can be.
 *
 * cuBLASLt thinks in columns: a row-major (m, n) matrix is its (n, m). So c = a . b becomes
 * c^T = b^T . a^T, its A is our b and its B our a. For each product met (shape, types, epilogue,
 * alignment) its heuristic is asked once; the answer is a plan:
 *   FUSED  one call does all. A bias must then have c's type: for bf16 it is rounded first.
 *   SPLIT  the product goes to scratch in f32 and gemm_epilogue.cu does the rest in one pass: in
 * f32 for GELU, whose form in cuBLASLt is less exact, and wherever FUSED is not to be had. OWN our
 * own slow product: no plan at all; said once. Inputs in f32 are multiplied in f32, never in TF32.
 * Where k is split, partial sums are added in f32, never in the output's type; that is
 * deterministic in cuBLASLt, so the same plan gives the same bits. */
#include <cublasLt.h>
#include <string.h>
#include "base/log.h"
#include "base/memory.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/geometry.h"

enum plan_mode { PLAN_FUSED, PLAN_SPLIT, PLAN_OWN };

/* What a plan is found by. Zeroed before it is filled: compared as bytes. */
struct plan_key {
    struct gemm g;
    int bias;                           /* 0 or 1 */
    int align_a, align_b;               /* in bytes; alignment_of */
    int align_c, align_aux, align_bias; /* 16 where there is none */
};

struct gemm_plan {
    struct gemm_plan *next;
    struct plan_key key;
    enum plan_mode mode;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c; /* cuBLASLt's A and B: our b and a */
    cublasLtMatmulAlgo_t algo;
};

struct gemm_plans {
    cublasLtHandle_t handle;
    struct gemm_plan *first;
};

/* ---- failures -------------------------------------------------------------------------------- */

static enum shoal_status cublas_failed(cublasStatus_t code, int line, const char *call)
{
    const enum shoal_status st = code == CUBLAS_STATUS_ALLOC_FAILED ? SHOAL_ENOMEM : SHOAL_EDEVICE;
    return shoal_fail(st, __FILE__, line, "cuBLASLt: %.60s: %s; see nvidia-smi, or use device: cpu",
                      call, cublasLtGetStatusString(code));
}

#define TRY_CUBLAS(call)                                                                           \
    do {                                                                                           \
        const cublasStatus_t try_code = (call);                                                    \
        if (try_code != CUBLAS_STATUS_SUCCESS) return cublas_failed(try_code, __LINE__, #call);    \
    } while (0)

/* ---- life ------------------------------------------------------------------------------------ */

static void plan_destroy(struct gemm_plan *p)
{
    if (p->desc) (void)cublasLtMatmulDescDestroy(p->desc);
    if (p->a) (void)cublasLtMatrixLayoutDestroy(p->a);
    if (p->b) (void)cublasLtMatrixLayoutDestroy(p->b);
    if (p->c) (void)cublasLtMatrixLayoutDestroy(p->c);
    mem_free(p);
}

void gemm_plans_destroy(struct gemm_plans **plans)
{
    struct gemm_plans *const x = *plans;
    if (!x) return;
    while (x->first) {
        struct gemm_plan *const next = x->first->next;
        plan_destroy(x->first);
        x->first = next;
    }
    if (x->handle) (void)cublasLtDestroy(x->handle);
    mem_free(x);
    *plans = NULL;
}

/* On failure *out still wants gemm_plans_destroy. */
enum shoal_status gemm_plans_create(struct gemm_plans **out)
{
    SHOAL_TRY(mem_alloc(sizeof **out, "matrix product plans", out));
    TRY_CUBLAS(cublasLtCreate(&(*out)->handle));
    return SHOAL_OK;
}

/* ---- describing a product to cuBLASLt -------------------------------------------------------- */

static cudaDataType_t type_of(enum dtype t)
{
    return t == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* What the plan's call stores: c itself, or the f32 product that gemm_finish works on. */
static enum dtype stored_type(const struct gemm_plan *p)
{
    return p->mode == PLAN_FUSED ? p->key.g.out : DTYPE_F32;
}

static cublasLtEpilogue_t epilogue_of(const struct gemm_plan *p)
{
    const bool bias = p->key.bias != 0;
    if (p->mode != PLAN_FUSED) return CUBLASLT_EPILOGUE_DEFAULT;
    switch (p->key.g.epilogue) {
    case GEMM_GELU:
        return bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    case GEMM_GELU_GRAD:
        return CUBLASLT_EPILOGUE_DGELU;
    default:
        return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    }
}

static bool has_gelu(const struct gemm *g)
{
    return g->epilogue == GEMM_GELU || g->epilogue == GEMM_GELU_GRAD;
}

static bool may_fuse(const struct gemm *g)
{
    return product_may_fuse(has_gelu(g), g->out, g->n);
}

static enum shoal_status set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t what,
                             const void *value, size_t bytes)
{
    TRY_CUBLAS(cublasLtMatmulDescSetAttribute(desc, what, value, bytes));
    return SHOAL_OK;
}

/* Pointers of the epilogue, which may differ in every call. bias has the type of what is stored. */
static enum shoal_status set_pointers(const struct gemm_plan *p, const void *bias, const void *aux)
{
    if (p->mode != PLAN_FUSED) return SHOAL_OK;
    if (bias) SHOAL_TRY(set(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
    if (has_gelu(&p->key.g))
        SHOAL_TRY(set(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &aux, sizeof aux));
    return SHOAL_OK;
}

static enum shoal_status describe_operation(struct gemm_plan *p)
{
    const struct gemm *const g = &p->key.g;
    const cublasOperation_t op_a = g->kind == GEMM_NT ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t op_b = g->kind == GEMM_TN ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasLtEpilogue_t epilogue = epilogue_of(p);
    const int64_t aux_row = g->n;
    TRY_CUBLAS(cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    SHOAL_TRY(set(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof op_a));
    SHOAL_TRY(set(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &op_b, sizeof op_b));
    SHOAL_TRY(set(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    if (p->mode == PLAN_FUSED && has_gelu(g))
        SHOAL_TRY(set(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &aux_row, sizeof aux_row));
    return SHOAL_OK;
}

/* A row-major (rows, cols) matrix: in cuBLASLt's eyes (cols, rows) with columns `cols` apart. */
static enum shoal_status describe_matrix(cublasLtMatrixLayout_t *to, enum dtype type, int64_t rows,
                                         int64_t cols)
{
    TRY_CUBLAS(cublasLtMatrixLayoutCreate(to, type_of(type), (uint64_t)cols, (uint64_t)rows, cols));
    return SHOAL_OK;
}

static enum shoal_status describe(struct gemm_plan *p)
{
    const struct gemm *const g = &p->key.g;
    SHOAL_TRY(describe_operation(p));
    SHOAL_TRY(g->kind == GEMM_TN ? describe_matrix(&p->b, g->in, g->k, g->m)
                                 : describe_matrix(&p->b, g->in, g->m, g->k));
    SHOAL_TRY(g->kind == GEMM_NT ? describe_matrix(&p->a, g->in, g->n, g->k)
                                 : describe_matrix(&p->a, g->in, g->k, g->n));
    return describe_matrix(&p->c, stored_type(p), g->m, g->n);
}

/* ---- asking for an algorithm ------------------------------------------------------------------
 */

static enum shoal_status prefer(cublasLtMatmulPreference_t like, const struct gemm_plan *p)
{
    const uint64_t workspace = CUDA_WORKSPACE_BYTES;
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    /* scratch and residuals are f32 matrices of whole allocations or rows of one */
    const int stored = p->mode == PLAN_FUSED ? p->key.align_c : 16;
    const int residual = p->mode == PLAN_FUSED && p->key.g.epilogue == GEMM_RESIDUAL;
    const uint32_t a = (uint32_t)p->key.align_b, b = (uint32_t)p->key.align_a;
    const uint32_t c = (uint32_t)(residual ? p->key.align_aux : stored), d = (uint32_t)stored;
    const struct {
        cublasLtMatmulPreferenceAttributes_t what;
        const void *value;
        size_t bytes;
    } all[] = {{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
               {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions},
               {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a, sizeof a},
               {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &b, sizeof b},
               {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &c, sizeof c},
               {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &d, sizeof d}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        TRY_CUBLAS(
            cublasLtMatmulPreferenceSetAttribute(like, all[i].what, all[i].value, all[i].bytes));
    return SHOAL_OK;
}

/* The heuristic's first choice; *found false: there is none. */
static enum shoal_status ask(struct gemm_plans *plans, struct gemm_plan *p, bool *found)
{
    cublasLtMatmulPreference_t like = NULL;
    cublasLtMatmulHeuristicResult_t best;
    int n = 0;
    memset(&best, 0, sizeof best);
    TRY_CUBLAS(cublasLtMatmulPreferenceCreate(&like));
    const enum shoal_status st = prefer(like, p);
    const cublasStatus_t code =
        st == SHOAL_OK ? cublasLtMatmulAlgoGetHeuristic(plans->handle, p->desc, p->a, p->b, p->c,
                                                        p->c, like, 1, &best, &n)
                       : CUBLAS_STATUS_SUCCESS;
    (void)cublasLtMatmulPreferenceDestroy(like);
    SHOAL_TRY(st);
    *found = code == CUBLAS_STATUS_SUCCESS && n > 0 && best.state == CUBLAS_STATUS_SUCCESS;
    p->algo = best.algo;
    /* anything else is a failure, not an absence */
    if (code != CUBLAS_STATUS_NOT_SUPPORTED && code != CUBLAS_STATUS_INVALID_VALUE)
        TRY_CUBLAS(code);
    return SHOAL_OK;
}

/* One try in one mode, with the pointers of the first call for their alignment. */
static enum shoal_status plan_try(struct gemm_plans *plans, const struct plan_key *key,
                                  enum plan_mode mode, const void *bias, const void *aux,
                                  struct gemm_plan **out)
{
    struct gemm_plan *p = NULL;
    bool found = false;
    enum shoal_status st;
    *out = NULL;
    SHOAL_GOTO(mem_alloc(sizeof *p, "a matrix product's plan", &p));
    p->key = *key;
    p->mode = mode;
    if (mode == PLAN_OWN) {
        found = true;
        goto done;
    }
    SHOAL_GOTO(describe(p));
    SHOAL_GOTO(set_pointers(p, bias, aux));
    SHOAL_GOTO(ask(plans, p, &found));
done:
    if (st == SHOAL_OK && found)
        *out = p;
    else if (p)
        plan_destroy(p);
    return st;
}

static enum shoal_status plan_make(struct gemm_plans *plans, const struct plan_key *key,
                                   const void *bias, const void *aux, struct gemm_plan **out)
{
    const struct gemm *const g = &key->g;
    *out = NULL;
    if (may_fuse(g)) SHOAL_TRY(plan_try(plans, key, PLAN_FUSED, bias, aux, out));
    if (!*out) SHOAL_TRY(plan_try(plans, key, PLAN_SPLIT, NULL, NULL, out));
    if (*out) return SHOAL_OK;
    log_warn("cuBLASLt has no product of %lld x %lld x %lld in %s; a slow one takes its place",
             (long long)g->m, (long long)g->n, (long long)g->k,
             g->in == DTYPE_BF16 ? "bf16" : "f32");
    return plan_try(plans, key, PLAN_OWN, NULL, NULL, out);
}

static struct plan_key key_of(const struct gemm *g, const struct gemm_data *d, const void *bias)
{
    struct plan_key key;
    memset(&key, 0, sizeof key);
    key.g.m = g->m;
    key.g.n = g->n;
    key.g.k = g->k;
    key.g.kind = g->kind;
    key.g.in = g->in;
    key.g.out = g->out;
    key.g.epilogue = g->epilogue;
    key.bias = d->bias != NULL;
    key.align_a = alignment_of(d->a);
    key.align_b = alignment_of(d->b);
    key.align_c = alignment_of(d->c);
    key.align_aux = alignment_of(d->aux);
    key.align_bias = alignment_of(bias);
    return key;
}

static enum shoal_status plan_get(struct gemm_plans *plans, const struct gemm *g,
                                  const struct gemm_data *d, const void *bias,
                                  const struct gemm_plan **out)
{
    const struct plan_key key = key_of(g, d, bias);
    struct gemm_plan *p = plans->first;
    while (p && memcmp(&p->key, &key, sizeof key) != 0)
        p = p->next;
    if (!p) {
        SHOAL_TRY(plan_make(plans, &key, bias, d->aux, &p));
        p->next = plans->first;
        plans->first = p;
    }
    *out = p;
    return SHOAL_OK;
}

/* ---- running ----------------------------------------------------------------------------------
 */

/* alpha 1, beta 1 where something is added: c itself, or the residual. */
static enum shoal_status multiply(struct device *dev, const struct gemm_plan *p,
                                  const struct gemm_data *d, void *stored)
{
    struct cuda_device *const cuda = cuda_of(dev);
    const bool residual = p->mode == PLAN_FUSED && p->key.g.epilogue == GEMM_RESIDUAL;
    const bool adds = residual || (p->mode == PLAN_FUSED && p->key.g.epilogue == GEMM_ADD);
    const float alpha = 1.0f, beta = adds ? 1.0f : 0.0f;
    TRY_CUBLAS(cublasLtMatmul(cuda->gemms->handle, p->desc, &alpha, d->b, p->a, d->a, p->b, &beta,
                              residual ? d->aux : stored, p->c, stored, p->c, &p->algo,
                              cuda->workspace, CUDA_WORKSPACE_BYTES, cuda->stream));
    return SHOAL_OK;
}

static enum shoal_status run_split(struct device *dev, const struct gemm_plan *p,
                                   const struct gemm *g, const struct gemm_data *d)
{
    float *product;
    SHOAL_TRY(cuda_scratch(dev, (size_t)scratch_product(g->m, g->n), &product));
    if (p->mode == PLAN_OWN)
        SHOAL_TRY(gemm_plain(dev, product, g, d));
    else
        SHOAL_TRY(multiply(dev, p, d, product));
    return gemm_finish(dev, g, d, product);
}

/* The bias in the type of what is stored, *out: itself, or rounded in scratch. */
static enum shoal_status typed_bias(struct device *dev, const struct gemm *g, const float *bias,
                                    const void **out)
{
    void *rounded, *exact;
    *out = bias;
    if (!bias || g->out == DTYPE_F32 || !may_fuse(g)) return SHOAL_OK;
    memcpy(&exact, &bias, sizeof exact); /* views are not const */
    SHOAL_TRY(cuda_scratch(dev, (size_t)scratch_bias(g->out, g->n), &rounded));
    *out = rounded;
    return cuda_convert(dev, view_make(rounded, g->out, g->n, 1),
                        view_make(exact, DTYPE_F32, g->n, 1));
}

static enum shoal_status product(struct device *dev, const struct gemm *g,
                                 const struct gemm_data *d)
{
    const struct gemm_plan *p;
    const void *bias;
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    SHOAL_TRY(typed_bias(dev, g, d->bias, &bias));
    SHOAL_TRY(plan_get(cuda_of(dev)->gemms, g, d, bias, &p));
    if (p->mode != PLAN_FUSED) return run_split(dev, p, g, d);
    SHOAL_TRY(set_pointers(p, bias, d->aux));
    return multiply(dev, p, d, d->c);
}

/* The gradient of a bias is a sum of columns of its own: cuBLASLt's would not be added to what is
 * there. */
enum shoal_status cuda_gemm(struct device *dev, const struct gemm *g, const struct gemm_data *d)
{
    SHOAL_TRY(product(dev, g, d));
    if (!d->a_sums) return SHOAL_OK;
    return cuda_add_column_sums(dev, d->a_sums, d->a, g->in == DTYPE_BF16, g->k, g->m);
}
