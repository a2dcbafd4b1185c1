/* cublaslt.c - cuBLASLt for tests without a GPU: column-major products by naive loops, with the
 * epilogues that the backend uses, from the documentation's description. What is to be stored must
 * agree in shape, and is refused otherwise.
 *
 * EMULATED_CUBLAS says what there is: "all" (if unset), "plain": no epilogues, "none": no products
 * at all. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <cublasLt.h>
#include "emulated/emulated.h"

struct emulated_cublas {
    int dummy;
};
struct emulated_operation {
    cublasOperation_t op_a, op_b;
    cublasLtEpilogue_t epilogue;
    const void *bias;
    void *aux;
    int64_t aux_ld;
};
struct emulated_matrix {
    cudaDataType_t type;
    int64_t rows, cols, ld;
};
struct emulated_preference {
    uint32_t alignment[4];
};

static int calls;

int emulated_heuristic_calls(void)
{
    return calls;
}

/* ---- objects --------------------------------------------------------------------------------- */

#define CREATE(p)                                                                                  \
    ((*(p) = calloc(1, sizeof **(p))) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED)

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" : "failure";
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    return CREATE(handle);
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    const cublasStatus_t status = CREATE(desc);
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_INVALID_VALUE;
    if (status == CUBLAS_STATUS_SUCCESS) (*desc)->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    return status;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    free(desc);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t what,
                                              const void *value, size_t bytes)
{
    struct {
        cublasLtMatmulDescAttributes_t what;
        void *field;
        size_t bytes;
    } const all[] = {{CUBLASLT_MATMUL_DESC_TRANSA, &desc->op_a, sizeof desc->op_a},
                     {CUBLASLT_MATMUL_DESC_TRANSB, &desc->op_b, sizeof desc->op_b},
                     {CUBLASLT_MATMUL_DESC_EPILOGUE, &desc->epilogue, sizeof desc->epilogue},
                     {CUBLASLT_MATMUL_DESC_BIAS_POINTER, &desc->bias, sizeof desc->bias},
                     {CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &desc->aux, sizeof desc->aux},
                     {CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &desc->aux_ld, sizeof desc->aux_ld}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i].what == what && all[i].bytes == bytes) {
            memcpy(all[i].field, value, bytes);
            return CUBLAS_STATUS_SUCCESS;
        }
    return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType_t type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    const cublasStatus_t status = CREATE(layout);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    **layout = (struct emulated_matrix){type, (int64_t)rows, (int64_t)cols, ld};
    return ld >= (int64_t)rows ? status : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    free(layout);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    return CREATE(preference);
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    free(preference);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t what,
                                                    const void *value, size_t bytes)
{
    if (what == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        return bytes == sizeof(uint64_t) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
    if (bytes != sizeof(uint32_t)) return CUBLAS_STATUS_INVALID_VALUE;
    if (what >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)
        memcpy(&preference->alignment[what - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value,
               bytes);
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- products -------------------------------------------------------------------------------- */

static bool is_set(const char *what)
{
    const char *const text = getenv("EMULATED_CUBLAS");
    return text && strcmp(text, what) == 0;
}

static bool has_aux(const struct emulated_operation *o)
{
    return (o->epilogue & 128) != 0;
}
static bool has_bias(const struct emulated_operation *o)
{
    return (o->epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
}

/* Rows and columns of op(x). */
static int64_t op_rows(const struct emulated_matrix *x, cublasOperation_t op)
{
    return op == CUBLAS_OP_N ? x->rows : x->cols;
}
static int64_t op_cols(const struct emulated_matrix *x, cublasOperation_t op)
{
    return op == CUBLAS_OP_N ? x->cols : x->rows;
}

static bool fits(const struct emulated_operation *o, const struct emulated_matrix *a,
                 const struct emulated_matrix *b, const struct emulated_matrix *d)
{
    const bool types = a->type == b->type && (d->type == CUDA_R_32F || a->type == CUDA_R_16BF);
    return types && op_rows(a, o->op_a) == d->rows && op_cols(b, o->op_b) == d->cols &&
           op_cols(a, o->op_a) == op_rows(b, o->op_b) && (!has_bias(o) || o->bias) &&
           (!has_aux(o) || (o->aux && o->aux_ld % 8 == 0 && o->aux_ld >= d->rows));
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int *found)
{
    (void)handle;
    calls++;
    *found = 0;
    for (int i = 0; i < 4; i++)
        if (preference->alignment[i] == 0 || preference->alignment[i] > 16)
            return CUBLAS_STATUS_INVALID_VALUE;
    if (wanted < 1 || c->type != d->type || !fits(desc, a, b, d))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (is_set("none") || (is_set("plain") && desc->epilogue != CUBLASLT_EPILOGUE_DEFAULT))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    results[0].state = CUBLAS_STATUS_SUCCESS;
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static float get(const void *p, cudaDataType_t type, int64_t i)
{
    float f;
    if (type == CUDA_R_32F) return ((const float *)p)[i];
    const uint32_t bits = (uint32_t)((const uint16_t *)p)[i] << 16;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void put(void *p, cudaDataType_t type, int64_t i, float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (type == CUDA_R_32F)
        ((float *)p)[i] = f;
    else if (f != f)
        ((uint16_t *)p)[i] = 0x7fff;
    else
        ((uint16_t *)p)[i] = (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}
static double gelu_slope(double x)
{
    const double t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
    return 0.5 * (1.0 + t) +
           0.5 * x * (1.0 - t * t) * 0.7978845608028654 * (1.0 + 3 * 0.044715 * x * x);
}

/* What is stored for the value v of row i, column j. */
static float finish(const struct emulated_operation *o, cudaDataType_t type, double v, int64_t i,
                    int64_t j)
{
    const int64_t at = j * o->aux_ld + i;
    if (has_bias(o)) v += (double)get(o->bias, type, i);
    if (o->epilogue == CUBLASLT_EPILOGUE_DGELU)
        return (float)(v * gelu_slope((double)get(o->aux, type, at)));
    if (!has_aux(o)) return (float)v;
    put(o->aux, type, at, (float)v);
    return (float)gelu(v);
}

/* A product as it was asked for: descriptions may change before it is made. */
struct product {
    struct emulated_operation o;
    struct emulated_matrix al, bl, cl, dl;
    float scale, keep;
    const void *a, *b, *c;
    void *d;
};

static void multiply(const void *call)
{
    const struct product *const p = call;
    const struct emulated_matrix al = p->al, bl = p->bl, cl = p->cl, dl = p->dl;
    const int64_t depth = op_cols(&al, p->o.op_a);
    const int64_t a_row = p->o.op_a == CUBLAS_OP_N ? 1 : al.ld,
                  a_col = p->o.op_a == CUBLAS_OP_N ? al.ld : 1;
    const int64_t b_row = p->o.op_b == CUBLAS_OP_N ? 1 : bl.ld,
                  b_col = p->o.op_b == CUBLAS_OP_N ? bl.ld : 1;
    for (int64_t j = 0; j < dl.cols; j++)
        for (int64_t i = 0; i < dl.rows; i++) {
            double sum = 0.0;
            for (int64_t l = 0; l < depth; l++)
                sum += (double)get(p->a, al.type, i * a_row + l * a_col) *
                       (double)get(p->b, bl.type, l * b_row + j * b_col);
            sum *= (double)p->scale;
            if (p->keep != 0.0f) sum += (double)(p->keep * get(p->c, cl.type, j * cl.ld + i));
            put(p->d, dl.type, j * dl.ld + i, finish(&p->o, dl.type, sum, i, j));
        }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t o, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t al, const void *b,
                              cublasLtMatrixLayout_t bl, const void *beta, const void *c,
                              cublasLtMatrixLayout_t cl, void *d, cublasLtMatrixLayout_t dl,
                              const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream)
{
    (void)handle;
    if (!fits(o, al, bl, dl) || !algo || !workspace || !workspace_bytes)
        return CUBLAS_STATUS_INVALID_VALUE;
    const struct product p = {.o = *o,
                              .al = *al,
                              .bl = *bl,
                              .cl = *cl,
                              .dl = *dl,
                              .scale = *(const float *)alpha,
                              .keep = *(const float *)beta,
                              .a = a,
                              .b = b,
                              .c = c,
                              .d = d};
    emulated_queue(stream, multiply, &p, sizeof p);
    return CUBLAS_STATUS_SUCCESS;
}
