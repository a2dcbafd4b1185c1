/* kernels.h - every piece of arithmetic shoal does on tensors, behind one interface.
 *
 * Argument order is always: device, outputs, inputs, sizes, scalars. Inputs are never written, not
 * even as scratch. Tensors are contiguous and row-major. Calls are queued on the device's stream
 * (the CPU backend finishes before it returns); device_sync waits. The functions here check shapes
 * and types, then call the backend's table: backends check nothing.
 *
 * B batch, T sequence, R = B*T rows, C width, NH heads of HS = C/NH numbers, NK heads of keys and
 * values (NH divides into NK groups that share one; NK = NH without sharing), W = C + 2*NK*HS, F
 * width inside a feed-forward, V vocabulary, Vp padded vocabulary, O outputs, I inputs. "act" is
 * the activation type: f32, or bf16 when training in bf16. Sums inside kernels are float32 or
 * better. Results do not depend on anything but arguments and thread count. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/rng.h"
#include "base/status.h"
#include "kernels/packing.h"

enum dtype { DTYPE_F32, DTYPE_BF16, DTYPE_I32 };

/* A tensor someone else owns. Passed by value. data NULL means "none" where a function allows it.
 */
struct view {
    void *data;     /* on the device the call is made with */
    int64_t dim[4]; /* dim[0] slowest; unused dims are 1 */
    enum dtype dtype;
};

static inline struct view view_make(void *data, enum dtype dtype, int64_t d0, int64_t d1)
{
    const struct view v = {data, {d0, d1, 1, 1}, dtype};
    return v;
}
static inline int64_t view_count(struct view v)
{
    return v.dim[0] * v.dim[1] * v.dim[2] * v.dim[3];
}
/* Bytes of one element. */
static inline size_t dtype_bytes(enum dtype t)
{
    return t == DTYPE_BF16 ? 2 : 4;
}

struct device; /* one CPU team or one GPU with its compute stream */

/* ---- devices ----------------------------------------------------------------------------------
 */

/* name: "cpu", "cuda", or "auto" for the first that opens, GPUs first; index: which of the visible
 * GPUs; threads: OpenMP threads of the CPU team, 0 for OpenMP's own default. SHOAL_ENOTSUP: not
 * built in. SHOAL_EDEVICE: there is none, or its driver is too old. */
enum shoal_status device_open(const char *name, int index, int threads, struct device **out);
enum { DEVICE_ID = 48 }; /* bytes of an identity, its final 0 included */
/* Which devices this process could open, before any is opened: *count of them, at most `most`, and
 * id[i], the identity of device i. name as for device_open; "auto" lists what it would choose from.
 * SHOAL_ENOTSUP: not built in. SHOAL_EDEVICE: there is none; the text says why (no driver, a driver
 * too old, all hidden). */
enum shoal_status device_list(const char *name, char (*id)[DEVICE_ID], int most, int *count);
/* Host memory that the libraries of all backends in this build take in every process. */
int64_t device_libraries_bytes(void);
/* A learning or judging model, as far as its shape decides what a GPU keeps beside its tensors. */
struct device_work {
    int64_t rows, context;      /* B*T, T */
    int64_t width, qkv, hidden; /* C, W, F */
    int64_t heads;              /* NH */
    enum dtype act;
    bool learns, biases, gelu, rope;
};
/* What a GPU takes beside what is allocated by device_alloc and device_alloc_pinned, in bytes. */
struct device_needs {
    int64_t context;   /* the driver's: a figure, see kernels/cuda/memory.c */
    int64_t workspace; /* of matrix products */
    int64_t scratch;   /* of kernels: of the one that needs most. cuBLASLt is taken to have every
                        * product that is asked for fused; where it has not, this grows. */
    int64_t pinned;    /* host memory */
};
/* Pure: works without a GPU, and in a build without CUDA. */
struct device_needs device_gpu_needs(const struct device_work *w);
void device_close(struct device **dev);
const char *device_name(const struct device *dev);
/* "cpu, 2 threads, avx512_core_bf16" or "cuda:0, NVIDIA H200, 150.1 GB, compute capability 9.0":
 * for people. Owned by the device. */
const char *device_describe(const struct device *dev);
/* What tells this device from all others of its machine, "GPU-..."; "" for the CPU, which everybody
 * shares. The same in every process. Owned by the device. */
const char *device_identity(const struct device *dev);
/* Whether device memory is ordinary host memory, so that pointers may be used on either side. If
 * not, only kernels and device_* may look at what they point to. */
