/* mirror.c - see mirror.h. Arguments at the same address share one copy, so a result may lie where
 * an argument does. */
#include "kernels/mirror.h"
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#define SHOAL_KERNELS_PRIVATE
#include "kernels/kernels_impl.h"

enum { MOST = 10, MARGIN = 256 };

/* One argument: `bytes` at `host`, their copy at `at` + MARGIN. */
struct copy {
    void *host;
    char *at;
    size_t bytes;
};

struct mirror {
    struct device base;
    struct device *inner;
    struct copy copy[MOST];
    int n;
    enum shoal_status status; /* of the call in progress */
};

static struct mirror *mirror_of(struct device *dev)
{
    return (struct mirror *)dev;
}

static enum shoal_status copy_in(struct mirror *m, struct copy *c)
{
    char *const all = malloc(c->bytes + 2 * MARGIN);
    if (!all) return SHOAL_FAIL(SHOAL_ENOMEM, "no memory for a copy");
    memset(all, 0xa5, c->bytes + 2 * MARGIN);
    memcpy(all + MARGIN, c->host, c->bytes);
    enum shoal_status st = device_alloc(m->inner, c->bytes + 2 * MARGIN, "a copy", &c->at);
    if (st == SHOAL_OK) st = device_upload(m->inner, c->at, all, c->bytes + 2 * MARGIN);
    free(all);
    return st;
}

/* The copy of `bytes` at host; NULL stays NULL. Failures are kept until the end of the call. */
static void *to_device(struct mirror *m, const void *host, size_t bytes)
{
    if (!host || m->status != SHOAL_OK) return NULL;
    for (int i = 0; i < m->n; i++)
        if (m->copy[i].host == host && m->copy[i].bytes >= bytes) return m->copy[i].at + MARGIN;
    if (m->n == MOST) {
        m->status = SHOAL_FAIL(SHOAL_EARG, "mirror: more than %d arguments", MOST);
        return NULL;
    }
    struct copy *const c = &m->copy[m->n++];
    *c = (struct copy){.host = (void *)(uintptr_t)host, .bytes = bytes};
    m->status = copy_in(m, c);
    return m->status == SHOAL_OK ? c->at + MARGIN : NULL;
}

static bool margins_kept(const char *all, size_t bytes)
{
    for (size_t i = 0; i < MARGIN; i++)
        if ((unsigned char)all[i] != 0xa5 || (unsigned char)all[MARGIN + bytes + i] != 0xa5)
            return false;
    return true;
}

static enum shoal_status copy_out(struct mirror *m, const struct copy *c)
{
    char *const all = malloc(c->bytes + 2 * MARGIN);
    if (!all) return SHOAL_FAIL(SHOAL_ENOMEM, "no memory for a copy");
    enum shoal_status st = device_download(m->inner, all, c->at, c->bytes + 2 * MARGIN);
    if (st == SHOAL_OK && !margins_kept(all, c->bytes))
        st = SHOAL_FAIL(SHOAL_EARG, "mirror: a kernel wrote outside its %zu bytes", c->bytes);
    if (st == SHOAL_OK) memcpy(c->host, all + MARGIN, c->bytes);
    free(all);
    return st;
}

/* End of a call that returned st: everything back, in the order of the arguments. */
static enum shoal_status give_back(struct mirror *m, enum shoal_status st)
{
    if (m->status != SHOAL_OK) st = m->status;
    for (int i = 0; i < m->n; i++) {
        const enum shoal_status back = st == SHOAL_OK ? copy_out(m, &m->copy[i]) : st;
        if (st == SHOAL_OK) st = back;
        if (m->copy[i].at) device_free(m->inner, m->copy[i].at);
    }
    m->n = 0;
    m->status = SHOAL_OK;
    return st;
}

static struct view view_in(struct mirror *m, struct view v)
{
    v.data = to_device(m, v.data, (size_t)view_count(v) * dtype_bytes(v.dtype));
    return v;
}
static float *floats_in(struct mirror *m, const float *p, int64_t n)
{
    return to_device(m, p, (size_t)n * sizeof *p);
}

/* The call runs with `m` as its mirror and `dev` as the inner device. */
#define MIRROR                                                                                     \
    struct mirror *const m = mirror_of(outer);                                                     \
    struct device *const dev = m->inner
#define V(v)      v = view_in(m, v)
#define F(p, n)   p = floats_in(m, p, n)
#define RUN(call) return give_back(m, m->status == SHOAL_OK ? (call) : m->status)

