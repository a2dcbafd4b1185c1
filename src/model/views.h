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

/* One tensor in a slab of f32 or bf16: (rows, cols), or (n) for vectors. */
struct view param_view(const struct param_table *t, void *slab, enum dtype dtype, enum param which,
                       int layer);
/* Rows begin .. begin + n - 1 of a 2-D view. */
struct view view_rows(struct view v, int64_t begin, int64_t n);
