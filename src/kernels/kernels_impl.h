/* kernels_impl.h - what a backend must supply. Include only from src/kernels/. */
#pragma once
#ifndef SHOAL_KERNELS_PRIVATE
#error "kernels_impl.h is private to src/kernels; use kernels.h"
#endif
#include "kernels/kernels.h"

/* A row-major matrix product, and what is done to it before it is stored. */
enum gemm_kind {
    GEMM_NT, /* a (m, k) . b (n, k)^T */
    GEMM_NN, /* a (m, k) . b (k, n) */
    GEMM_TN  /* a (k, m)^T . b (k, n) */
};
/* p is the product plus the bias, if there is one. */
enum gemm_epilogue {
    GEMM_STORE,     /* c = p */
    GEMM_ADD,       /* c (f32) += p */
    GEMM_RESIDUAL,  /* c (f32) = aux (f32) + p; c may be aux */
    GEMM_GELU,      /* aux = p, c = GELU(p); aux has c's type */
    GEMM_GELU_GRAD, /* c = p * GELU'(aux); aux has c's type */
};
struct gemm {
    int64_t m, n, k;
    enum gemm_kind kind;
    enum dtype in, out; /* of a and b; of c */
    enum gemm_epilogue epilogue;
};
struct gemm_data {
    void *c; /* (m, n) */
    const void *a, *b;
    const float *bias; /* (n), or NULL; kinds NT and NN only */
    void *aux;         /* (m, n), or NULL where the epilogue has none */
    float *a_sums;     /* (m) += sums of a over k, or NULL; kind TN only: the gradient of a bias */
};

/* The same functions as in kernels.h, arguments already checked; all products of linear layers are
 * calls of gemm. */
struct kernel_ops {
    const char *name;
    int64_t libraries_bytes; /* its libraries hold in every process, whether or not it is opened */
    enum shoal_status (*list)(char (*id)[DEVICE_ID], int most, int *count);
    enum shoal_status (*open)(int index, int threads, struct device **out);
    void (*close)(struct device *dev);
    enum shoal_status (*alloc)(struct device *dev, size_t bytes, const char *what, void *out);
    void (*free)(struct device *dev, void *p);
    enum shoal_status (*upload)(struct device *dev, void *dst, const void *src, size_t bytes);
    enum shoal_status (*download)(struct device *dev, void *dst, const void *src, size_t bytes);
    enum shoal_status (*copy)(struct device *dev, void *dst, const void *src, size_t bytes);
    enum shoal_status (*zero)(struct device *dev, void *dst, size_t bytes);
    enum shoal_status (*sync)(struct device *dev);
    enum shoal_status (*alloc_pinned)(struct device *dev, size_t bytes, const char *what,
                                      void *out);
    void (*free_pinned)(struct device *dev, void *p);
    enum shoal_status (*put)(struct device *dev, void *dst, const void *pinned, size_t bytes);
    enum shoal_status (*get)(struct device *dev, void *pinned, const void *src, size_t bytes);
    enum shoal_status (*swap)(struct device *dev, void *slab, void *out, const void *in,
                              size_t bytes);
    enum shoal_status (*swap_wait)(struct device *dev);
    enum shoal_status (*mark)(struct device *dev, int mark);
    enum shoal_status (*reach)(struct device *dev, int mark);

    /* NULL, all four: it does not record */
    enum shoal_status (*record_begin)(struct device *dev);
    enum shoal_status (*record_end)(struct device *dev, struct device_piece **out);
    enum shoal_status (*replay)(struct device *dev, struct device_piece *p, bool *moved);
    void (*piece_free)(struct device *dev, struct device_piece *p);

    enum shoal_status (*beside_begin)(struct device *dev);
    enum shoal_status (*beside_end)(struct device *dev);
    enum shoal_status (*fetch)(struct device *dev, void *pinned, const void *src, size_t bytes,
                               int slot);
    enum shoal_status (*store)(struct device *dev, void *dst, const void *pinned, size_t bytes,
                               int slot);
    enum shoal_status (*note)(struct device *dev, int slot);
    enum shoal_status (*slot_done)(struct device *dev, int slot, bool *done);
    void *(*beside_stream)(struct device *dev);
    enum shoal_status (*lane_enter)(struct device *dev);
    void (*lane_leave)(struct device *dev);

