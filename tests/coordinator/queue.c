/* queue.c - a heap of four children: half the levels of two, and the children share a line of
 * cache. */
#include "coordinator/queue.h"
#include <stdlib.h>
#include <string.h>

static bool before(const struct queue_item *a, const struct queue_item *b)
{
    return a->time_us != b->time_us ? a->time_us < b->time_us : a->number < b->number;
}

static void grow(struct queue *q)
{
    q->capacity = q->capacity > 0 ? 2 * q->capacity : 256;
    q->heap = realloc(q->heap, (size_t)q->capacity * sizeof *q->heap);
    if (!q->heap) abort();
}

void queue_push(struct queue *q, int64_t time_us, uint32_t what)
{
    const struct queue_item item = {time_us, q->pushed++, what};
    if (q->n == q->capacity) grow(q);
    int64_t at = q->n++;
    for (; at > 0 && before(&item, &q->heap[(at - 1) / 4]); at = (at - 1) / 4)
        q->heap[at] = q->heap[(at - 1) / 4];
    q->heap[at] = item;
}

static int64_t first_child(const struct queue *q, int64_t at)
{
    const int64_t begin = 4 * at + 1, end = begin + 4 < q->n ? begin + 4 : q->n;
    int64_t best = begin;
    for (int64_t i = begin + 1; i < end; i++)
        if (before(&q->heap[i], &q->heap[best])) best = i;
    return best;
}

bool queue_pop(struct queue *q, struct queue_item *out)
{
    if (q->n == 0) return false;
    *out = q->heap[0];
    const struct queue_item last = q->heap[--q->n];
    int64_t at = 0;
    while (4 * at + 1 < q->n) {
        const int64_t child = first_child(q, at);
        if (before(&last, &q->heap[child])) break;
        q->heap[at] = q->heap[child];
        at = child;
    }
    if (q->n > 0) q->heap[at] = last;
    return true;
}

void queue_clear(struct queue *q)
{
    q->n = 0;
    q->pushed = 0;
}

void queue_free(struct queue *q)
{
    free(q->heap);
    memset(q, 0, sizeof *q);
}
