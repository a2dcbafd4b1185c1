/* backend.c - the CUDA backend: its table, the device, its memory. Host code only. */
#include <stdio.h>
#include <string.h>
#include "base/memory.h"
#include "kernels/cuda/beside.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/graph.h"
#include "kernels/cuda/swap.h"

/* ---- failures -------------------------------------------------------------------------------- */

/* What to do about it. */
static const char *advice(cudaError_t code)
{
    switch (code) {
    case cudaErrorMemoryAllocation:
        return "a smaller train.micro_batch, train.recompute or population.park: on needs less";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
        return "build with CMAKE_CUDA_ARCHITECTURES for this device";
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
        return "compute-sanitizer shows the kernel at fault; nothing can be computed until restart";
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
        return "train.graph: false does without";
    default:
        return "see nvidia-smi for the device's state";
    }
}

enum shoal_status cuda_failed(cudaError_t code, const char *file, int line, const char *call)
{
    const enum shoal_status st = code == cudaErrorMemoryAllocation ? SHOAL_ENOMEM : SHOAL_EDEVICE;
    (void)cudaGetLastError(); /* or the next call that succeeds would report it again */
    return shoal_fail(st, file, line, "CUDA: %.60s: %s (%s); %s", call, cudaGetErrorString(code),
                      cudaGetErrorName(code), advice(code));
}

/* ---- opening --------------------------------------------------------------------------------- */

/* "13.0" from 13000. */
struct version {
    char text[16];
};

static struct version version_of(int number)
{
    struct version v;
    (void)snprintf(v.text, sizeof v.text, "%d.%d", number / 1000, number % 1000 / 10);
    return v;
}

/* Visible devices; a failure says what is missing: the driver, a newer one, or a device. */
static enum shoal_status count_devices(int *count)
{
    int driver = 0, runtime = 0;
    const cudaError_t code = cudaGetDeviceCount(count);
    if (code == cudaErrorInsufficientDriver || code == cudaErrorNoDevice) (void)cudaGetLastError();
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    SHOAL_CHECK(driver > 0, SHOAL_EDEVICE,
                "device: no NVIDIA driver is loaded; use device: cpu, or install a driver for CUDA "
                "%s or newer",
                version_of(runtime).text);
    SHOAL_CHECK(code != cudaErrorInsufficientDriver, SHOAL_EDEVICE,
                "device: the driver is for CUDA %s, but this program was built with %s; install a "
                "newer driver or build with an older toolkit",
                version_of(driver).text, version_of(runtime).text);
    SHOAL_CHECK(code != cudaErrorNoDevice, SHOAL_EDEVICE,
                "device: the driver shows no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES");
    TRY_CUDA(code);
    return SHOAL_OK;
}

/* "GPU-" and the UUID, as nvidia-smi writes it. */
static void write_identity(char *id, const struct cudaDeviceProp *p)
{
    static const int group[] = {4, 2, 2, 2, 6};
    int byte = 0, at = snprintf(id, DEVICE_ID, "GPU");
    for (int g = 0; g < 5; g++) {
        id[at++] = '-';
        for (int i = 0; i < group[g]; i++, byte++)
            at += snprintf(id + at, (size_t)(DEVICE_ID - at), "%02x",
                           (unsigned)(unsigned char)p->uuid.bytes[byte]);
    }
}

static enum shoal_status cuda_list(char (*id)[DEVICE_ID], int most, int *count)
{
    int n = 0;
    *count = 0;
    SHOAL_TRY(count_devices(&n));
    for (int i = 0; i < n && i < most; i++) {
        struct cudaDeviceProp p;
        TRY_CUDA(cudaGetDeviceProperties(&p, i));
        write_identity(id[i], &p);
        *count = i + 1;
    }
    return SHOAL_OK;
}

static enum shoal_status describe(struct cuda_device *cuda)
{
    struct cudaDeviceProp p;
    TRY_CUDA(cudaGetDeviceProperties(&p, cuda->index));
    SHOAL_CHECK(p.major >= 8, SHOAL_ENOTSUP,
                "device: %s has compute capability %d.%d, and at least 8.0 is needed; use device: "
                "cpu",
                p.name, p.major, p.minor);
    (void)snprintf(cuda->base.describe, sizeof cuda->base.describe,
                   "cuda:%d, %.60s, %.1f GB, compute capability %d.%d", cuda->index, p.name,
                   (double)p.totalGlobalMem * 1e-9, p.major, p.minor);
    write_identity(cuda->base.identity, &p);
    cuda->base.memory_bytes = (int64_t)p.totalGlobalMem;
    return SHOAL_OK;
}