bool device_is_host(const struct device *dev);
/* All the memory a GPU has, in bytes; 0 on the CPU. */
int64_t device_memory_bytes(const struct device *dev);
/* bytes of zeroed memory, 64-byte aligned (256 on GPUs). out is void **. */
enum shoal_status device_alloc(struct device *dev, size_t bytes, const char *what, void *out);
void device_free(struct device *dev, void *p);
/* Upload and download wait for the stream: host memory may be used again at once. */
enum shoal_status device_upload(struct device *dev, void *dst, const void *host, size_t bytes);
enum shoal_status device_download(struct device *dev, void *host, const void *src, size_t bytes);
enum shoal_status device_copy(struct device *dev, void *dst, const void *src, size_t bytes);
enum shoal_status device_zero(struct device *dev, void *dst, size_t bytes);
enum shoal_status device_sync(struct device *dev);

/* bytes of host memory, 64-byte aligned, that is copied from and to the device at full speed and
 * without anybody waiting: page-locked on a GPU. out is void **. Not for the inside of a step: it
 * may take milliseconds. */
enum shoal_status device_alloc_pinned(struct device *dev, size_t bytes, const char *what,
                                      void *out);
void device_free_pinned(struct device *dev, void *p);
/* Queue a copy from pinned memory to the device, or back, in the order of what is computed. Neither
 * side may be touched by the host until a mark made later is reached. */
enum shoal_status device_put(struct device *dev, void *dst, const void *pinned, size_t bytes);
enum shoal_status device_get(struct device *dev, void *pinned, const void *src, size_t bytes);
/* Slabs that wait for their turn lie in pinned memory, which may be worked on where it lies, at the
 * speed of the bus: whatever takes a slab on the device takes one there, kernels, device_upload,
 * _download, _copy, _zero and _fetch. Where it is worked on much it is brought to the device first:
 * device_swap queues a copy of a slab to `out` (NULL: nothing leaves) and then of `in` to the slab
 * (NULL: nothing comes), beside computing and any lane, after all that is queued on the compute
 * stream so far and in the order of the swaps. device_swap_wait: whatever is queued on the compute
 * stream from now on starts when all swaps so far are done; until then nothing else may touch what
 * they do. Neither waits itself. Not in the lane. On the CPU a swap is two copies. */
enum shoal_status device_swap(struct device *dev, void *slab, void *out, const void *in,
                              size_t bytes);
enum shoal_status device_swap_wait(struct device *dev);
/* A mark notes where the compute stream stands; reaching it is waiting until all that was queued
 * before is done. A mark made again forgets where it was; one never made is reached. */
enum { DEVICE_MARKS = 4 };
enum shoal_status device_mark(struct device *dev, int mark);
enum shoal_status device_reach(struct device *dev, int mark);

/* ---- pieces: many calls queued as one -----------------------------------------------------------
 * Where kernels are short, a device waits for the host to queue them. Calls that come again and
 * again with the same arguments can be recorded once and are then queued together. */

struct device_piece;

/* Whether the device records. The CPU does not: it has no queue. */
bool device_records(const struct device *dev);
/* From now on what the calling thread would queue on the compute stream is written down instead;
 * device_record_end makes a piece of it, and nothing has been computed then. In between only calls
 * that were made with the same shapes before, so that nothing is left to be allocated or loaded:
 * kernels, copies and zeroes on the device. No marks, nothing that waits, nothing beside, no lane.
 */
enum shoal_status device_record_begin(struct device *dev);
/* To be called whatever became of the calls in between; *out is NULL on failure. */
enum shoal_status device_record_end(struct device *dev, struct device_piece **out);
/* Queue a piece: the same kernels with the same arguments, so the same bits. *moved: it was not
 * queued, because scratch memory that it uses is no longer there; record it anew. */
enum shoal_status device_replay(struct device *dev, struct device_piece *p, bool *moved);
/* Waits for the compute stream. */
void device_piece_free(struct device *dev, struct device_piece **p);

/* ---- beside computing -------------------------------------------------------------------------
 * Copies and collectives of an exchange, on streams of their own with a higher priority than the
 * compute stream's. Between device_beside_begin and device_beside_end the slabs they touch are
 * theirs. A slot notes where a queue stood, so that the host can see when that much is done. */

enum { DEVICE_SLOTS = 8 };

/* Whatever is queued beside from now on starts when the work queued on the compute stream so far is
 * done ("the weights are final"). Does not wait. */
enum shoal_status device_beside_begin(struct device *dev);
/* Whatever is queued on the compute stream from now on starts when all that is queued beside so far
 * is done ("the best is here"). Does not wait. */