static enum shoal_status m_convert(struct device *outer, struct view out, struct view x)
{
    MIRROR;
    V(out), V(x);
    RUN(kernel_convert(dev, out, x));
}
static enum shoal_status m_embed(struct device *outer, struct view out, struct view tokens,
                                 struct view wte, struct view wpe)
{
    MIRROR;
    V(out), V(tokens), V(wte), V(wpe);
    RUN(kernel_embed(dev, out, tokens, wte, wpe));
}
static enum shoal_status m_embed_grad(struct device *outer, struct view dwte, struct view dwpe,
                                      struct view dout, struct view tokens)
{
    MIRROR;
    V(dwte), V(dwpe), V(dout), V(tokens);
    RUN(kernel_embed_grad(dev, dwte, dwpe, dout, tokens));
}
static enum shoal_status m_gemm(struct device *outer, const struct gemm *g,
                                const struct gemm_data *d)
{
    MIRROR;
    const int64_t count = g->m * g->n;
    const size_t in = dtype_bytes(g->in);
    const size_t aux = g->epilogue == GEMM_RESIDUAL ? sizeof(float) : dtype_bytes(g->out);
    struct gemm_data in_mirror = {.c = to_device(m, d->c, (size_t)count * dtype_bytes(g->out)),
                                  .aux = to_device(m, d->aux, (size_t)count * aux),
                                  .a = to_device(m, d->a, (size_t)(g->m * g->k) * in),
                                  .b = to_device(m, d->b, (size_t)(g->n * g->k) * in),
                                  .bias = floats_in(m, d->bias, g->n),
                                  .a_sums = floats_in(m, d->a_sums, g->m)};
    RUN(dev->ops->gemm(dev, g, &in_mirror));
}
static enum shoal_status m_norm(struct device *outer, struct view out, struct view mean,
                                struct view rstd, struct view x, struct view gain, struct view bias,
                                float eps)
{
    MIRROR;
    V(out), V(mean), V(rstd), V(x), V(gain), V(bias);
    RUN(kernel_norm(dev, out, mean, rstd, x, gain, bias, eps));
}
static enum shoal_status m_norm_grad(struct device *outer, struct view dx, struct view dx16,
                                     struct view dgain, struct view dbias, struct view dout,
                                     struct view x, struct view mean, struct view rstd,
                                     struct view gain)
{
    MIRROR;
    V(dx), V(dx16), V(dgain), V(dbias), V(dout), V(x), V(mean), V(rstd), V(gain);
    RUN(kernel_norm_grad(dev, dx, dx16, dgain, dbias, dout, x, mean, rstd, gain));
}
static enum shoal_status m_gelu(struct device *outer, struct view out, struct view x)
{
    MIRROR;
    V(out), V(x);
    RUN(kernel_gelu(dev, out, x));
}
static enum shoal_status m_swiglu(struct device *outer, struct view out, struct view x)
{
    MIRROR;
    V(out), V(x);
    RUN(kernel_swiglu(dev, out, x));
}
static enum shoal_status m_swiglu_grad(struct device *outer, struct view dx, struct view dout,
                                       struct view x)
{
    MIRROR;
    V(dx), V(dout), V(x);
    RUN(kernel_swiglu_grad(dev, dx, dout, x));
}
static enum shoal_status m_rope(struct device *outer, struct view qkv, struct attention_shape shape,
                                int64_t first, float theta, bool back)
{
    MIRROR;
    V(qkv);
    RUN(kernel_rope(dev, qkv, shape, first, theta, back));
}
static enum shoal_status m_attention(struct device *outer, struct view out, struct view stats,
                                     struct view qkv, struct attention_shape shape)
{
    MIRROR;
    V(out), V(stats), V(qkv);
    RUN(kernel_attention(dev, out, stats, qkv, shape));
}
static enum shoal_status m_attention_grad(struct device *outer, struct view dqkv, struct view dout,
                                          struct view out, struct view stats, struct view qkv,
                                          struct attention_shape shape)
{
    MIRROR;
    V(dqkv), V(dout), V(out), V(stats), V(qkv);
    RUN(kernel_attention_grad(dev, dqkv, dout, out, stats, qkv, shape));
}
static enum shoal_status m_attention_decode(struct device *outer, struct view out, struct view keys,
                                            struct view values, struct view qkv, int64_t position,
                                            struct attention_shape shape)
{
    MIRROR;
    V(out), V(keys), V(values), V(qkv);
    RUN(kernel_attention_decode(dev, out, keys, values, qkv, position, shape));
}
static enum shoal_status m_xent(struct device *outer, struct view losses, struct view logits,
                                struct view targets, int vocab, float scale, bool with_grad)
{
    MIRROR;
    V(losses), V(logits), V(targets);
    RUN(kernel_xent(dev, losses, logits, targets, vocab, scale, with_grad));
}
static enum shoal_status m_sum(struct device *outer, double *out, const float *x, int64_t n)
{
    MIRROR;
    F(x, n);
    RUN(kernel_sum(dev, out, x, n));
}
static struct figures *figures_in(struct mirror *m, const struct figures *f)
{
    return to_device(m, f, sizeof *f);
}
static enum shoal_status m_figures_loss(struct device *outer, struct figures *f, const float *x,
                                        int64_t n, double over, bool add)
{
    MIRROR;
    f = figures_in(m, f);
    F(x, n);
    RUN(kernel_figures_loss(dev, f, x, n, over, add));
}
static enum shoal_status m_figures_norm(struct device *outer, struct figures *f, const float *x,
                                        int64_t n, double clip)
{
    MIRROR;
    f = figures_in(m, f);
    F(x, n);
    RUN(kernel_figures_norm(dev, f, x, n, clip));
}
static enum shoal_status m_sumsq(struct device *outer, double *out, const float *x, int64_t n)
{
    MIRROR;
    F(x, n);
    RUN(kernel_sumsq(dev, out, x, n));
}
static enum shoal_status m_adamw(struct device *outer, float *w, void *w16, float *m1, float *v,
                                 const float *grad, int64_t n, struct adamw_args a)
{
    MIRROR;
    F(w, n), F(m1, n), F(v, n), F(grad, n);
    w16 = to_device(m, w16, (size_t)n * 2);
    a.figures = figures_in(m, a.figures);
    RUN(kernel_adamw(dev, w, w16, m1, v, grad, n, a));
}
static enum shoal_status m_swarm(struct device *outer, float *x, float *velocity,
                                 const float *own_best, const float *attractor, int64_t rows,
                                 int64_t cols, struct swarm_args a)
{
    MIRROR;
    const int64_t n = rows * cols;
    F(x, n), F(velocity, n), F(own_best, n), F(attractor, n);
    RUN(kernel_swarm(dev, x, velocity, own_best, attractor, rows, cols, a));
}
static enum shoal_status m_crossover(struct device *outer, float *x, const float *attractor,
                                     int64_t rows, int64_t cols, float rate, int by,
                                     struct rng_key key)
{
    MIRROR;
    F(x, rows * cols), F(attractor, rows * cols);
    RUN(kernel_crossover(dev, x, attractor, rows, cols, rate, by, key));
}
static enum shoal_status m_mutate(struct device *outer, float *x, const float *m1, const float *v,
                                  int64_t n, struct mutate_args a)
{
    MIRROR;
    F(x, n), F(m1, n), F(v, n);
    RUN(kernel_mutate(dev, x, m1, v, n, a));
}
static enum shoal_status m_axpby(struct device *outer, float *out, const float *x, int64_t n,
                                 float alpha, float beta)
{
    MIRROR;
    F(out, n), F(x, n);
    RUN(kernel_axpby(dev, out, x, n, alpha, beta));
}

