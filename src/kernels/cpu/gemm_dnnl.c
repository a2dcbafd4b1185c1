/* gemm_dnnl.c - matrix products through oneDNN's matmul primitive.
 *
 * A primitive is compiled for one shape, type and layout, so each is made at its first use and
 * kept in the device: a training step meets about twenty of them, and a linear search over that
 * many small keys is cheaper than a hash. Transposed operands are strides of the memory
 * descriptors, accumulation is a sum post-op, so neither needs a copy of ours. Scratchpads are the
 * caller's (dnnl_scratchpad_mode_user) and all share the device's scratch: nothing is allocated
 * after the first use of a shape. */
#include <omp.h>
#include <string.h>
#include "base/memory.h"
#include "kernels/cpu/dnnl_api.h"
#include "kernels/cpu/gemm_parts.h"

enum { GEMM_MAX_ARGS = 5 };

struct gemm_entry {
    struct product key;
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, c, bias, scratch; /* bias NULL when there is none */
    size_t scratch_bytes;
    struct gemm_entry *next;
};

struct gemm_cache {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct gemm_entry *first; /* owned */
};

#define TRY_DNNL(call)                                                                             \
    do {                                                                                           \
        const dnnl_status_t dnnl_result = (call);                                                  \
        SHOAL_CHECK(dnnl_result == dnnl_success, SHOAL_EDEVICE,                                    \
                    "oneDNN returned status %d for %s; set DNNL_VERBOSE=1 to see why",             \
                    (int)dnnl_result, #call);                                                      \
    } while (0)

/* Nothing can be done about a failing destroy, so its status is not looked at. */
static void entry_destroy(struct gemm_entry *e)
{
    const dnnl_memory_t memory[] = {e->a, e->b, e->c, e->bias, e->scratch};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
        if (memory[i]) (void)dnnl_memory_destroy(memory[i]);
    if (e->primitive) (void)dnnl_primitive_destroy(e->primitive);
    mem_free(e);
}

void gemm_cache_destroy(struct gemm_cache **cache)
{
    struct gemm_cache *const gone = *cache;
    if (!gone) return;
    while (gone->first) {
        struct gemm_entry *const e = gone->first;
        gone->first = e->next;
        entry_destroy(e);
    }
    if (gone->stream) (void)dnnl_stream_destroy(gone->stream);
    if (gone->engine) (void)dnnl_engine_destroy(gone->engine);
    mem_free(gone);
    *cache = NULL;
}

const char *gemm_isa_name(void)
{
    static const struct {
        dnnl_cpu_isa_t isa;
        const char *name;
    } names[] = {
        {dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx"},
        {dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"},
        {dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"},
        {dnnl_cpu_isa_avx512_core, "avx512_core"},
        {dnnl_cpu_isa_avx2_vnni, "avx2_vnni"},
        {dnnl_cpu_isa_avx2, "avx2"},
        {dnnl_cpu_isa_avx, "avx"},
        {dnnl_cpu_isa_sse41, "sse41"},
    };
    const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (((unsigned)isa & (unsigned)names[i].isa) == (unsigned)names[i].isa)
            return names[i].name;
    return "generic";
}

static bool same_product(const struct product *x, const struct product *y)
{
    return x->m == y->m && x->n == y->n && x->k == y->k && x->kind == y->kind && x->out == y->out &&
           x->bias == y->bias && x->accumulate == y->accumulate;
}

/* Descriptors of the four operands. */
struct gemm_mds {
    dnnl_memory_desc_t a, b, c, bias;
};

static dnnl_data_type_t dnnl_type(enum dtype t)
{
    return t == DTYPE_BF16 ? dnnl_bf16 : dnnl_f32;
}

static enum shoal_status mds_make(struct gemm_mds *d, const struct product *g)
{
    const dnnl_data_type_t in = dnnl_bf16;
    if (g->kind == GEMM_TN)
        TRY_DNNL(api_matrix(&d->a, in, g->m, g->k, 1, g->m));
    else
        TRY_DNNL(api_matrix(&d->a, in, g->m, g->k, g->k, 1));
    if (g->kind == GEMM_NT)
        TRY_DNNL(api_matrix(&d->b, in, g->k, g->n, 1, g->k));
    else
        TRY_DNNL(api_matrix(&d->b, in, g->k, g->n, g->n, 1));
    TRY_DNNL(api_matrix(&d->c, dnnl_type(g->out), g->m, g->n, g->n, 1));
    TRY_DNNL(api_matrix(&d->bias, dnnl_f32, 1, g->n, g->n, 1));
    return SHOAL_OK;
}

static void mds_free(struct gemm_mds *d)
{
    api_matrix_free(&d->a);
    api_matrix_free(&d->b);
    api_matrix_free(&d->c);
    api_matrix_free(&d->bias);
}

static enum shoal_status attr_make(dnnl_primitive_attr_t *attr, bool accumulate)
{
    TRY_DNNL(dnnl_primitive_attr_create(attr));
    TRY_DNNL(dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user));
    if (!accumulate) return SHOAL_OK;
    dnnl_post_ops_t post_ops;
    TRY_DNNL(dnnl_post_ops_create(&post_ops));
    dnnl_status_t status = api_append_sum(post_ops);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*attr, post_ops);
    (void)dnnl_post_ops_destroy(post_ops);
    TRY_DNNL(status);
    return SHOAL_OK;
}

enum shoal_status gemm_cache_create(struct gemm_cache **out)
{
    struct gemm_cache *cache;
    SHOAL_TRY(mem_alloc(sizeof *cache, "matrix product cache", &cache));
    *out = cache;
    TRY_DNNL(dnnl_engine_create(&cache->engine, dnnl_cpu, 0));
    TRY_DNNL(dnnl_stream_create(&cache->stream, cache->engine, dnnl_stream_default_flags));
    return SHOAL_OK;
}

static enum shoal_status entry_fill(struct gemm_entry *e, const struct gemm_mds *d,
                                    dnnl_primitive_desc_t pd, dnnl_engine_t engine)
{
    TRY_DNNL(dnnl_primitive_create(&e->primitive, pd));
    TRY_DNNL(api_memory(&e->a, &d->a, engine));
    TRY_DNNL(api_memory(&e->b, &d->b, engine));
    TRY_DNNL(api_memory(&e->c, &d->c, engine));
    if (e->key.bias) TRY_DNNL(api_memory(&e->bias, &d->bias, engine));
    TRY_DNNL(api_scratchpad(&e->scratch, &e->scratch_bytes, pd, engine));
    return SHOAL_OK;
}

static enum shoal_status entry_create(struct gemm_cache *cache, const struct product *g)
{
    struct gemm_mds d;
    memset(&d, 0, sizeof d);
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    struct gemm_entry *e = NULL;
    dnnl_status_t made;
    enum shoal_status st;

    SHOAL_GOTO(mds_make(&d, g));
    SHOAL_GOTO(attr_make(&attr, g->accumulate));
    made = api_matmul(&pd, cache->engine, &d.a, &d.b, g->bias ? &d.bias : NULL, &d.c, attr);
    if (made != dnnl_success) {
        st = SHOAL_FAIL(SHOAL_EDEVICE,
                        "oneDNN has no matrix product of %lld x %lld x %lld in bf16 (status %d); "
                        "try train.precision: f32",
                        (long long)g->m, (long long)g->n, (long long)g->k, (int)made);
        goto done;
    }
    SHOAL_GOTO(mem_alloc(sizeof *e, "matrix product", &e));
    e->key = *g;
    SHOAL_GOTO(entry_fill(e, &d, pd, cache->engine));
    e->next = cache->first;
    cache->first = e;
    e = NULL;
done:
    if (e) entry_destroy(e);
    if (pd) (void)dnnl_primitive_desc_destroy(pd);
    if (attr) (void)dnnl_primitive_attr_destroy(attr);
    mds_free(&d);
    return st;
}

static struct gemm_entry *entry_find(struct gemm_cache *cache, const struct product *g)
{
    struct gemm_entry *e = cache->first;
    while (e && !same_product(&e->key, g))
        e = e->next;
    return e;
}

/* oneDNN's interface has no const for inputs; it does not write them. */
static void *unconst(const void *p)
{
    return (void *)(uintptr_t)p;
}

static enum shoal_status entry_get(struct gemm_cache *cache, const struct product *g,
                                   const struct gemm_entry **out)
{
    *out = entry_find(cache, g);
    if (*out) return SHOAL_OK;
    SHOAL_TRY(entry_create(cache, g));
    *out = entry_find(cache, g);
    return SHOAL_OK;
}

static enum shoal_status execute(const struct gemm_entry *e, dnnl_stream_t stream, void *scratch,
                                 void *c, const void *a, const void *b, const void *bias)
{
    TRY_DNNL(dnnl_memory_set_data_handle(e->a, unconst(a)));
    TRY_DNNL(dnnl_memory_set_data_handle(e->b, unconst(b)));
    TRY_DNNL(dnnl_memory_set_data_handle(e->c, c));
    TRY_DNNL(dnnl_memory_set_data_handle(e->scratch, scratch));
    if (e->key.bias) TRY_DNNL(dnnl_memory_set_data_handle(e->bias, unconst(bias)));
    const dnnl_exec_arg_t args[GEMM_MAX_ARGS] = {{DNNL_ARG_SRC, e->a},
                                                 {DNNL_ARG_WEIGHTS, e->b},
                                                 {DNNL_ARG_DST, e->c},
                                                 {DNNL_ARG_SCRATCHPAD, e->scratch},
                                                 {DNNL_ARG_BIAS, e->bias}};
    TRY_DNNL(dnnl_primitive_execute(e->primitive, stream, e->key.bias ? 5 : 4, args));
    TRY_DNNL(dnnl_stream_wait(stream));
    return SHOAL_OK;
}

enum shoal_status gemm_dnnl_run(struct device *dev, const struct product *p, void *c, const void *a,
                                const void *b, const float *bias)
{
    struct gemm_cache *const cache = cpu_of(dev)->gemms;
    const struct gemm_entry *e;
    void *scratch;
    /* oneDNN takes its team size from the calling thread's OpenMP setting. */
    omp_set_num_threads(cpu_of(dev)->threads);
    SHOAL_TRY(entry_get(cache, p, &e));
    SHOAL_TRY(cpu_scratch(dev, e->scratch_bytes, &scratch));
    return execute(e, cache->stream, scratch, c, a, b, bias);
}

bool gemm_has_matrices16(void)
{
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    const unsigned tiles = (unsigned)dnnl_cpu_isa_avx512_core_amx;
    return (isa & tiles) == tiles;
}