enum shoal_status device_beside_end(struct device *dev);
/* Queue a copy from the device to pinned memory, or back. Fetches happen in their order and stores
 * in theirs; the two kinds overlap where the hardware can. Neither side may be touched until `slot`
 * (0 .. DEVICE_SLOTS - 1) is done; a slot used again forgets what it noted before. */
enum shoal_status device_fetch(struct device *dev, void *pinned, const void *src, size_t bytes,
                               int slot);
enum shoal_status device_store(struct device *dev, void *dst, const void *pinned, size_t bytes,
                               int slot);
/* Let the slot note what others have queued on device_beside_stream so far. */
enum shoal_status device_note(struct device *dev, int slot);
/* *done: whether what the slot noted is done; a slot never used is. Does not wait. SHOAL_EDEVICE:
 * work queued so far has failed. */
enum shoal_status device_slot_done(struct device *dev, int slot, bool *done);
/* The stream beside for libraries that queue work themselves: a cudaStream_t; NULL where there is
 * none, as on the CPU. Its device is the calling thread's current one. */
void *device_beside_stream(struct device *dev);

/* A lane is a second way to a device, for a thread that exchanges weights while another trains.
 * Between enter and leave, what the calling thread queues is done in its own order and beside the
 * compute stream, and "the compute stream" above means the lane to it: device_sync waits for the
 * lane alone, device_beside_begin and _end order the queues beside against the lane. On the CPU the
 * lane is the thread itself, and no team of threads is woken for it.
 *
 * At most one thread is in a device's lane, and only it may use fetches, stores and slots then. In
 * the lane: memory, copies, zeroes, sync, everything beside, kernel_axpby,
 * kernel_pack and kernel_unpack; no other kernel.
 * What is handed over is handed over by waiting: device_sync by the other thread before the lane
 * touches what it has written, device_sync in the lane before it is left. SHOAL_EDEVICE,
 * SHOAL_ENOMEM. */
enum shoal_status device_lane_enter(struct device *dev);
void device_lane_leave(struct device *dev);

/* ---- the network ------------------------------------------------------------------------------
 */

/* out = x in out's type; same count, f32 and bf16 (round to nearest even). */
enum shoal_status kernel_convert(struct device *dev, struct view out, struct view x);

/* out (R, C) f32 = wte[tokens] + wpe[position]. tokens (B, T) i32, position = column. wte (Vp, C),
 * wpe (T_max, C) f32; wpe may be none. The caller has checked that tokens lie in [0, Vp). */
enum shoal_status kernel_embed(struct device *dev, struct view out, struct view tokens,
                               struct view wte, struct view wpe);
/* dwte (Vp, C), dwpe (T_max, C) f32 are added to; dwpe may be none. dout (R, C) f32.
 * Deterministic. */
enum shoal_status kernel_embed_grad(struct device *dev, struct view dwte, struct view dwpe,
                                    struct view dout, struct view tokens);

/* out (R, O) f32 or bf16 = x (R, I) . w (O, I)^T + bias (O) f32; bias may be none. x, w same type;
 * out is bf16 only when they are, and then the bias may be rounded to bf16 before it is added. */
enum shoal_status kernel_matmul(struct device *dev, struct view out, struct view x, struct view w,
                                struct view bias);
/* The same with the sum of a residual connection: sum (R, O) f32 = residual (R, O) f32 + x . w^T +
 * bias. sum may be residual itself. */
enum shoal_status kernel_matmul_residual(struct device *dev, struct view sum, struct view residual,
                                         struct view x, struct view w, struct view bias);
/* The same followed by GELU: pre (R, O) act = x . w^T + bias, out (R, O) act = GELU(pre). */
enum shoal_status kernel_matmul_gelu(struct device *dev, struct view out, struct view pre,
                                     struct view x, struct view w, struct view bias);
/* dx (R, I) f32 or bf16 = dout (R, O) . w (O, I). dout, w same type; dx is bf16 only when they are.
 */
enum shoal_status kernel_matmul_grad_x(struct device *dev, struct view dx, struct view dout,
                                       struct view w);
/* The same followed by GELU's derivative: dpre (R, I) act = (dout . w) * GELU'(pre (R, I) act). */
enum shoal_status kernel_matmul_gelu_grad_x(struct device *dev, struct view dpre, struct view dout,
                                            struct view w, struct view pre);
