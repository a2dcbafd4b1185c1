/* gelu.c - GELU over whole tensors; see gelu.h. */
#include "kernels/cpu/gelu.h"
#include "kernels/cpu/cpu.h"

SPECIALISED void gelu_piece(void *out, const void *x, int64_t n, bool is16)
{
    for (int64_t i = 0; i < n; i += VEC) {
        const int64_t count = n - i < VEC ? n - i : VEC;
        vec_put(out, i, count, is16, gelu(vec_get(x, i, count, is16), is16));
    }
}

enum shoal_status cpu_gelu(struct device *dev, struct view out, struct view x)
{
    const int64_t n = view_count(x);
    const bool is16 = x.dtype == DTYPE_BF16;
    const int team = cpu_team(dev, 4 * n);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t p = 0; p < cpu_pieces(n); p++) {
        void *const to = element_at(out.data, p * CPU_PIECE, is16);
        const void *const from = element_at(x.data, p * CPU_PIECE, is16);
        if (is16)
            gelu_piece(to, from, cpu_piece(n, p), true);
        else
            gelu_piece(to, from, cpu_piece(n, p), false);
    }
    return SHOAL_OK;
}
