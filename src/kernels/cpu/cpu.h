/* cpu.h - what the files of the CPU backend share. Private to src/kernels/cpu. */
#pragma once
#define SHOAL_KERNELS_PRIVATE
#include <pthread.h>
#include "kernels/kernels_impl.h"

struct gemm_cache; /* gemm.c */

/* One OpenMP team. Every parallel region of the backend runs on `threads` threads, or on one when
 * the work is too small to be worth waking them. */
struct cpu_device {
    struct device base;
    int threads;
    pthread_key_t lane; /* not NULL for the thread in the lane */
    void *scratch; /* one call's temporary values; grows at first use of a shape, never shrinks */
    size_t scratch_bytes;
    bool matrices16;          /* oneDNN multiplies bf16 in matrix registers (AMX) here */
    int64_t panels_bytes;     /* of packed panels that stay in the second-level cache */
    struct gemm_cache *gemms; /* oneDNN engine, stream and primitives, one per shape met */
};

static inline struct cpu_device *cpu_of(struct device *dev)
{
    return (struct cpu_device *)dev;
}

/* Work, in elements of a simple loop, below which a second thread costs more than it brings. */
enum { CPU_SMALL = 16384 };

static inline bool cpu_in_lane(struct device *dev)
{
    return pthread_getspecific(cpu_of(dev)->lane) != NULL;
}

/* Threads for `work` elements of a simple loop. A lane has only its own: a second team would take
 * the cores from the first. */
static inline int cpu_team(struct device *dev, int64_t work)
{
    return work < CPU_SMALL || cpu_in_lane(dev) ? 1 : cpu_of(dev)->threads;
}

/* Long loops go in pieces of this many elements; a piece stays in the first-level cache. */
enum { CPU_PIECE = 1024 };

static inline int64_t cpu_pieces(int64_t n)
{
    return (n + CPU_PIECE - 1) / CPU_PIECE;
}
/* Elements of piece i. */
static inline int64_t cpu_piece(int64_t n, int64_t i)
{
    const int64_t left = n - i * CPU_PIECE;
    return left < CPU_PIECE ? left : CPU_PIECE;
}

/* At least `bytes` of scratch, 64-byte aligned, contents undefined. Valid until the next call. */
enum shoal_status cpu_scratch(struct device *dev, size_t bytes, void *out);

/* to (cols) += column sums of x (rows, cols); the order of summation depends on the shape only. */
void cpu_add_column_sums(struct device *dev, float *to, const void *x, bool x16, int64_t rows,
                         int64_t cols);

enum shoal_status cpu_convert(struct device *dev, struct view out, struct view x);
enum shoal_status cpu_embed(struct device *dev, struct view out, struct view tokens,
                            struct view wte, struct view wpe);
enum shoal_status cpu_embed_grad(struct device *dev, struct view dwte, struct view dwpe,
                                 struct view dout, struct view tokens);
enum shoal_status cpu_gemm(struct device *dev, const struct gemm *g, const struct gemm_data *d);
enum shoal_status cpu_norm(struct device *dev, struct view out, struct view mean, struct view rstd,
                           struct view x, struct view gain, struct view bias, float eps);
enum shoal_status cpu_norm_grad(struct device *dev, struct view dx, struct view dx16,
                                struct view dgain, struct view dbias, struct view dout,
                                struct view x, struct view mean, struct view rstd,
                                struct view gain);
enum shoal_status cpu_gelu(struct device *dev, struct view out, struct view x);
enum shoal_status cpu_swiglu(struct device *dev, struct view out, struct view x);
enum shoal_status cpu_swiglu_grad(struct device *dev, struct view dx, struct view dout,
                                  struct view x);
enum shoal_status cpu_rope(struct device *dev, struct view qkv, struct attention_shape shape,
                           int64_t first, float theta, bool back);
enum shoal_status cpu_attention(struct device *dev, struct view out, struct view stats,
                                struct view qkv, struct attention_shape shape);
enum shoal_status cpu_attention_grad(struct device *dev, struct view dqkv, struct view dout,
                                     struct view out, struct view stats, struct view qkv,
                                     struct attention_shape shape);
enum shoal_status cpu_attention_decode(struct device *dev, struct view out, struct view keys,
                                       struct view values, struct view qkv, int64_t position,
                                       struct attention_shape shape);
enum shoal_status cpu_xent(struct device *dev, struct view losses, struct view logits,
                           struct view targets, int vocab, float scale, bool with_grad);
enum shoal_status cpu_sum(struct device *dev, double *out, const float *x, int64_t n);
enum shoal_status cpu_sumsq(struct device *dev, double *out, const float *x, int64_t n);
enum shoal_status cpu_figures_loss(struct device *dev, struct figures *f, const float *losses,
                                   int64_t n, double over, bool add);
enum shoal_status cpu_figures_norm(struct device *dev, struct figures *f, const float *grad,
                                   int64_t n, double clip);
enum shoal_status cpu_adamw(struct device *dev, float *w, void *w16, float *m, float *v,
                            const float *grad, int64_t n, struct adamw_args a);
enum shoal_status cpu_swarm(struct device *dev, float *x, float *velocity, const float *own_best,
                            const float *attractor, int64_t rows, int64_t cols,
                            struct swarm_args a);
enum shoal_status cpu_crossover(struct device *dev, float *x, const float *attractor, int64_t rows,
                                int64_t cols, float rate, int by, struct rng_key key);
enum shoal_status cpu_mutate(struct device *dev, float *x, const float *m, const float *v,
                             int64_t n, struct mutate_args a);
enum shoal_status cpu_pack(struct device *dev, void *packed, float *lost, const float *x,
                           const float *base, int64_t n, enum packing p);
enum shoal_status cpu_unpack(struct device *dev, float *out, const void *packed, int64_t n,
                             enum packing p, float alpha, float beta);
enum shoal_status cpu_axpby(struct device *dev, float *out, const float *x, int64_t n, float alpha,
                            float beta);

/* gemm.c */
enum shoal_status gemm_cache_create(struct gemm_cache **out);
void gemm_cache_destroy(struct gemm_cache **cache);
/* Instruction set oneDNN uses: "avx512_core_bf16". */
const char *gemm_isa_name(void);
/* Whether this processor multiplies bf16 in matrix registers (AMX). */
bool gemm_has_matrices16(void);
