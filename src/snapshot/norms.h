/* norms.h - how large every tensor of an expert was over time, how strong its gradient, and how far
 * from what it was pulled toward. One row a judging; rows never number more than NORMS_ROWS: when
 * they would, every second one goes, and from then on only every second judging, then every fourth,
 * ... is noted. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/status.h"

enum norm_kind {
    NORM_WEIGHT,   /* of the tensor */
    NORM_GRADIENT, /* of AdamW's first moment, the running mean of its gradient */
    NORM_DISTANCE, /* of what it lacks to the attractor of the round after the judging; NAN: there
                      was none for this tensor, or it is not known yet */
    NORM_KINDS
};
enum { NORMS_ROWS = 1024 };

struct norms {
    int tensors;     /* of an expert, in slab order (params.h) */
    int64_t n, room; /* rows there are, and allocated */
    int64_t heard;   /* judgings so far; which of them have rows follows from it */
    int64_t *step;   /* n */
    float *value;    /* (n, NORM_KINDS, tensors) */
};

/* Whether the next judging gets a row. */
bool norms_wants(const struct norms *x);
/* Count a judging of an expert with so many tensors; *row: its (NORM_KINDS, tensors) values, to be
 * filled, or NULL when it gets none. SHOAL_ENOMEM leaves everything as it was. */
enum shoal_status norms_add(struct norms *x, int tensors, int64_t step, float **row);
/* Room for the rows that so many judgings have left, which is as many as there are then; their
 * values are yet to be filled in. SHOAL_ENOMEM. */
enum shoal_status norms_make(struct norms *x, int tensors, int64_t judgings);
/* The values of one kind in the last row if that is of this step; else NULL. */
float *norms_last(const struct norms *x, int64_t step, enum norm_kind kind);
/* *to, whose memory is used again, becomes a copy. SHOAL_ENOMEM. */
enum shoal_status norms_copy(struct norms *to, const struct norms *from);
/* Empty afterwards. */
void norms_free(struct norms *x);
