/* beside.c - copies beside computing: a queue for each direction, so that the two overlap, and one
 * for libraries; all of the highest priority, since what they carry is waited for. */
#include <string.h>
#include "kernels/cuda/beside.h"

enum shoal_status beside_open(struct beside *b)
{
    int least = 0, greatest = 0;
    b->lane_made = pthread_key_create(&b->lane, NULL) == 0;
    SHOAL_CHECK(b->lane_made, SHOAL_ENOMEM, "device: too many are open in this process");
    TRY_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    for (int q = 0; q < BESIDE_QUEUES; q++) {
        TRY_CUDA(cudaStreamCreateWithPriority(&b->queue[q], cudaStreamNonBlocking, greatest));
        TRY_CUDA(cudaEventCreateWithFlags(&b->queued[q], cudaEventDisableTiming));
    }
    TRY_CUDA(cudaEventCreateWithFlags(&b->weights_final, cudaEventDisableTiming));
    for (int s = 0; s < DEVICE_SLOTS; s++)
        TRY_CUDA(cudaEventCreateWithFlags(&b->slot[s], cudaEventDisableTiming));
    return SHOAL_OK;
}

void beside_close(struct beside *b)
{
    for (int q = 0; q < BESIDE_QUEUES; q++) {
        if (b->queue[q]) (void)cudaStreamDestroy(b->queue[q]);
        if (b->queued[q]) (void)cudaEventDestroy(b->queued[q]);
    }
    if (b->lane_made) (void)pthread_key_delete(b->lane);
    if (b->weights_final) (void)cudaEventDestroy(b->weights_final);
    for (int s = 0; s < DEVICE_SLOTS; s++)
        if (b->slot[s]) (void)cudaEventDestroy(b->slot[s]);
}

enum shoal_status cuda_alloc_pinned(struct device *dev, size_t bytes, const char *what, void *out)
{
    void *p = NULL;
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    const cudaError_t code = cudaMallocHost(&p, bytes > 0 ? bytes : 1);
    if (code == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return SHOAL_FAIL(SHOAL_ENOMEM,
                          "no page-locked host memory for %s: %.2f GB wanted; see ulimit -l", what,
                          (double)bytes * 1e-9);
    }
    TRY_CUDA(code);
    memset(p, 0, bytes);
    memcpy(out, &p, sizeof p);
    return SHOAL_OK;
}

void cuda_free_pinned(struct device *dev, void *p)
{
    (void)cudaSetDevice(cuda_of(dev)->index);
    (void)cudaFreeHost(p);
}

enum shoal_status cuda_beside_begin(struct device *dev)
{
    struct cuda_device *const cuda = cuda_of(dev);
    TRY_CUDA(cudaSetDevice(cuda->index));
    TRY_CUDA(cudaEventRecord(cuda->beside.weights_final, cuda_stream(dev)));
    for (int q = 0; q < BESIDE_QUEUES; q++)
        TRY_CUDA(cudaStreamWaitEvent(cuda->beside.queue[q], cuda->beside.weights_final, 0));
    return SHOAL_OK;
}

enum shoal_status cuda_beside_end(struct device *dev)
{
    struct cuda_device *const cuda = cuda_of(dev);
    TRY_CUDA(cudaSetDevice(cuda->index));
    for (int q = 0; q < BESIDE_QUEUES; q++) {
        TRY_CUDA(cudaEventRecord(cuda->beside.queued[q], cuda->beside.queue[q]));
        TRY_CUDA(cudaStreamWaitEvent(cuda_stream(dev), cuda->beside.queued[q], 0));
    }
    return SHOAL_OK;
}

static enum shoal_status move(struct device *dev, enum beside_queue q, void *dst, const void *src,
                              size_t bytes, int slot)
{
    struct beside *const b = &cuda_of(dev)->beside;
    /* what is fetched may lie in pinned memory itself */
    const enum cudaMemcpyKind kind =
        q == BESIDE_FETCHES ? cudaMemcpyDefault : cudaMemcpyHostToDevice;
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    TRY_CUDA(cudaMemcpyAsync(dst, src, bytes, kind, b->queue[q]));
    TRY_CUDA(cudaEventRecord(b->slot[slot], b->queue[q]));
    return SHOAL_OK;
}

enum shoal_status cuda_fetch(struct device *dev, void *pinned, const void *src, size_t bytes,
                             int slot)
{
    return move(dev, BESIDE_FETCHES, pinned, src, bytes, slot);
}

enum shoal_status cuda_store(struct device *dev, void *dst, const void *pinned, size_t bytes,
                             int slot)
{
    return move(dev, BESIDE_STORES, dst, pinned, bytes, slot);
}

enum shoal_status cuda_note(struct device *dev, int slot)
{
    struct beside *const b = &cuda_of(dev)->beside;
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    TRY_CUDA(cudaEventRecord(b->slot[slot], b->queue[BESIDE_OTHERS]));
    return SHOAL_OK;
}

/* An event that was never recorded counts as done. */
enum shoal_status cuda_slot_done(struct device *dev, int slot, bool *done)
{
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    const cudaError_t code = cudaEventQuery(cuda_of(dev)->beside.slot[slot]);
    *done = code == cudaSuccess;
    if (code != cudaErrorNotReady) TRY_CUDA(code);
    return SHOAL_OK;
}

void *cuda_beside_stream(struct device *dev)
{
    (void)cudaSetDevice(cuda_of(dev)->index);
    return cuda_of(dev)->beside.queue[BESIDE_OTHERS];
}

/* ---- the lane -------------------------------------------------------------------------------- */

cudaStream_t cuda_stream(struct device *dev)
{
    const struct cuda_device *const cuda = cuda_of(dev);
    return pthread_getspecific(cuda->beside.lane) ? cuda->beside.queue[BESIDE_OTHERS]
                                                  : cuda->stream;
}

enum shoal_status cuda_lane_enter(struct device *dev)
{
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index)); /* NCCL takes the thread's */
    SHOAL_CHECK(pthread_setspecific(cuda_of(dev)->beside.lane, dev) == 0, SHOAL_ENOMEM,
                "no memory for a thread's lane");
    return SHOAL_OK;
}

/* Taking a value away needs no memory. */
void cuda_lane_leave(struct device *dev)
{
    (void)pthread_setspecific(cuda_of(dev)->beside.lane, NULL);
}
