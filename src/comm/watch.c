/* watch.c - heartbeats: who is still there, whatever the others are doing.
 *
 * One thread per rank. Workers and the coordinator send each other a beat now and then; workers
 * also take here what the coordinator has to say of the members, because their other threads may
 * wait in an exchange that will never end. A beat is sent only when the one before has left, so
 * that somebody who does not listen costs one request. A rank that was stopped itself, and finds
 * that much time has passed, first listens and then misses nobody for it. */
#define SHOAL_COMM_PRIVATE
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include "base/clock.h"
#include "base/memory.h"
#include "comm/comm_impl.h"

static const double tick_s = 20e-3;
static const double standstill_s = 1.0; /* between two ticks: this rank did not run */

struct watch {
    struct comm *c; /* borrowed */
    double heartbeat_s, deadline_s;
    pthread_t thread;
    atomic_bool ends, farewell, orphan;
    atomic_uint epoch; /* of news */
    /* Of the thread alone. */
    int n_peers, first_peer; /* their world ranks */
    MPI_Request *beat;       /* owned; n_peers */
    double beat_s, ticked_s; /* when the last was sent; when the thread last ran */
    comm_out_fn out;
    pthread_mutex_t lock; /* of what follows */
    double *heard_s;      /* owned; n_peers: when */
    struct comm_news news;
};

static void lock(struct watch *w)
{
    (void)pthread_mutex_lock(&w->lock);
}

static void unlock(struct watch *w)
{
    (void)pthread_mutex_unlock(&w->lock);
}

static size_t news_bytes(const struct comm *c)
{
    return offsetof(struct comm_news, live) + ((size_t)c->n_workers + 63) / 64 * sizeof(uint64_t);
}

static bool is_in(const struct comm_news *news, int worker)
{
    return (news->live[worker / 64] >> worker % 64 & 1) != 0;
}

/* Take a message with this tag, if there is one. MPI's failures show as silence. */
static bool take(struct watch *w, enum comm_tag tag, void *into, size_t bytes, int *from)
{
    MPI_Status status;
    int waiting = 0;
    const int source = w->c->worker < 0 ? MPI_ANY_SOURCE : 0;
    if (MPI_Iprobe(source, (int)tag, w->c->records, &waiting, &status) != MPI_SUCCESS || !waiting)
        return false;
    *from = status.MPI_SOURCE;
    return MPI_Recv(into, (int)bytes, MPI_BYTE, *from, (int)tag, w->c->records,
                    MPI_STATUS_IGNORE) == MPI_SUCCESS;
}

static void note_news(struct watch *w, const struct comm_news *news)
{
    lock(w);
    if (news->epoch >= w->news.epoch) w->news = *news;
    unlock(w);
    atomic_store(&w->epoch, news->epoch);
    if (!is_in(news, w->c->worker)) w->out();
}

static void listen_to_all(struct watch *w)
{
    struct comm_news news;
    unsigned char nothing = 0;
    int from = 0;
    while (take(w, COMM_TAG_BEAT, &nothing, sizeof nothing, &from)) {
        lock(w);
        w->heard_s[from - w->first_peer] = clock_now_s();
        unlock(w);
    }
    if (w->c->worker < 0) return;
    memset(&news, 0, sizeof news);
    while (take(w, COMM_TAG_NEWS, &news, news_bytes(w->c), &from))
        note_news(w, &news);
    if (take(w, COMM_TAG_FAREWELL, &nothing, sizeof nothing, &from))
        atomic_store(&w->farewell, true);
}

static void beat(struct watch *w)
{
    const double now_s = clock_now_s();
    if (now_s - w->beat_s < w->heartbeat_s) return;
    w->beat_s = now_s;
    for (int i = 0; i < w->n_peers; i++) {
        int gone = 1;
        if (w->beat[i] != MPI_REQUEST_NULL &&
            MPI_Test(&w->beat[i], &gone, MPI_STATUS_IGNORE) != MPI_SUCCESS)
            continue;
        if (gone && MPI_Isend("", 1, MPI_BYTE, w->first_peer + i, COMM_TAG_BEAT, w->c->records,
                              &w->beat[i]) != MPI_SUCCESS)
            w->beat[i] = MPI_REQUEST_NULL;
    }
}

static void forgive_standstill(struct watch *w)
{
    const double now_s = clock_now_s(), gap_s = now_s - w->ticked_s;
    w->ticked_s = now_s;
    if (gap_s < standstill_s) return;
    lock(w);
    for (int i = 0; i < w->n_peers; i++)
        w->heard_s[i] = now_s;
    unlock(w);
}

static void *live(void *watch)
{
    struct watch *const w = watch;
    while (!atomic_load(&w->ends)) {
        listen_to_all(w);
        forgive_standstill(w);
        beat(w);
        if (w->c->worker >= 0 && clock_now_s() - w->heard_s[0] > w->deadline_s)
            atomic_store(&w->orphan, true);
        clock_sleep_s(tick_s);
    }
    return NULL;
}

/* ---- comm.h ---- */

