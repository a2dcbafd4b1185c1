/* views.h - making views: of an allocation piece by piece, and of parameters. Private to src/model.
 */
#pragma once
#include "kernels/kernels.h"
#include "model/params.h"

/* One allocation handed out from the front. With base NULL nothing is handed out, only measured. */
struct arena {
    char *base;
    int64_t used; /* bytes */
};

/* The next (d0, d1, d2) elements; data NULL while measuring. */
struct view arena_take(struct arena *a, enum dtype dtype, int64_t d0, int64_t d1, int64_t d2);
/* The next (rows, cols) f32. */
struct view arena_take_f32(struct arena *a, int64_t rows, int64_t cols);
/* Whatever was taken since the arena had used `since` bytes may be overlaid by what is taken until
 * arena_meet, because the two are never needed together:
 *   const int64_t begin = a.used; take...; const int64_t end = arena_overlay(&a, begin); take...;
 *   arena_meet(&a, end); */
int64_t arena_overlay(struct arena *a, int64_t since);
void arena_meet(struct arena *a, int64_t end);

/* No tensor, where a kernel allows that. */
struct view view_none(void);
/* One tensor in a slab of f32 or bf16: (rows, cols), or (n) for vectors; none where the
 * architecture has none. */
struct view param_view(const struct param_table *t, void *slab, enum dtype dtype, enum param which,
                       int layer);
/* The matrix of a product in a slab. */
struct view product_view(const struct param_table *t, void *slab, enum dtype dtype,
                         enum param_product product, int layer);
/* Rows begin .. begin + n - 1 of a 2-D view. */
struct view view_rows(struct view v, int64_t begin, int64_t n);
