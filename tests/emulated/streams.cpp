/* streams.cpp - streams, events and memory of the emulated runtime.
 *
 * What is queued is done as late as CUDA allows: when somebody waits for it, or asks an event for
 * the third time. Until then a copy from pinned memory has not read it, and what a copy or a kernel
 * will bring is not there; so whoever does not wait, or waits for another stream, gets something
 * else. Copies from and to memory that is not pinned behave as documented: the former have read it
 * when they return, the latter are done. Freeing memory waits for everything. One lock makes all
 * calls safe on several threads. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cuda_runtime.h>
#include "emulated/emulated.h"

enum { LOOKS = 2 }; /* at an event, in vain */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

struct locked {
    locked()
    {
        pthread_mutex_lock(&mutex);
    }
    ~locked()
    {
        pthread_mutex_unlock(&mutex);
    }
};

static void *allocate(size_t bytes)
{
    void *const p = malloc(bytes > 0 ? bytes : 1);
    if (!p) abort();
    return p;
}

/* ---- memory ---------------------------------------------------------------------------------- */

struct block {
    struct block *next;
    char *at;
    size_t bytes;
    bool pinned;
};

static struct block *blocks;
static struct emulated_memory memory;
static int until_failure;

static struct block **find_block(const void *p)
{
    struct block **b = &blocks;
    while (*b && !((*b)->at <= (const char *)p && (const char *)p < (*b)->at + (*b)->bytes))
        b = &(*b)->next;
    return b;
}

enum place { PAGEABLE, PINNED, ON_DEVICE };

static enum place place_of(const void *p)
{
    const struct block *const b = *find_block(p);
    return !b ? PAGEABLE : b->pinned ? PINNED : ON_DEVICE;
}

static void count(size_t *now, size_t *peak, size_t bytes, bool more)
{
    *now = more ? *now + bytes : *now - bytes;
    if (*now > *peak) *peak = *now;
}

static void count_block(const struct block *b, bool more)
{
    if (b->pinned)
        count(&memory.pinned, &memory.pinned_peak, b->bytes, more);
    else
        count(&memory.device, &memory.device_peak, b->bytes, more);
}

static cudaError_t make_block(void **p, size_t bytes, bool pinned)
{
    const size_t most = (size_t)8 << 30;
    *p = NULL;
    if (bytes > most || (until_failure > 0 && --until_failure == 0))
        return cudaErrorMemoryAllocation;
    /* exactly as many bytes, so that a sanitizer sees the end */
    if (posix_memalign(p, 256, bytes) != 0) return cudaErrorMemoryAllocation;
    memset(*p, 0xff, bytes);
    struct block *const b = (struct block *)allocate(sizeof *b);
    *b = {blocks, (char *)*p, bytes, pinned};
    blocks = b;
    count_block(b, true);
    return cudaSuccess;
}

/* ---- streams --------------------------------------------------------------------------------- */

enum kind { LAUNCH, CALL, COPY, FILL, RECORD, WAIT };

struct work {
    struct work *next;
    enum kind kind;
    cudaLaunchConfig_t config;      /* LAUNCH */
    void (*body)(const void *call); /* LAUNCH, CALL */
    void *owned;                    /* the call, or what a copy read already */
    void *to;                       /* COPY, FILL */
    const void *from;
    size_t bytes;
    int value;
    uint64_t ticket; /* RECORD, WAIT */
    cudaStream_t of; /* WAIT: where it is recorded */
};

struct emulated_stream {
    struct emulated_stream *next;
    struct work *first, **last;
    uint64_t done; /* newest ticket that was met */
};

struct emulated_event {
    cudaStream_t of; /* NULL: never recorded */
    uint64_t ticket;
    int looks;
};

static struct emulated_stream *streams;
static uint64_t tickets;
static int waits;

static struct work *push(cudaStream_t s, enum kind kind)
{
    struct work *const w = (struct work *)allocate(sizeof *w);
    *w = work();
    w->kind = kind;
    *s->last = w;
    s->last = &w->next;
    return w;
}

static struct work *push_call(cudaStream_t s, enum kind kind, void (*body)(const void *call),
                              const void *call, size_t bytes)
{
    struct work *const w = push(s, kind);
    w->body = body;
    w->owned = allocate(bytes);
    memcpy(w->owned, call, bytes);
    return w;
}

static void reach(cudaStream_t s, uint64_t ticket);

static void carry_out(cudaStream_t s, struct work *w)
{
    switch (w->kind) {
    case LAUNCH:
        emulated_run(&w->config, w->body, w->owned);
        break;
    case CALL:
        w->body(w->owned);
        break;
    case COPY:
        memmove(w->to, w->owned ? w->owned : w->from, w->bytes);
        break;
    case FILL:
        memset(w->to, w->value, w->bytes);
        break;
    case RECORD:
        s->done = w->ticket;
        break;
    case WAIT:
        reach(w->of, w->ticket);
        break;
    }
}

static void step(cudaStream_t s)
{
    struct work *const w = s->first;
    carry_out(s, w);
    s->first = w->next;
    if (!s->first) s->last = &s->first;
    free(w->owned);
    free(w);
}