static void destroy(struct watch *w)
{
    (void)pthread_mutex_destroy(&w->lock);
    mem_free(w->beat);
    mem_free(w->heard_s);
    mem_free(w);
}

static enum shoal_status start(struct watch *w)
{
    const size_t n = (size_t)w->n_peers;
    SHOAL_TRY(mem_alloc(n * sizeof *w->beat, "heartbeats", &w->beat));
    SHOAL_TRY(mem_alloc(n * sizeof *w->heard_s, "heartbeats", &w->heard_s));
    w->ticked_s = clock_now_s();
    for (int i = 0; i < w->n_peers; i++) {
        w->beat[i] = MPI_REQUEST_NULL;
        w->heard_s[i] = w->ticked_s;
    }
    const int code = pthread_create(&w->thread, NULL, live, w);
    SHOAL_CHECK(code == 0, SHOAL_ENOMEM,
                "cannot start a thread: %s; raise the limit on processes (ulimit -u)",
                strerror(code));
    return SHOAL_OK;
}

enum shoal_status comm_watch(struct comm *c, double heartbeat_s, double deadline_s, comm_out_fn out)
{
    struct watch *w = NULL;
    if (deadline_s <= 0 || c->world_size == 1 || !c->threads) return SHOAL_OK;
    SHOAL_CHECK(c->n_workers <= COMM_MAX_WORKERS, SHOAL_EARG, "%d workers", c->n_workers);
    SHOAL_TRY(mem_alloc(sizeof *w, "heartbeats", &w));
    w->c = c;
    w->heartbeat_s = heartbeat_s < deadline_s / 4 ? heartbeat_s : deadline_s / 4;
    w->deadline_s = deadline_s;
    w->out = out;
    w->n_peers = c->worker < 0 ? c->n_workers : 1;
    w->first_peer = c->worker < 0 ? 1 : 0;
    (void)pthread_mutex_init(&w->lock, NULL);
    const enum shoal_status st = start(w);
    if (st != SHOAL_OK)
        destroy(w);
    else
        c->watch = w;
    return st;
}

void comm_unwatch(struct comm *c)
{
    struct watch *const w = c->watch;
    if (!w) return;
    atomic_store(&w->ends, true);
    (void)pthread_join(w->thread, NULL);
    for (int i = 0; i < w->n_peers; i++)
        if (w->beat[i] != MPI_REQUEST_NULL) MPI_Request_free(&w->beat[i]);
    c->watch = NULL;
    destroy(w);
}

bool comm_watches(const struct comm *c)
{
    return c->watch != NULL;
}

int comm_silent(struct comm *c, double *silent_s)
{
    struct watch *const w = c->watch;
    int found = -1;
    if (!w || c->worker >= 0) return -1;
    lock(w);
    const double now_s = clock_now_s();
    for (int i = 0; i < w->n_peers && found < 0; i++) {
        *silent_s = now_s - w->heard_s[i];
        if (!w->news.epoch ? true : is_in(&w->news, i)) found = *silent_s > w->deadline_s ? i : -1;
    }
    unlock(w);
    return found;
}

enum shoal_status comm_announce(struct comm *c, const struct comm_news *news)
{
    struct watch *const w = c->watch;
    SHOAL_ASSERT(w && c->worker < 0);
    lock(w);
    w->news = *news;
    unlock(w);
    atomic_store(&w->epoch, news->epoch);
    for (int i = 0; i < c->n_workers; i++)
        SHOAL_TRY(comm_send(c, i + 1, COMM_TAG_NEWS, news, news_bytes(c)));
    return SHOAL_OK;
}

enum shoal_status comm_bid_farewell(struct comm *c)
{
    for (int i = 0; c->watch && i < c->n_workers; i++)
        if (c->live_rank[i] >= 0) SHOAL_TRY(comm_send(c, i + 1, COMM_TAG_FAREWELL, "", 1));
    return SHOAL_OK;
}

bool comm_is_dismissed(const struct comm *c)
{
    return !c->watch || atomic_load(&c->watch->farewell) || atomic_load(&c->watch->orphan);
}

bool comm_changed(struct comm *c, struct comm_news *out)
{
    struct watch *const w = c->watch;
    if (!w || atomic_load(&w->epoch) <= c->epoch) return false;
    if (!out) return true;
    lock(w);
    *out = w->news;
    unlock(w);
    return true;
}

bool comm_is_orphan(const struct comm *c)
{
    return c->watch && atomic_load(&c->watch->orphan);
}

bool comm_has_lost(const struct comm *c)
{
    return comm_is_orphan(c) || (c->watch && atomic_load(&c->watch->epoch) > 0);
}

enum shoal_status comm_look_up(struct comm *c)
{
    struct watch *const w = c->watch;
    if (!w) return SHOAL_OK;
    SHOAL_CHECK(!atomic_load(&w->orphan), SHOAL_EORPHAN,
                "the coordinator (rank 0) has been silent for %g s and is lost", w->deadline_s);
    SHOAL_CHECK(atomic_load(&w->epoch) <= c->epoch, SHOAL_EPEER, "a worker was lost");
    return SHOAL_OK;
}
