/* streams.cpp - streams, events and graphs of the emulated runtime.
 *
 * What is queued is done as late as CUDA allows: when somebody waits for it, or asks an event for
 * the third time. Until then a copy from pinned memory has not read it, and what a copy or a kernel
 * will bring is not there; so whoever does not wait, or waits for another stream, gets something
 * else. Copies from and to memory that is not pinned behave as documented: the former have read it
 * when they return, the latter are done. Freeing memory waits for everything. While a thread
 * captures a graph it may neither wait nor allocate, and a graph is carried out from its own
 * memory, so it must outlive its launches. One lock makes all calls safe on several threads. */
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

/* ---- streams --------------------------------------------------------------------------------- */

enum kind { LAUNCH, CALL, COPY, FILL, RECORD, WAIT, GRAPH };

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
    const struct emulated_graph *graph;
};

/* As captured, or as it can be launched. */
struct emulated_graph {
    struct work *first, **last;
    bool broken; /* something was called that cannot be captured */
};

struct emulated_stream {
    struct emulated_stream *next;
    struct work *first, **last;
    uint64_t done;               /* newest ticket that was met */
    struct emulated_graph *into; /* what is queued is captured; NULL: it is not */
};

struct emulated_event {
    cudaStream_t of; /* NULL: never recorded */
    uint64_t ticket;
    int looks;
};

static struct emulated_stream *streams;
static uint64_t tickets;
static int waits;
static struct emulated_graphs graphs;
static thread_local struct emulated_graph *capturing;

/* Whether this thread captures, and so may not do what it was about to. */
static bool refused(void)
{
    if (capturing) capturing->broken = true;
    return capturing != NULL;
}

static struct work *push(cudaStream_t s, enum kind kind)
{
    struct work *const w = (struct work *)allocate(sizeof *w);
    struct work ***const last = s->into ? &s->into->last : &s->last;
    *w = work();
    w->kind = kind;
    **last = w;
    *last = &w->next;
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
    case GRAPH:
        for (struct work *x = w->graph->first; x; x = x->next)
            carry_out(s, x);
        break;
    }
}

static void drop(struct work *w)
{
    free(w->owned);
    free(w);
}

static void step(cudaStream_t s)
{
    struct work *const w = s->first;
    carry_out(s, w);
    s->first = w->next;
    if (!s->first) s->last = &s->first;
    drop(w);
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

struct emulated_graphs emulated_graphs_now(void)
{
    const locked here;
    return graphs;
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
    *s = {streams, NULL, NULL, 0, NULL};
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
    if (refused()) return cudaErrorStreamCaptureUnsupported;
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
    if (refused()) return cudaErrorStreamCaptureUnsupported;
    push(stream, RECORD)->ticket = ++tickets;
    *event = {stream, tickets, LOOKS};
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    const locked here;
    if (refused()) return cudaErrorStreamCaptureUnsupported;
    if (!event->of) return cudaSuccess;
    struct work *const w = push(stream, WAIT);
    w->of = event->of;
    w->ticket = event->ticket;
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event)
{
    const locked here;
    if (refused()) return cudaErrorStreamCaptureUnsupported;
    if (!event->of || event->of->done >= event->ticket) return cudaSuccess;
    if (event->looks-- > 0) return cudaErrorNotReady;
    reach(event->of, event->ticket);
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    const locked here;
    if (refused()) return cudaErrorStreamCaptureUnsupported;
    if (event->of) reach(event->of, event->ticket);
    return made_up("EMULATED_SYNC_FAILS");
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    const locked here;
    if (refused()) return cudaErrorStreamCaptureUnsupported;
    return emulated_block_make(p, bytes, false);
}
cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    const locked here;
    if (refused()) return cudaErrorStreamCaptureUnsupported;
    return emulated_block_make(p, bytes, true);
}
cudaError_t cudaFree(void *p)
{
    const locked here;
    if (refused()) return cudaErrorStreamCaptureUnsupported;
    waits++;
    finish_all();
    return emulated_block_free(p);
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
    if (kind != cudaMemcpyDefault && ((emulated_place_of(from) == ON_DEVICE) == from_host ||
                                      (emulated_place_of(to) == ON_DEVICE) == to_host))
        return cudaErrorInvalidValue;
    const bool pageable = emulated_place_of(from) == PAGEABLE || emulated_place_of(to) == PAGEABLE;
    if (pageable && refused()) return cudaErrorStreamCaptureUnsupported;
    struct work *const w = push(stream, COPY);
    w->to = to;
    w->from = from;
    w->bytes = bytes;
    if (emulated_place_of(from) == PAGEABLE) {
        w->owned = allocate(bytes);
        memcpy(w->owned, from, bytes);
    }
    if (emulated_place_of(to) == PAGEABLE) {
        waits++;
        finish(stream);
    }
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    const locked here;
    if (bytes == 0) return cudaSuccess;
    if (emulated_place_of(to) == PAGEABLE) return cudaErrorInvalidValue;
    struct work *const w = push(stream, FILL);
    w->to = to;
    w->value = value;
    w->bytes = bytes;
    return cudaSuccess;
}

/* ---- graphs ---------------------------------------------------------------------------------- */

static struct emulated_graph *make_graph(void)
{
    struct emulated_graph *const g = (struct emulated_graph *)allocate(sizeof *g);
    *g = {NULL, &g->first, false};
    return g;
}

static void drop_graph(struct emulated_graph *g)
{
    while (g->first) {
        struct work *const next = g->first->next;
        drop(g->first);
        g->first = next;
    }
    free(g);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
    const locked here;
    if (refused() || stream->into) return cudaErrorStreamCaptureUnsupported;
    stream->into = capturing = make_graph();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    const locked here;
    struct emulated_graph *const g = stream->into;
    *graph = NULL;
    if (!g || g != capturing) return cudaErrorInvalidValue;
    stream->into = capturing = NULL;
    if (!g->broken) {
        *graph = g;
        return cudaSuccess;
    }
    drop_graph(g);
    return cudaErrorStreamCaptureInvalidated;
}
/* The captured one's work passes over to what can be launched: nothing else is made of it here. */
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    const locked here;
    if (refused()) return cudaErrorStreamCaptureUnsupported;
    *exec = make_graph();
    (*exec)->first = graph->first;
    graph->first = NULL;
    graphs.made++;
    graphs.live++;
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    const locked here;
    push(stream, GRAPH)->graph = exec;
    graphs.launched++;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    const locked here;
    drop_graph(graph);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    const locked here;
    drop_graph(exec);
    graphs.live--;
    return cudaSuccess;
}