/* Work up to a record. A circle of waits cannot be: one waits for what was recorded before. */
static void reach(cudaStream_t s, uint64_t ticket)
{
    while (s->done < ticket && s->first)
        step(s);
}

static void finish(cudaStream_t s)
{
    while (s->first)
        step(s);
}

static void finish_all(void)
{
    for (struct emulated_stream *s = streams; s; s = s->next)
        finish(s);
}

static int length(cudaStream_t s)
{
    int n = 0;
    for (const struct work *w = s->first; w; w = w->next)
        n++;
    return n;
}

/* ---- for tests ------------------------------------------------------------------------------- */

int emulated_queued(cudaStream_t stream)
{
    const locked here;
    return length(stream);
}

int emulated_waits(void)
{
    const locked here;
    return waits;
}

struct emulated_memory emulated_memory_now(void)
{
    const locked here;
    return memory;
}

void emulated_memory_begin(void)
{
    const locked here;
    memory.device_peak = memory.device;
    memory.pinned_peak = memory.pinned;
}

int emulated_fail_allocation(int n)
{
    const locked here;
    const int left = until_failure;
    until_failure = n;
    return left;
}

/* ---- the runtime's calls --------------------------------------------------------------------- */

static cudaError_t made_up(const char *variable)
{
    const char *const text = getenv(variable);
    return text ? (cudaError_t)atoi(text) : cudaSuccess;
}

cudaError_t emulated_launch(const cudaLaunchConfig_t *c, void (*body)(const void *call),
                            const void *call, size_t call_bytes)
{
    const locked here;
    if (!emulated_can_run(c)) return cudaErrorInvalidConfiguration;
    push_call(c->stream, LAUNCH, body, call, call_bytes)->config = *c;
    return cudaSuccess;
}

void emulated_queue(cudaStream_t stream, void (*body)(const void *call), const void *call,
                    size_t call_bytes)
{
    const locked here;
    push_call(stream, CALL, body, call, call_bytes);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    const locked here;
    struct emulated_stream *const s = (struct emulated_stream *)allocate(sizeof *s);
    *s = {streams, NULL, NULL, 0};
    s->last = &s->first;
    streams = s;
    *stream = s;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(stream, flags);
}
/* Others may wait for what is recorded on it. */
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    const locked here;
    finish_all();
    struct emulated_stream **s = &streams;
    while (*s != stream)
        s = &(*s)->next;
    *s = stream->next;
    free(stream);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    const locked here;
    waits++;
    finish(stream);
    return made_up("EMULATED_SYNC_FAILS");
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = (cudaEvent_t)allocate(sizeof **event);
    **event = {NULL, 0, 0};
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    const locked here;
    push(stream, RECORD)->ticket = ++tickets;
    *event = {stream, tickets, LOOKS};
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    const locked here;
    if (!event->of) return cudaSuccess;
    struct work *const w = push(stream, WAIT);
    w->of = event->of;
    w->ticket = event->ticket;
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    const locked here;
    if (!event->of || event->of->done >= event->ticket) return cudaSuccess;
    if (event->looks-- > 0) return cudaErrorNotReady;
    reach(event->of, event->ticket);
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    const locked here;
    if (event->of) reach(event->of, event->ticket);
    return made_up("EMULATED_SYNC_FAILS");
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    const locked here;
    return make_block(p, bytes, false);
}
cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    const locked here;
    return make_block(p, bytes, true);
}
cudaError_t cudaFree(void *p)
{
    const locked here;
    waits++;
    finish_all();
    struct block **const b = find_block(p);
    if (!*b || (*b)->at != p) return cudaErrorInvalidValue;
    struct block *const gone = *b;
    count_block(gone, false);
    *b = gone->next;
    free(gone->at);
    free(gone);
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void *p)
{
    return cudaFree(p);
}
cudaError_t cudaMemGetInfo(size_t *left, size_t *all)
{
    *left = *all = (size_t)1 << 30;
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const locked here;
    const bool from_host = kind == cudaMemcpyHostToDevice, to_host = kind == cudaMemcpyDeviceToHost;
    if (bytes == 0) return cudaSuccess;
    if (kind != cudaMemcpyDefault &&
        ((place_of(from) == ON_DEVICE) == from_host || (place_of(to) == ON_DEVICE) == to_host))
        return cudaErrorInvalidValue;
    struct work *const w = push(stream, COPY);
    w->to = to;
    w->from = from;
    w->bytes = bytes;
    if (place_of(from) == PAGEABLE) {
        w->owned = allocate(bytes);
        memcpy(w->owned, from, bytes);
    }
    if (place_of(to) == PAGEABLE) {
        waits++;
        finish(stream);
    }
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    const locked here;
    if (bytes == 0) return cudaSuccess;
    if (place_of(to) == PAGEABLE) return cudaErrorInvalidValue;
    struct work *const w = push(stream, FILL);
    w->to = to;
    w->value = value;
    w->bytes = bytes;
    return cudaSuccess;
}