static enum shoal_status acquire(struct cuda_device *cuda)
{
    TRY_CUDA(cudaSetDevice(cuda->index));
    SHOAL_TRY(describe(cuda));
    TRY_CUDA(cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking));
    TRY_CUDA(cudaMallocHost((void **)&cuda->total, CUDA_TOTAL_BYTES));
    TRY_CUDA(cudaMalloc(&cuda->workspace, CUDA_WORKSPACE_BYTES));
    for (int m = 0; m < DEVICE_MARKS; m++) /* who waits sleeps: it is for a whole step */
        TRY_CUDA(cudaEventCreateWithFlags(&cuda->mark[m],
                                          cudaEventDisableTiming | cudaEventBlockingSync));
    SHOAL_TRY(beside_open(&cuda->beside));
    SHOAL_TRY(swap_open(&cuda->swap));
    return gemm_plans_create(&cuda->gemms);
}

static void cuda_close(struct device *dev)
{
    struct cuda_device *const cuda = cuda_of(dev);
    (void)cudaSetDevice(cuda->index);
    gemm_plans_destroy(&cuda->gemms);
    swap_close(&cuda->swap);
    beside_close(&cuda->beside);
    if (cuda->scratch) (void)cudaFree(cuda->scratch);
    if (cuda->workspace) (void)cudaFree(cuda->workspace);
    if (cuda->total) (void)cudaFreeHost(cuda->total);
    for (int m = 0; m < DEVICE_MARKS; m++)
        if (cuda->mark[m]) (void)cudaEventDestroy(cuda->mark[m]);
    if (cuda->stream) (void)cudaStreamDestroy(cuda->stream);
    mem_free(cuda);
}

