/* swap.c - slabs change places with page-locked memory while others are worked on.
 *
 * A stream for each direction, so that the two overlap, and pieces of a slab, so that what comes
 * follows what leaves at once, and the few bytes of a batch need not wait behind a gigabyte. */
#include "kernels/cuda/swap.h"

enum { PIECE_BYTES = 32 << 20 };

enum shoal_status swap_open(struct swap *s)
{
    for (int q = 0; q < SWAP_QUEUES; q++) {
        TRY_CUDA(cudaStreamCreateWithFlags(&s->queue[q], cudaStreamNonBlocking));
        TRY_CUDA(cudaEventCreateWithFlags(&s->queued[q], cudaEventDisableTiming));
    }
    TRY_CUDA(cudaEventCreateWithFlags(&s->computed, cudaEventDisableTiming));
    return SHOAL_OK;
}

void swap_close(struct swap *s)
{
    for (int q = 0; q < SWAP_QUEUES; q++) {
        if (s->queue[q]) (void)cudaStreamDestroy(s->queue[q]);
        if (s->queued[q]) (void)cudaEventDestroy(s->queued[q]);
    }
    if (s->computed) (void)cudaEventDestroy(s->computed);
}

/* What comes takes the place of what has left, and may itself have left a while ago. */
static enum shoal_status swap_piece(struct swap *s, char *slab, char *out, const char *in,
                                    size_t bytes)
{
    if (out)
        TRY_CUDA(cudaMemcpyAsync(out, slab, bytes, cudaMemcpyDeviceToHost, s->queue[SWAP_LEAVES]));
    if (!in) return SHOAL_OK;
    TRY_CUDA(cudaEventRecord(s->queued[SWAP_LEAVES], s->queue[SWAP_LEAVES]));
    TRY_CUDA(cudaStreamWaitEvent(s->queue[SWAP_COMES], s->queued[SWAP_LEAVES], 0));
    TRY_CUDA(cudaMemcpyAsync(slab, in, bytes, cudaMemcpyHostToDevice, s->queue[SWAP_COMES]));
    return SHOAL_OK;
}

enum shoal_status cuda_swap(struct device *dev, void *slab, void *out, const void *in, size_t bytes)
{
    struct swap *const s = &cuda_of(dev)->swap;
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    TRY_CUDA(cudaEventRecord(s->computed, cuda_of(dev)->stream));
    for (int q = 0; q < SWAP_QUEUES; q++)
        TRY_CUDA(cudaStreamWaitEvent(s->queue[q], s->computed, 0));
    for (size_t at = 0; at < bytes; at += PIECE_BYTES) {
        const size_t left = bytes - at, piece = left < PIECE_BYTES ? left : PIECE_BYTES;
        SHOAL_TRY(swap_piece(s, (char *)slab + at, out ? (char *)out + at : NULL,
                             in ? (const char *)in + at : NULL, piece));
    }
    return SHOAL_OK;
}

enum shoal_status cuda_swap_wait(struct device *dev)
{
    struct swap *const s = &cuda_of(dev)->swap;
    TRY_CUDA(cudaSetDevice(cuda_of(dev)->index));
    for (int q = 0; q < SWAP_QUEUES; q++) {
        TRY_CUDA(cudaEventRecord(s->queued[q], s->queue[q]));
        TRY_CUDA(cudaStreamWaitEvent(cuda_of(dev)->stream, s->queued[q], 0));
    }
    return SHOAL_OK;
}