    enum shoal_status (*convert)(struct device *dev, struct view out, struct view x);
    enum shoal_status (*embed)(struct device *dev, struct view out, struct view tokens,
                               struct view wte, struct view wpe);
    enum shoal_status (*embed_grad)(struct device *dev, struct view dwte, struct view dwpe,
                                    struct view dout, struct view tokens);
    enum shoal_status (*gemm)(struct device *dev, const struct gemm *g, const struct gemm_data *d);
    enum shoal_status (*norm)(struct device *dev, struct view out, struct view mean,
                              struct view rstd, struct view x, struct view gain, struct view bias,
                              float eps);
    enum shoal_status (*norm_grad)(struct device *dev, struct view dx, struct view dx16,
                                   struct view dgain, struct view dbias, struct view dout,
                                   struct view x, struct view mean, struct view rstd,
                                   struct view gain);
    enum shoal_status (*gelu)(struct device *dev, struct view out, struct view x);
    enum shoal_status (*swiglu)(struct device *dev, struct view out, struct view x);
    enum shoal_status (*swiglu_grad)(struct device *dev, struct view dx, struct view dout,
                                     struct view x);
    enum shoal_status (*rope)(struct device *dev, struct view qkv, struct attention_shape shape,
                              int64_t first, float theta, bool back);
    enum shoal_status (*attention)(struct device *dev, struct view out, struct view stats,
                                   struct view qkv, struct attention_shape shape);
    enum shoal_status (*attention_grad)(struct device *dev, struct view dqkv, struct view dout,
                                        struct view out, struct view stats, struct view qkv,
                                        struct attention_shape shape);
    enum shoal_status (*attention_decode)(struct device *dev, struct view out, struct view keys,
                                          struct view values, struct view qkv, int64_t position,
                                          struct attention_shape shape);
    enum shoal_status (*xent)(struct device *dev, struct view losses, struct view logits,
                              struct view targets, int vocab, float scale, bool with_grad);
    enum shoal_status (*sum)(struct device *dev, double *out, const float *x, int64_t n);
    enum shoal_status (*sumsq)(struct device *dev, double *out, const float *x, int64_t n);
    enum shoal_status (*figures_loss)(struct device *dev, struct figures *f, const float *losses,
                                      int64_t n, double over, bool add);
    enum shoal_status (*figures_norm)(struct device *dev, struct figures *f, const float *grad,
                                      int64_t n, double clip);
    enum shoal_status (*adamw)(struct device *dev, float *w, void *w16, float *m, float *v,
                               const float *grad, int64_t n, struct adamw_args a);
    enum shoal_status (*swarm)(struct device *dev, float *x, float *velocity, const float *own_best,
                               const float *attractor, int64_t rows, int64_t cols,
                               struct swarm_args a);
    enum shoal_status (*crossover)(struct device *dev, float *x, const float *attractor,
                                   int64_t rows, int64_t cols, float rate, int by,
                                   struct rng_key key);
    enum shoal_status (*mutate)(struct device *dev, float *x, const float *m, const float *v,
                                int64_t n, struct mutate_args a);
    enum shoal_status (*axpby)(struct device *dev, float *out, const float *x, int64_t n,
                               float alpha, float beta);
    enum shoal_status (*pack)(struct device *dev, void *packed, float *lost, const float *x,
                              const float *base, int64_t n, enum packing p);
    enum shoal_status (*unpack)(struct device *dev, float *out, const void *packed, int64_t n,
                                enum packing p, float alpha, float beta);
};

/* Backends put this first in their own struct. */
struct device {
    const struct kernel_ops *ops;
    bool is_host;             /* device memory is host memory */
    int64_t memory_bytes;     /* of a GPU */
    char describe[128];       /* for people */
    char identity[DEVICE_ID]; /* "" on the CPU */
};

extern const struct kernel_ops cpu_ops;  /* cpu/backend.c: always built */
extern const struct kernel_ops cuda_ops; /* cuda/backend.c: only where CUDA is built in */