/* dw (O, I) f32 = dout (R, O)^T . x (R, I), or has it added when `accumulate`; dbias (O) f32 +=
 * column sums of dout, may be none. dout, x same type. */
enum shoal_status kernel_matmul_grad_w(struct device *dev, struct view dw, struct view dbias,
                                       struct view dout, struct view x, bool accumulate);

/* Normalisation of rows: out (R, C) act = (x - mean) * rstd * gain + bias, x (R, C) f32, gain and
 * bias (C) f32; mean, rstd (R) f32 are kept for the backward pass. Layer normalisation (Ba et al.
 * 2016): rstd = 1/sqrt(variance + eps). With mean and bias none it is RMSNorm (Zhang & Sennrich
 * 2019): rstd = 1/sqrt(average of x^2 + eps), nothing is subtracted. */
enum shoal_status kernel_norm(struct device *dev, struct view out, struct view mean,
                              struct view rstd, struct view x, struct view gain, struct view bias,
                              float eps);
/* dx (R, C) f32 += gradient; dx16 (R, C) bf16 = the new dx, may be none; dgain, dbias (C) f32 +=;
 * dout (R, C) act. mean and dbias none: RMSNorm. */
enum shoal_status kernel_norm_grad(struct device *dev, struct view dx, struct view dx16,
                                   struct view dgain, struct view dbias, struct view dout,
                                   struct view x, struct view mean, struct view rstd,
                                   struct view gain);

/* out = GELU(x), tanh form (Hendrycks & Gimpel 2016; GPT-2's "gelu_new"). One act type, one count.
 * out may be x itself. */
enum shoal_status kernel_gelu(struct device *dev, struct view out, struct view x);
/* SwiGLU (Shazeer 2020): out (R, F) act = silu(gate) * up; x (R, 2F) act: gate | up. */
enum shoal_status kernel_swiglu(struct device *dev, struct view out, struct view x);
/* dx (R, 2F) act from dout (R, F) act and x (R, 2F) act. dx may be x itself. */
enum shoal_status kernel_swiglu_grad(struct device *dev, struct view dx, struct view dout,
                                     struct view x);

/* How attention reads a row of qkv: W = (heads + 2 * kv_heads) * HS numbers, Q | K | V, heads
 * contiguous inside each. */
struct attention_shape {
    int heads, kv_heads;
};

/* Rotary positions (Su et al. 2021): the Q and K heads of qkv (B, T, W) act are turned in place,
 * element i of a head with element i + HS/2 (Llama's pairing), by position * theta^(-2i/HS);
 * position = first + column. `back` turns the other way, which is the gradient. HS is even. */
enum shoal_status kernel_rope(struct device *dev, struct view qkv, struct attention_shape shape,
                              int64_t first, float theta, bool back);
/* Causal multi-head attention, scale 1/sqrt(HS). out (B, T, C) act; stats (B, NH, T) f32 =
 * log-sum-exp of each row of scores, kept for the backward pass; qkv (B, T, W) act. At most a tile
 * of the T x T scores per thread exists at a time. */
enum shoal_status kernel_attention(struct device *dev, struct view out, struct view stats,
                                   struct view qkv, struct attention_shape shape);
/* dqkv (B, T, W) act is set. dout (B, T, C) act; out, stats, qkv from the forward pass. */
enum shoal_status kernel_attention_grad(struct device *dev, struct view dqkv, struct view dout,
                                        struct view out, struct view stats, struct view qkv,
                                        struct attention_shape shape);
/* One new position of one sequence with a cache: out (C) f32; qkv (W) f32 of the new position;
 * keys, values (T_max, NK*HS) f32: row `position` is written, rows before it are read. */
enum shoal_status kernel_attention_decode(struct device *dev, struct view out, struct view keys,
                                          struct view values, struct view qkv, int64_t position,
                                          struct attention_shape shape);

/* losses (R) f32 in nats; logits (R, Vp) act or f32 is replaced by its gradient times scale when
 * with_grad, and by anything otherwise. targets (R) i32; a target < 0 gives loss 0 and gradient 0.
 * Columns >= vocab are treated as absent; their gradient is 0. */
enum shoal_status kernel_xent(struct device *dev, struct view losses, struct view logits,
                              struct view targets, int vocab, float scale, bool with_grad);
/* *out (on the host) = sum of n floats, in double precision and fixed order; waits for the device.
 */
enum shoal_status kernel_sum(struct device *dev, double *out, const float *x, int64_t n);

/* ---- the optimiser ----------------------------------------------------------------------------
 */