static enum shoal_status m_pack(struct device *outer, void *packed, float *lost, const float *x,
                                const float *base, int64_t n, enum packing p)
{
    MIRROR;
    packed = to_device(m, packed, (size_t)pack_bytes(p, n));
    F(lost, n), F(x, n), F(base, n);
    RUN(kernel_pack(dev, packed, lost, x, base, n, p));
}
static enum shoal_status m_unpack(struct device *outer, float *out, const void *packed, int64_t n,
                                  enum packing p, float alpha, float beta)
{
    MIRROR;
    packed = to_device(m, packed, (size_t)pack_bytes(p, n));
    F(out, n);
    RUN(kernel_unpack(dev, out, packed, n, p, alpha, beta));
}

/* ---- memory is the inner device's -------------------------------------------------------------
 */

static void m_close(struct device *outer)
{
    device_close(&mirror_of(outer)->inner);
    mem_free(outer);
}
static enum shoal_status m_alloc(struct device *outer, size_t bytes, const char *what, void *out)
{
    return device_alloc(mirror_of(outer)->inner, bytes, what, out);
}
static void m_free(struct device *outer, void *p)
{
    device_free(mirror_of(outer)->inner, p);
}
static enum shoal_status m_upload(struct device *outer, void *dst, const void *src, size_t bytes)
{
    return device_upload(mirror_of(outer)->inner, dst, src, bytes);
}
static enum shoal_status m_download(struct device *outer, void *dst, const void *src, size_t bytes)
{
    return device_download(mirror_of(outer)->inner, dst, src, bytes);
}
static enum shoal_status m_copy(struct device *outer, void *dst, const void *src, size_t bytes)
{
    return device_copy(mirror_of(outer)->inner, dst, src, bytes);
}
static enum shoal_status m_zero(struct device *outer, void *dst, size_t bytes)
{
    return device_zero(mirror_of(outer)->inner, dst, bytes);
}
static enum shoal_status m_sync(struct device *outer)
{
    return device_sync(mirror_of(outer)->inner);
}

