/* memory.c - what a GPU will hold beside the tensors of a model, where there need be no GPU and no
 * CUDA: scratch by the functions that kernels ask for it by, the rest by figures. */
#include "kernels/cuda/scratch.h"

/* What the driver takes for a process, which no function tells beforehand. Local memory for every
 * thread that can be resident: 2048 a multiprocessor, 1 KiB each (the default of
 * cudaLimitStackSize), and 132 multiprocessors (H100, H200; A100: 108, B200: 148). The rest, for
 * page tables and loaded code, is assumed. bench/gpu.sh writes down what it really is. */
enum { MULTIPROCESSORS = 132, RESIDENT = 2048, LOCAL_BYTES = 1 << 10, ASSUMED_BYTES = 256 << 20 };
static const int64_t context_bytes =
    (int64_t)MULTIPROCESSORS * RESIDENT * LOCAL_BYTES + ASSUMED_BYTES;

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Of a linear layer with n outputs: its bias, and the bias's gradient. */
static int64_t layer_scratch(const struct device_work *w, int64_t n, enum dtype out)
{
    if (!w->biases) return 0;
    return larger(scratch_bias(out, n), w->learns ? scratch_columns(w->rows, n) : 0);
}

static int64_t forward_scratch(const struct device_work *w)
{
    int64_t bytes = scratch_sum();
    bytes = larger(bytes, layer_scratch(w, w->qkv, w->act));
    bytes = larger(bytes, layer_scratch(w, w->hidden, w->act));
    bytes = larger(bytes, layer_scratch(w, w->width, DTYPE_F32)); /* into the residual stream */
    if (w->gelu && !product_may_fuse(true, w->act, w->hidden))
        bytes = larger(bytes, scratch_product(w->rows, w->hidden));
    if (w->rope) bytes = larger(bytes, scratch_rope(w->context, w->width / w->heads));
    return bytes;
}

static int64_t backward_scratch(const struct device_work *w)
{
    int64_t bytes = scratch_embed_grad(w->rows, w->width);
    bytes = larger(bytes, scratch_norm_grad(w->rows, w->width));
    return larger(bytes, scratch_attention_grad(w->rows / w->context, w->heads, w->context));
}

struct device_needs device_gpu_needs(const struct device_work *w)
{
    const int64_t forward = forward_scratch(w), backward = w->learns ? backward_scratch(w) : 0;
    return (struct device_needs){.context = context_bytes,
                                 .workspace = CUDA_WORKSPACE_BYTES,
                                 .scratch = larger(forward, backward),
                                 .pinned = CUDA_TOTAL_BYTES};
}