/* What a step is judged by, on the device, so that nobody waits for it. */
struct figures {
    double loss;  /* sum of the means of its batches, nats per token */
    double sumsq; /* of its gradients */
    float scale;  /* what gradients are to be multiplied by; NAN: the step is not to be taken */
};
/* f->loss = the sum of n losses / over, in double precision and fixed order; or has that added. */
enum shoal_status kernel_figures_loss(struct device *dev, struct figures *f, const float *losses,
                                      int64_t n, double over, bool add);
/* f->sumsq = sum of squares of n gradients, as by kernel_sumsq; then f->scale: 1, or clip / norm
 * where their norm is above clip (0: no limit), NAN where norm or f->loss are not finite. */
enum shoal_status kernel_figures_norm(struct device *dev, struct figures *f, const float *grad,
                                      int64_t n, double clip);

struct adamw_args {
    float lr, beta1, beta2, eps;
    float decay;      /* decoupled: w -= lr * decay * w */
    float grad_scale; /* gradients are multiplied by this first (clipping) */
    int64_t step;     /* 1-based, for bias correction */
    /* On the device, or NULL: its scale is taken in place of grad_scale, and where that is NAN
     * nothing is changed. */
    const struct figures *figures;
};

/* *out (on the host) = sum of squares, in double precision and fixed order; waits for the device.
 */
enum shoal_status kernel_sumsq(struct device *dev, double *out, const float *x, int64_t n);
/* One AdamW step (Loshchilov & Hutter 2019) over n elements of w, m, v, grad (f32):
 * m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= lr (m_hat / (sqrt(v_hat) + eps) + decay w).
 * w16 (bf16) receives the rounded new weights; may be NULL. */
enum shoal_status kernel_adamw(struct device *dev, float *w, void *w16, float *m, float *v,
                               const float *grad, int64_t n, struct adamw_args a);

/* ---- evolution: one tensor at a time; formulas in evo/operators.h
 * -------------------------------- */

struct swarm_args {
    float inertia, cognitive, social;
    int draw, law;       /* enum draw_by, enum draw_law of config.h */
    struct rng_key own;  /* key of r1: stream, expert, round and tensor filled in */
    struct rng_key best; /* key of r2 */
};

/* v <- inertia v + cognitive r1 (own_best - x) + social r2 (attractor - x); x <- x + v.
 * x, own_best, attractor: (rows, cols) f32. velocity NULL when inertia == 0 (v is not kept),
 * own_best NULL when cognitive == 0. With only social == 1 drawn constant, x becomes exactly the
 * attractor. */
enum shoal_status kernel_swarm(struct device *dev, float *x, float *velocity, const float *own_best,
                               const float *attractor, int64_t rows, int64_t cols,
                               struct swarm_args a);
/* x <- attractor where a number drawn once per `by` (enum draw_by) is < rate; one parent per
 * element. */
enum shoal_status kernel_crossover(struct device *dev, float *x, const float *attractor,
                                   int64_t rows, int64_t cols, float rate, int by,
                                   struct rng_key key);

struct mutate_args {
    float rate, scale;           /* probability; standard deviation in AdamW steps */
    float lr, beta1, beta2, eps; /* of the present step */
    int64_t step;                /* AdamW steps taken; 0: nothing mutates */
    struct rng_key which, noise;
};

/* x += N(0,1) * scale * lr * |m_hat| / (sqrt(v_hat) + eps), with probability rate per element. */
enum shoal_status kernel_mutate(struct device *dev, float *x, const float *m, const float *v,
                                int64_t n, struct mutate_args a);
/* out = alpha * x + beta * out over n elements (beta 0: out need not be initialised). x may be out.
 */
enum shoal_status kernel_axpby(struct device *dev, float *out, const float *x, int64_t n,
                               float alpha, float beta);

/* ---- the wire ---------------------------------------------------------------------------------
 */

/* packed = x - base + lost, n numbers in pack_bytes(p, n) bytes, and lost = what of it the packed
 * numbers do not say (error feedback, Seide et al. 2014). base NULL: nothing is taken away; lost
 * NULL: nothing is kept. What is lost with numbers that are not finite is forgotten. packed is
 * 2-byte aligned. The same bits on every device and with any number of threads. */
enum shoal_status kernel_pack(struct device *dev, void *packed, float *lost, const float *x,
                              const float *base, int64_t n, enum packing p);
/* out = alpha * what is packed + beta * out over n elements, as kernel_axpby. */
enum shoal_status kernel_unpack(struct device *dev, float *out, const void *packed, int64_t n,
                                enum packing p, float alpha, float beta);
