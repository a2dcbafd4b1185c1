/* queue.h - what happens next: events by time, and of one time in the order they were added. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct queue_item {
    int64_t time_us;
    uint32_t number; /* of the push; breaks ties */
    uint32_t what;
};

struct queue {
    struct queue_item *heap; /* owned; four children each */
    int64_t n, capacity;
    uint32_t pushed;
};

void queue_push(struct queue *q, int64_t time_us, uint32_t what);
/* Whether there was one. */
bool queue_pop(struct queue *q, struct queue_item *out);
/* Forget all events; keeps the memory. */
void queue_clear(struct queue *q);
void queue_free(struct queue *q);
