/* norms.c - see norms.h. */
#include "snapshot/norms.h"

#include <string.h>
#include "base/memory.h"

/* Of so many judgings, every how-manieth has a row. */
static int64_t stride_of(int64_t judgings)
{
    int64_t stride = 1;
    while (judgings > 0 && (judgings - 1) / stride >= NORMS_ROWS)
        stride *= 2;
    return stride;
}

static size_t row_floats(const struct norms *x)
{
    return (size_t)NORM_KINDS * (size_t)x->tensors;
}

bool norms_wants(const struct norms *x)
{
    return x->heard % stride_of(x->heard + 1) == 0;
}

static enum shoal_status make_room(struct norms *x, int64_t rows)
{
    int64_t *step = NULL;
    float *value = NULL;
    if (rows <= x->room) return SHOAL_OK;
    SHOAL_TRY(mem_alloc((size_t)rows * sizeof *step, "norms of tensors", &step));
    const enum shoal_status st =
        mem_alloc((size_t)rows * row_floats(x) * sizeof *value, "norms of tensors", &value);
    if (st != SHOAL_OK) {
        mem_free(step);
        return st;
    }
    if (x->n > 0) {
        memcpy(step, x->step, (size_t)x->n * sizeof *step);
        memcpy(value, x->value, (size_t)x->n * row_floats(x) * sizeof *value);
    }
    mem_free(x->step);
    mem_free(x->value);
    x->step = step;
    x->value = value;
    x->room = rows;
    return SHOAL_OK;
}

/* Keep rows 0, 2, 4, ... */
static void thin(struct norms *x)
{
    const size_t floats = row_floats(x);
    for (int64_t i = 1; 2 * i < x->n; i++) {
        x->step[i] = x->step[2 * i];
        memcpy(x->value + (size_t)i * floats, x->value + (size_t)(2 * i) * floats,
               floats * sizeof *x->value);
    }
    x->n = (x->n + 1) / 2;
}

enum shoal_status norms_add(struct norms *x, int tensors, int64_t step, float **row)
{
    *row = NULL;
    SHOAL_ASSERT(x->heard == 0 || x->tensors == tensors);
    x->tensors = tensors;
    if (!norms_wants(x)) {
        x->heard++;
        return SHOAL_OK;
    }
    if (x->n == NORMS_ROWS) thin(x);
    const int64_t rows = 2 * x->room < NORMS_ROWS ? 2 * x->room + 16 : NORMS_ROWS;
    if (x->n == x->room) SHOAL_TRY(make_room(x, rows));
    x->heard++;
    x->step[x->n] = step;
    *row = x->value + (size_t)x->n * row_floats(x);
    x->n++;
    return SHOAL_OK;
}

enum shoal_status norms_make(struct norms *x, int tensors, int64_t judgings)
{
    const int64_t stride = stride_of(judgings), n = (judgings + stride - 1) / stride;
    *x = (struct norms){.tensors = tensors, .heard = judgings};
    SHOAL_TRY(make_room(x, n));
    x->n = n;
    return SHOAL_OK;
}

float *norms_last(const struct norms *x, int64_t step, enum norm_kind kind)
{
    if (x->n == 0 || x->step[x->n - 1] != step) return NULL;
    return x->value + (size_t)(x->n - 1) * row_floats(x) + (size_t)kind * (size_t)x->tensors;
}

enum shoal_status norms_copy(struct norms *to, const struct norms *from)
{
    if (to->tensors != from->tensors) norms_free(to);
    to->tensors = from->tensors;
    to->n = 0;
    SHOAL_TRY(make_room(to, from->n));
    to->n = from->n;
    to->heard = from->heard;
    if (from->n == 0) return SHOAL_OK;
    memcpy(to->step, from->step, (size_t)from->n * sizeof *to->step);
    memcpy(to->value, from->value, (size_t)from->n * row_floats(from) * sizeof *to->value);
    return SHOAL_OK;
}

void norms_free(struct norms *x)
{
    mem_free(x->step);
    mem_free(x->value);
    *x = (struct norms){.tensors = 0};
}
