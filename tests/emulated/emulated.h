/* emulated.h - what the files of the emulated runtime share, and what tests may ask it. */
#pragma once
#include <stddef.h>
#include <cuda_runtime_api.h>

#ifdef __cplusplus
#include <cuda_runtime.h>

/* runtime.cpp: whether a grid is one that a GPU would run; run every thread of it. One grid at a
 * time. */
bool emulated_can_run(const cudaLaunchConfig_t *c);
void emulated_run(const cudaLaunchConfig_t *c, void (*body)(const void *call), const void *call);

/* blocks.cpp. Making and freeing return what the runtime would. */
enum emulated_place { PAGEABLE, PINNED, ON_DEVICE };
enum emulated_place emulated_place_of(const void *p);
cudaError_t emulated_block_make(void **p, size_t bytes, bool pinned);
cudaError_t emulated_block_free(void *p);

extern "C" {
#endif

/* streams.cpp: queue body(call) as work of a library's; the call is copied. */
void emulated_queue(cudaStream_t stream, void (*body)(const void *call), const void *call,
                    size_t call_bytes);

/* Bytes that are allocated, and the most since emulated_memory_begin. While no other thread
 * allocates. */
struct emulated_memory {
    size_t device, device_peak;
    size_t pinned, pinned_peak;
};
struct emulated_memory emulated_memory_now(void);
void emulated_memory_begin(void);
/* From now on the n-th allocation fails; 0: none. Returns how far the last such number had come: 0,
 * it has failed. */
int emulated_fail_allocation(int n);
/* What a stream has before it. */
int emulated_queued(cudaStream_t stream);
/* How often somebody waited for a whole stream, or for all: events are not counted. */
int emulated_waits(void);
/* Graphs: how many were made, how many are there, how often one was launched. */
struct emulated_graphs {
    int made, live, launched;
};
struct emulated_graphs emulated_graphs_now(void);

#ifdef __cplusplus
}
#endif
