/* job.c - see job.h. */
#include "base/job.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/memory.h"

struct job {
    pthread_t thread;
    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t change;
    job_fn fn; /* NULL: nothing to do */
    void *argument;
    bool ends;
    enum shoal_status result;
    char failure[2048]; /* text of the result; failures are kept per thread */
    bool started;       /* the caller's own: between job_start and job_wait */
};

/* A mutex that is neither recursive nor checked, and a valid condition, cannot fail. */
static void lock(struct job *j)
{
    (void)pthread_mutex_lock(&j->lock);
}

static void unlock(struct job *j)
{
    (void)pthread_mutex_unlock(&j->lock);
}

static void wait_for_change(struct job *j)
{
    (void)pthread_cond_wait(&j->change, &j->lock);
}

static void run_one(struct job *j)
{
    const job_fn fn = j->fn;
    void *const argument = j->argument;
    unlock(j);
    const enum shoal_status result = fn(argument);
    lock(j);
    j->result = result;
    (void)snprintf(j->failure, sizeof j->failure, "%s",
                   result == SHOAL_OK ? "" : shoal_failure_text());
    j->fn = NULL;
    (void)pthread_cond_broadcast(&j->change);
}

static void *live(void *argument)
{
    struct job *const j = argument;
    lock(j);
    while (!j->ends) {
        if (j->fn)
            run_one(j);
        else
            wait_for_change(j);
    }
    unlock(j);
    return NULL;
}

enum shoal_status job_create(struct job **out)
{
    struct job *j = NULL;
    *out = NULL;
    SHOAL_TRY(mem_alloc(sizeof *j, "a thread", &j));
    (void)pthread_mutex_init(&j->lock, NULL);
    (void)pthread_cond_init(&j->change, NULL);
    const int code = pthread_create(&j->thread, NULL, live, j);
    if (code != 0) {
        (void)pthread_cond_destroy(&j->change);
        (void)pthread_mutex_destroy(&j->lock);
        mem_free(j);
        return SHOAL_FAIL(SHOAL_ENOMEM,
                          "cannot start a thread: %s; raise the limit on processes (ulimit -u)",
                          strerror(code));
    }
    *out = j;
    return SHOAL_OK;
}

void job_destroy(struct job **job)
{
    struct job *const j = *job;
    if (!j) return;
    (void)job_wait(j);
    lock(j);
    j->ends = true;
    (void)pthread_cond_broadcast(&j->change);
    unlock(j);
    (void)pthread_join(j->thread, NULL);
    (void)pthread_cond_destroy(&j->change);
    (void)pthread_mutex_destroy(&j->lock);
    mem_free(j);
    *job = NULL;
}

void job_start(struct job *j, job_fn fn, void *argument)
{
    SHOAL_ASSERT(!j->started);
    lock(j);
    j->started = true;
    j->fn = fn;
    j->argument = argument;
    (void)pthread_cond_broadcast(&j->change);
    unlock(j);
}

bool job_running(const struct job *j)
{
    return j->started;
}

enum shoal_status job_wait(struct job *j)
{
    if (!j->started) return SHOAL_OK;
    lock(j);
    while (j->fn)
        wait_for_change(j);
    const enum shoal_status result = j->result;
    unlock(j);
    j->started = false;
    return result == SHOAL_OK ? SHOAL_OK : SHOAL_FAIL(result, "%s", j->failure);
}