static enum shoal_status cuda_open(int index, int threads, struct device **out)
{
    (void)threads; /* kernels choose their own */
    struct cuda_device *cuda;
    int count = 0;
    SHOAL_TRY(count_devices(&count));
    SHOAL_CHECK(index < count, SHOAL_EDEVICE,
                "device: GPU %d of %d visible ones; start fewer workers on this node, or see "
                "CUDA_VISIBLE_DEVICES",
                index, count);
    SHOAL_TRY(mem_alloc(sizeof *cuda, "CUDA device", &cuda));
    cuda->base.ops = &cuda_ops;
    cuda->base.is_host = false;
    cuda->index = index;
    const enum shoal_status st = acquire(cuda);
    if (st == SHOAL_OK)
        *out = &cuda->base;
    else
        cuda_close(&cuda->base);
    return st;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static enum shoal_status allocate(struct device *dev, size_t bytes, const char *what, void **out)
{
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    const cudaError_t code = cudaMalloc(out, bytes > 0 ? bytes : 1);
    if (code == cudaErrorMemoryAllocation) {
        size_t left = 0, all = 0;
        (void)cudaGetLastError();
        (void)cudaMemGetInfo(&left, &all);
        return SHOAL_FAIL(
            SHOAL_ENOMEM,
            "no device memory for %s: %.2f GB wanted, %.2f of %.2f GB left; a smaller "
            "train.micro_batch, train.recompute or population.park: on needs less",
            what, (double)bytes * 1e-9, (double)left * 1e-9, (double)all * 1e-9);
    }
    TRY_CUDA(code);
    return SHOAL_OK;
}

enum shoal_status cuda_scratch(struct device *dev, size_t bytes, void *out)
{
    struct cuda_device *const cuda = cuda_of(dev);
    SHOAL_ASSERT(cuda_stream(dev) == cuda->stream); /* there is one, and it is not the lane's */
    if (bytes > cuda->scratch_bytes || !cuda->scratch) {
        /* The old one goes first, so that there is never more than the largest. It may be in use.
         */
        TRY_CUDA(cudaStreamSynchronize(cuda->stream));
        if (cuda->scratch) TRY_CUDA(cudaFree(cuda->scratch));
        cuda->scratch = NULL;
        cuda->scratch_bytes = 0;
        SHOAL_TRY(allocate(dev, bytes, "kernel scratch", &cuda->scratch));
        cuda->scratch_bytes = bytes;
    }
    memcpy(out, &cuda->scratch, sizeof cuda->scratch);
    return SHOAL_OK;
}

static enum shoal_status cuda_zero(struct device *dev, void *dst, size_t bytes)
{
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    TRY_CUDA(cudaMemsetAsync(dst, 0, bytes, cuda_stream(dev)));
    return SHOAL_OK;
}

static enum shoal_status cuda_alloc(struct device *dev, size_t bytes, const char *what, void *out)
{
    void *p = NULL;
    SHOAL_TRY(allocate(dev, bytes, what, &p));
    const enum shoal_status st = cuda_zero(dev, p, bytes);
    if (st == SHOAL_OK)
        memcpy(out, &p, sizeof p);
    else
        (void)cudaFree(p);
    return st;
}

/* cudaFree waits for what is queued on every stream, so nothing still uses p. */
static void cuda_free(struct device *dev, void *p)
{
    (void)cudaSetDevice(cuda_of(dev)->index);
    (void)cudaFree(p);
}

static enum shoal_status cuda_sync(struct device *dev)
{
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    TRY_CUDA(cudaStreamSynchronize(cuda_stream(dev)));
    return SHOAL_OK;
}

static enum shoal_status move(struct device *dev, void *dst, const void *src, size_t bytes,
                              enum cudaMemcpyKind kind)
{
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    TRY_CUDA(cudaMemcpyAsync(dst, src, bytes, kind, cuda_stream(dev)));
    return SHOAL_OK;
}

/* Waits, so that the caller may change what it handed over, pinned memory included. CUDA sees by
 * the pointers where a slab lies. */
static enum shoal_status cuda_upload(struct device *dev, void *dst, const void *src, size_t bytes)
{
    SHOAL_TRY(move(dev, dst, src, bytes, cudaMemcpyDefault));
    return cuda_sync(dev);
}

static enum shoal_status cuda_download(struct device *dev, void *dst, const void *src, size_t bytes)
{
    SHOAL_TRY(move(dev, dst, src, bytes, cudaMemcpyDefault));
    return cuda_sync(dev);
}

static enum shoal_status cuda_copy(struct device *dev, void *dst, const void *src, size_t bytes)
{
    return move(dev, dst, src, bytes, cudaMemcpyDefault);
}

static enum shoal_status cuda_put(struct device *dev, void *dst, const void *pinned, size_t bytes)
{
    return move(dev, dst, pinned, bytes, cudaMemcpyHostToDevice);
}

static enum shoal_status cuda_get(struct device *dev, void *pinned, const void *src, size_t bytes)
{
    return move(dev, pinned, src, bytes, cudaMemcpyDeviceToHost);
}

static enum shoal_status cuda_mark(struct device *dev, int mark)
{
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    TRY_CUDA(cudaEventRecord(cuda_of(dev)->mark[mark], cuda_stream(dev)));
    return SHOAL_OK;
}

static enum shoal_status cuda_reach(struct device *dev, int mark)
{
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    TRY_CUDA(cudaEventSynchronize(cuda_of(dev)->mark[mark]));
    return SHOAL_OK;
}

const struct kernel_ops cuda_ops = {
    .name = "cuda",
    .libraries_bytes = 149 << 20, /* cuBLASLt 13.0, measured */
    .list = cuda_list,
    .open = cuda_open,
    .close = cuda_close,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .upload = cuda_upload,
    .download = cuda_download,
    .copy = cuda_copy,
    .zero = cuda_zero,
    .sync = cuda_sync,
    .alloc_pinned = cuda_alloc_pinned,
    .free_pinned = cuda_free_pinned,
    .put = cuda_put,
    .get = cuda_get,
    .swap = cuda_swap,
    .swap_wait = cuda_swap_wait,
    .mark = cuda_mark,
    .reach = cuda_reach,
    .record_begin = cuda_record_begin,
    .record_end = cuda_record_end,
    .replay = cuda_replay,
    .piece_free = cuda_piece_free,
    .beside_begin = cuda_beside_begin,
    .beside_end = cuda_beside_end,
    .fetch = cuda_fetch,
    .store = cuda_store,
    .note = cuda_note,
    .slot_done = cuda_slot_done,
    .beside_stream = cuda_beside_stream,
    .lane_enter = cuda_lane_enter,
    .lane_leave = cuda_lane_leave,
    .convert = cuda_convert,
    .embed = cuda_embed,
    .embed_grad = cuda_embed_grad,
    .gemm = cuda_gemm,
    .norm = cuda_norm,
    .norm_grad = cuda_norm_grad,
    .gelu = cuda_gelu,
    .swiglu = cuda_swiglu,
    .swiglu_grad = cuda_swiglu_grad,
    .rope = cuda_rope,
    .attention = cuda_attention,
    .attention_grad = cuda_attention_grad,
    .attention_decode = cuda_attention_decode,
    .xent = cuda_xent,
    .sum = cuda_sum,
    .sumsq = cuda_sumsq,
    .figures_loss = cuda_figures_loss,
    .figures_norm = cuda_figures_norm,
    .adamw = cuda_adamw,
    .swarm = cuda_swarm,
    .crossover = cuda_crossover,
    .mutate = cuda_mutate,
    .axpby = cuda_axpby,
    .pack = cuda_pack,
    .unpack = cuda_unpack,
};
