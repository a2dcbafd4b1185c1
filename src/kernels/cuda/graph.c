/* graph.c - pieces: what the compute stream was given, captured as a CUDA graph.
 *
 * A graph keeps every kernel's arguments by value, pointers included. What they point to is the
 * caller's, but for the device's own scratch, which moves when it grows: a piece remembers where it
 * was. cuBLASLt's workspace never moves, and its products ask for nothing else.
 *
 * Capturing is "thread local": a call that would allocate or wait fails in this thread, while the
 * lane and the thread that writes files go on as they like. */
#include "base/memory.h"
#include "kernels/cuda/graph.h"

struct device_piece {
    cudaGraphExec_t graph;
    const void *scratch; /* where it was */
};

enum shoal_status cuda_record_begin(struct device *dev)
{
    struct cuda_device *const cuda = cuda_of(dev);
    SHOAL_ASSERT(cuda_stream(dev) == cuda->stream); /* not in the lane */
    TRY_CUDA(cudaSetDevice(cuda->index));
    TRY_CUDA(cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal));
    return SHOAL_OK;
}

static enum shoal_status make_piece(struct device *dev, cudaGraph_t captured,
                                    struct device_piece **out)
{
    struct device_piece *p = NULL;
    SHOAL_TRY(mem_alloc(sizeof *p, "a recorded piece of work", &p));
    const cudaError_t code = cudaGraphInstantiate(&p->graph, captured, 0);
    if (code != cudaSuccess) mem_free(p);
    TRY_CUDA(code);
    p->scratch = cuda_of(dev)->scratch;
    *out = p;
    return SHOAL_OK;
}

enum shoal_status cuda_record_end(struct device *dev, struct device_piece **out)
{
    cudaGraph_t captured = NULL;
    *out = NULL;
    TRY_CUDA(cudaStreamEndCapture(cuda_of(dev)->stream, &captured));
    const enum shoal_status st = make_piece(dev, captured, out);
    (void)cudaGraphDestroy(captured);
    return st;
}

enum shoal_status cuda_replay(struct device *dev, struct device_piece *p, bool *moved)
{
    struct cuda_device *const cuda = cuda_of(dev);
    *moved = p->scratch != cuda->scratch;
    if (*moved) return SHOAL_OK;
    TRY_CUDA(cudaSetDevice(cuda->index));
    TRY_CUDA(cudaGraphLaunch(p->graph, cuda->stream));
    return SHOAL_OK;
}

void cuda_piece_free(struct device *dev, struct device_piece *p)
{
    (void)cudaSetDevice(cuda_of(dev)->index);
    (void)cudaStreamSynchronize(cuda_of(dev)->stream); /* it may be under way */
    (void)cudaGraphExecDestroy(p->graph);
    mem_free(p);
}
