/* views.c - see views.h. */
#include "model/views.h"

enum { ALIGN_BYTES = 256 };

struct view arena_take(struct arena *a, enum dtype dtype, int64_t d0, int64_t d1, int64_t d2)
{
    const struct view v = {a->base ? a->base + a->used : NULL, {d0, d1, d2, 1}, dtype};
    const int64_t bytes = view_count(v) * (int64_t)dtype_bytes(dtype);
    a->used += (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    return v;
}

struct view arena_take_f32(struct arena *a, int64_t rows, int64_t cols)
{
    return arena_take(a, DTYPE_F32, rows, cols, 1);
}

int64_t arena_overlay(struct arena *a, int64_t since)
{
    const int64_t end = a->used;
    a->used = since;
    return end;
}

void arena_meet(struct arena *a, int64_t end)
{
    if (a->used < end) a->used = end;
}

struct view view_none(void)
{
    return (struct view){NULL, {0, 0, 0, 0}, DTYPE_F32};
}

struct view param_view(const struct param_table *t, void *slab, enum dtype dtype, enum param which,
                       int layer)
{
    const struct param_tensor *p = param_find(t, which, layer);
    if (!p) return view_none();
    char *const at = (char *)slab + p->offset * (int64_t)dtype_bytes(dtype);
    return p->matrix ? view_make(at, dtype, p->rows, p->cols) : view_make(at, dtype, p->cols, 1);
}

struct view product_view(const struct param_table *t, void *slab, enum dtype dtype,
                         enum param_product product, int layer)
{
    const struct param_matrix m = param_product(t, product, layer);
    char *const at = (char *)slab + m.offset * (int64_t)dtype_bytes(dtype);
    return view_make(at, dtype, m.rows, m.cols);
}

struct view view_rows(struct view v, int64_t begin, int64_t n)
{
    char *const at = (char *)v.data + begin * v.dim[1] * (int64_t)dtype_bytes(v.dtype);
    return view_make(at, v.dtype, n, v.dim[1]);
}
