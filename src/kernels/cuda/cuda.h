/* cuda.h - what the files of the CUDA backend share. Private to src/kernels/cuda; C11 and CUDA C++.
 *
 * Every kernel is queued on the device's one stream, so scratch may be handed from call to call
 * without waiting. Only download, upload, sync, sum and sumsq wait, and for that stream only. A
 * thread in the lane has another stream, and no scratch. */
#pragma once
#define SHOAL_KERNELS_PRIVATE
#include <cuda_runtime_api.h>
#include <pthread.h>
#include "kernels/cuda/scratch.h"
#include "kernels/kernels_impl.h"

struct gemm_plans; /* gemm.c */

/* Queues beside the compute stream; beside.c. The last is a lane's stream too: what libraries queue
 * for an exchange and what its lane does are in one order. */
enum beside_queue { BESIDE_FETCHES, BESIDE_STORES, BESIDE_OTHERS, BESIDE_QUEUES };
struct beside {
    pthread_key_t lane; /* not NULL for the thread in the lane */
    bool lane_made;
    cudaStream_t queue[BESIDE_QUEUES];
    cudaEvent_t queued[BESIDE_QUEUES]; /* all that cuda_beside_end waits for */
    cudaEvent_t weights_final;         /* all that beside waits for */
    cudaEvent_t slot[DEVICE_SLOTS];
};

/* Queues of slabs that leave the device and that come to it; swap.c. */
enum swap_queue { SWAP_LEAVES, SWAP_COMES, SWAP_QUEUES };
struct swap {
    cudaStream_t queue[SWAP_QUEUES];
    cudaEvent_t queued[SWAP_QUEUES]; /* all that waits for them waits for */
    cudaEvent_t computed;            /* all that they wait for */
};

struct cuda_device {
    struct device base;
    int index; /* among the visible devices */
    cudaStream_t stream;
    void *scratch; /* one call's temporary values; grows at first use of a shape, never shrinks */
    size_t scratch_bytes;
    void *workspace; /* CUDA_WORKSPACE_BYTES for cuBLASLt */
    double *total;   /* pinned host memory: where a sum arrives */
    cudaEvent_t mark[DEVICE_MARKS];
    struct beside beside;
    struct swap swap;
    struct gemm_plans *gemms; /* cuBLASLt's handle and one plan per product met */
};

static inline struct cuda_device *cuda_of(struct device *dev)
{
    return (struct cuda_device *)dev;
}

/* beside.c: where the calling thread's work is queued: the compute stream, or in the lane its own.
 */
cudaStream_t cuda_stream(struct device *dev);

/* The status that stands for a CUDA return code; says where, what CUDA said and what to do. */
enum shoal_status cuda_failed(cudaError_t code, const char *file, int line, const char *call);

#define TRY_CUDA(call)                                                                             \
    do {                                                                                           \
        const cudaError_t try_code = (call);                                                       \
        if (try_code != cudaSuccess) return cuda_failed(try_code, __FILE__, __LINE__, #call);      \
    } while (0)

/* At least `bytes` of scratch, 256-byte aligned, contents undefined. Valid until the next call. out
 * is void **. */
enum shoal_status cuda_scratch(struct device *dev, size_t bytes, void *out);

/* reduce.cu: to (cols) f32 += the sums of `blocks` rows of partial, (blocks, cols) f32 whose rows
 * are `stride` floats apart, in order. */
enum shoal_status cuda_add_partials(struct device *dev, float *to, const float *partial,
                                    int64_t blocks, int64_t cols, int64_t stride);
/* reduce.cu: to (cols) f32 += column sums of x (rows, cols). Uses scratch. */
enum shoal_status cuda_add_column_sums(struct device *dev, float *to, const void *x, bool x16,
                                       int64_t rows, int64_t cols);

enum shoal_status cuda_convert(struct device *dev, struct view out, struct view x);
enum shoal_status cuda_embed(struct device *dev, struct view out, struct view tokens,
                             struct view wte, struct view wpe);
enum shoal_status cuda_embed_grad(struct device *dev, struct view dwte, struct view dwpe,
                                  struct view dout, struct view tokens);
enum shoal_status cuda_gemm(struct device *dev, const struct gemm *g, const struct gemm_data *d);
enum shoal_status cuda_norm(struct device *dev, struct view out, struct view mean, struct view rstd,
                            struct view x, struct view gain, struct view bias, float eps);
enum shoal_status cuda_norm_grad(struct device *dev, struct view dx, struct view dx16,
                                 struct view dgain, struct view dbias, struct view dout,
                                 struct view x, struct view mean, struct view rstd,
                                 struct view gain);
enum shoal_status cuda_gelu(struct device *dev, struct view out, struct view x);
enum shoal_status cuda_swiglu(struct device *dev, struct view out, struct view x);
enum shoal_status cuda_swiglu_grad(struct device *dev, struct view dx, struct view dout,
                                   struct view x);
enum shoal_status cuda_rope(struct device *dev, struct view qkv, struct attention_shape shape,
                            int64_t first, float theta, bool back);
enum shoal_status cuda_attention(struct device *dev, struct view out, struct view stats,
                                 struct view qkv, struct attention_shape shape);
enum shoal_status cuda_attention_grad(struct device *dev, struct view dqkv, struct view dout,
                                      struct view out, struct view stats, struct view qkv,
                                      struct attention_shape shape);
enum shoal_status cuda_attention_decode(struct device *dev, struct view out, struct view keys,
                                        struct view values, struct view qkv, int64_t position,
                                        struct attention_shape shape);
enum shoal_status cuda_xent(struct device *dev, struct view losses, struct view logits,
                            struct view targets, int vocab, float scale, bool with_grad);
enum shoal_status cuda_sum(struct device *dev, double *out, const float *x, int64_t n);
enum shoal_status cuda_sumsq(struct device *dev, double *out, const float *x, int64_t n);
enum shoal_status cuda_figures_loss(struct device *dev, struct figures *f, const float *losses,
                                    int64_t n, double over, bool add);
enum shoal_status cuda_figures_norm(struct device *dev, struct figures *f, const float *grad,
                                    int64_t n, double clip);
enum shoal_status cuda_adamw(struct device *dev, float *w, void *w16, float *m, float *v,
                             const float *grad, int64_t n, struct adamw_args a);
enum shoal_status cuda_swarm(struct device *dev, float *x, float *velocity, const float *own_best,
                             const float *attractor, int64_t rows, int64_t cols,
                             struct swarm_args a);
enum shoal_status cuda_crossover(struct device *dev, float *x, const float *attractor, int64_t rows,
                                 int64_t cols, float rate, int by, struct rng_key key);
enum shoal_status cuda_mutate(struct device *dev, float *x, const float *m, const float *v,
                              int64_t n, struct mutate_args a);
enum shoal_status cuda_pack(struct device *dev, void *packed, float *lost, const float *x,
                            const float *base, int64_t n, enum packing p);
enum shoal_status cuda_unpack(struct device *dev, float *out, const void *packed, int64_t n,
                              enum packing p, float alpha, float beta);
enum shoal_status cuda_axpby(struct device *dev, float *out, const float *x, int64_t n, float alpha,
                             float beta);