static enum shoal_status m_alloc_pinned(struct device *outer, size_t bytes, const char *what,
                                        void *out)
{
    return device_alloc_pinned(mirror_of(outer)->inner, bytes, what, out);
}
static void m_free_pinned(struct device *outer, void *p)
{
    device_free_pinned(mirror_of(outer)->inner, p);
}
static enum shoal_status m_beside_begin(struct device *outer)
{
    return device_beside_begin(mirror_of(outer)->inner);
}
static enum shoal_status m_beside_end(struct device *outer)
{
    return device_beside_end(mirror_of(outer)->inner);
}
static enum shoal_status m_fetch(struct device *outer, void *pinned, const void *src, size_t bytes,
                                 int slot)
{
    return device_fetch(mirror_of(outer)->inner, pinned, src, bytes, slot);
}
static enum shoal_status m_store(struct device *outer, void *dst, const void *pinned, size_t bytes,
                                 int slot)
{
    return device_store(mirror_of(outer)->inner, dst, pinned, bytes, slot);
}
static enum shoal_status m_note(struct device *outer, int slot)
{
    return device_note(mirror_of(outer)->inner, slot);
}
static enum shoal_status m_slot_done(struct device *outer, int slot, bool *done)
{
    return device_slot_done(mirror_of(outer)->inner, slot, done);
}
static void *m_beside_stream(struct device *outer)
{
    return device_beside_stream(mirror_of(outer)->inner);
}

static const struct kernel_ops mirror_ops = {
    .name = "mirror",
    .close = m_close,
    .alloc = m_alloc,
    .free = m_free,
    .upload = m_upload,
    .download = m_download,
    .copy = m_copy,
    .zero = m_zero,
    .sync = m_sync,
    .alloc_pinned = m_alloc_pinned,
    .free_pinned = m_free_pinned,
    .beside_begin = m_beside_begin,
    .beside_end = m_beside_end,
    .fetch = m_fetch,
    .store = m_store,
    .note = m_note,
    .slot_done = m_slot_done,
    .beside_stream = m_beside_stream,
    .convert = m_convert,
    .embed = m_embed,
    .embed_grad = m_embed_grad,
    .gemm = m_gemm,
    .norm = m_norm,
    .norm_grad = m_norm_grad,
    .gelu = m_gelu,
    .swiglu = m_swiglu,
    .swiglu_grad = m_swiglu_grad,
    .rope = m_rope,
    .attention = m_attention,
    .attention_grad = m_attention_grad,
    .attention_decode = m_attention_decode,
    .xent = m_xent,
    .sum = m_sum,
    .sumsq = m_sumsq,
    .figures_loss = m_figures_loss,
    .figures_norm = m_figures_norm,
    .adamw = m_adamw,
    .swarm = m_swarm,
    .crossover = m_crossover,
    .mutate = m_mutate,
    .axpby = m_axpby,
    .pack = m_pack,
    .unpack = m_unpack,
};

enum shoal_status mirror_open(struct device *inner, struct device **out)
{
    struct mirror *m = NULL;
    const enum shoal_status st = mem_alloc(sizeof *m, "a mirror", &m);
    if (st != SHOAL_OK) {
        device_close(&inner);
        return st;
    }
    m->base.ops = &mirror_ops;
    m->base.is_host = true;
    m->inner = inner;
    memcpy(m->base.describe, inner->describe, sizeof m->base.describe);
    memcpy(m->base.identity, inner->identity, sizeof m->base.identity);
    *out = &m->base;
    return SHOAL_OK;
}
