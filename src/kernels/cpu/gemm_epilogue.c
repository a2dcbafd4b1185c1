/* gemm_epilogue.c - see gemm_parts.h. */
#include "kernels/cpu/gelu.h"
#include "kernels/cpu/gemm_parts.h"
#include "kernels/cpu/tile.h"

enum { COLS = TILE_COLS }; /* of most calls */

/* Where the values of a row come from and go to. p is a product, f32 or, in place, of c's type. */
struct segment {
    void *c, *aux;
    const float *bias;
    const void *p;
};

/* `count` values from j on; e, is16 (the type of c) and p16 are constants at every call. */
SPECIALISED void step(const struct segment *s, int64_t j, int64_t count, enum gemm_epilogue e,
                      bool is16, bool p16)
{
    vec v = vec_get(s->p, j, count, p16);
    if (s->bias) v += vec_get(s->bias, j, count, false);
    if (e == GEMM_ADD) v += vec_get(s->c, j, count, false);
    if (e == GEMM_RESIDUAL) v += vec_get(s->aux, j, count, false);
    if (e == GEMM_GELU_GRAD) v *= gelu_slope(vec_get(s->aux, j, count, is16), is16);
    if (e == GEMM_GELU) {
        vec_put(s->aux, j, count, is16, v);
        v = gelu(v, is16);
    }
    vec_put(s->c, j, count, is16, v);
}

SPECIALISED void finish_row(const struct segment *s, int64_t n, enum gemm_epilogue e, bool is16,
                            bool p16)
{
    int64_t j = 0;
    for (; j + VEC <= n; j += VEC)
        step(s, j, VEC, e, is16, p16);
    if (j < n) step(s, j, n - j, e, is16, p16);
}

/* e and is16 are constants at every call. */
SPECIALISED void rows_of(const struct gemm *g, const struct gemm_data *d, const float *p,
                         int64_t p_row, int64_t i, int64_t j, int64_t rows, int64_t cols,
                         enum gemm_epilogue e, bool is16)
{
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = (i + r) * g->n + j;
        const struct segment s = {element_at(d->c, at, is16),
                                  d->aux ? element_at(d->aux, at, is16) : NULL,
                                  d->bias ? d->bias + j : NULL, p + r * p_row};
        if (cols == COLS)
            finish_row(&s, COLS, e, is16, false);
        else
            finish_row(&s, cols, e, is16, false);
    }
}

void gemm_epilogue(const struct gemm *g, const struct gemm_data *d, const float *p, int64_t p_row,
                   int64_t i, int64_t j, int64_t rows, int64_t cols)
{
#define CASE(e, is16)                                                                              \
    if (g->epilogue == (e) && (g->out == DTYPE_BF16) == (is16))                                    \
    rows_of(g, d, p, p_row, i, j, rows, cols, e, is16)
    CASE(GEMM_STORE, true);
    CASE(GEMM_STORE, false);
    CASE(GEMM_ADD, false);
    CASE(GEMM_RESIDUAL, false);
    CASE(GEMM_GELU, true);
    CASE(GEMM_GELU, false);
    CASE(GEMM_GELU_GRAD, true);
    CASE(GEMM_GELU_GRAD, false);
#undef CASE
}

void gemm_epilogue_in_place(struct device *dev, const struct gemm *g, const struct gemm_data *d)
{
    const int64_t n = g->m * g->n;
    const bool is16 = g->out == DTYPE_BF16;
    const int team = cpu_team(dev, 4 * n);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < cpu_pieces(n); i++) {
        const int64_t count = cpu_piece(n, i);
        void *const c = element_at(d->c, i * CPU_PIECE, is16);
        const struct segment s = {c, element_at(d->aux, i * CPU_PIECE, is16), NULL, c};
        if (g->epilogue == GEMM_RESIDUAL)
            finish_row(&s, count, GEMM_RESIDUAL, false, false);
        else if (is16)
            finish_row(&s, count, GEMM_GELU_GRAD, true, true);
        else
            finish_row(&s, count, GEMM_GELU_GRAD, false, false);
    }
}
