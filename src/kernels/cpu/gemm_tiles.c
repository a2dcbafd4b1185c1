/* gemm_tiles.c - matrix products on tile.h.
 *
 * The result is cut into parts, one for a thread. A part packs panels of b, as many as fit into the
 * second-level cache, and walks the rows of a over them, a tile's rows against all panels before
 * the next, so that these stay in the first-level cache. Rows of a that run along k are read as
 * they are; for GEMM_TN, and where rows of bf16 are no whole pairs, a strip of them is packed as a
 * panel and read as its transpose. While k is one block the sums stay in registers and go through
 * the epilogue; longer k goes block by block, with sums built up in c itself if it is f32 and
 * nothing follows, else in scratch. The order of every sum depends on the shape only. */
#include "kernels/cpu/gemm_parts.h"
#include "kernels/cpu/tile.h"

enum {
    COLS = TILE_COLS,
    ROWS = TILE_ROWS,
    STRIP = 48,         /* rows of a at a time, where they are not packed */
    WHOLE_BYTES = 4096, /* of a row of k that is one block */
    BLOCK_BYTES = 2048, /* of a block of it otherwise; where strips of a are packed: */
    PACKED_BLOCK_BYTES = 1536,
    SUMS_BYTES = 1536 << 10, /* most for sums in scratch */
    PACK_COST = 10           /* packing an element of b takes as long as this many multiply-adds */
};

/* How a product is cut. */
struct plan {
    int64_t row_unit; /* rows a thread takes at a time */
    int64_t strip;
    int64_t panels; /* column panels */
    int64_t block_k;
    int64_t group; /* panels packed at a time */
    int64_t chunk; /* rows accumulated at a time */
    int row_parts, col_parts;
    bool is16;   /* a and b are bf16 */
    bool packs;  /* strips of a are packed */
    bool direct; /* sums are built up in c itself */
    bool whole;  /* k is one block */
    size_t acc_bytes, pack_bytes, a_bytes;
};

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}
static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Cut the result so that the largest part is small, counting what each part has to pack. */
static void plan_parts(struct plan *p, const struct gemm *g, int threads)
{
    const int64_t units = ceil_div(g->m, p->row_unit);
    double best = 0.0;
    for (int cols = 1; cols <= threads; cols++) {
        const int rows = threads / cols;
        const double r = (double)(ceil_div(units, rows) * p->row_unit);
        const double c = (double)(ceil_div(p->panels, cols) * COLS);
        const double cost = r * c + PACK_COST * (p->packs ? r + c : c);
        if (best == 0.0 || cost < best) {
            best = cost;
            p->row_parts = rows;
            p->col_parts = cols;
        }
    }
}

static struct plan plan_make(const struct gemm *g, const struct gemm_data *d,
                             const struct cpu_device *cpu, int threads)
{
    struct plan p = {.is16 = g->in == DTYPE_BF16};
    const int64_t size = p.is16 ? 2 : 4;
    p.packs = g->kind == GEMM_TN || (p.is16 && g->k % 2 != 0);
    const int64_t most = (p.packs                      ? PACKED_BLOCK_BYTES
                          : g->k * size <= WHOLE_BYTES ? WHOLE_BYTES
                                                       : BLOCK_BYTES) /
                         size;
    /* A packed strip is one panel: parts that begin at its multiples share none. */
    p.row_unit = p.packs ? COLS : ROWS;
    p.strip = p.packs ? COLS : STRIP;
    p.panels = ceil_div(g->n, COLS);
    p.block_k = ceil_div(ceil_div(g->k, ceil_div(g->k, most)), 2) * 2;
    p.whole = p.block_k >= g->k;
    p.direct =
        g->out == DTYPE_F32 && !d->bias && (g->epilogue == GEMM_STORE || g->epilogue == GEMM_ADD);
    plan_parts(&p, g, threads);
    const int64_t panel_bytes = tile_panel_bytes(p.block_k, p.is16);
    p.group = least(cpu->panels_bytes / panel_bytes, ceil_div(p.panels, p.col_parts));
    if (p.group < 1) p.group = 1;
    p.chunk = g->m;
    p.pack_bytes = (size_t)(p.group * panel_bytes);
    p.a_bytes = p.packs ? (size_t)panel_bytes : 0;
    if (!p.whole && !p.direct) {
        p.chunk = SUMS_BYTES / (p.group * COLS * 4) / STRIP * STRIP;
        p.chunk = least(p.chunk, ceil_div(g->m, p.row_parts) + p.row_unit);
        p.acc_bytes = (size_t)(p.chunk * p.group * COLS * 4);
    }
    return p;
}

/* One thread's part of a product, and where it is in it. */
struct part {
    const struct plan *p;
    const struct gemm *g;
    const struct gemm_data *d;
    char *packed, *a_panel;       /* panels of b; the strip of a, if packed */
    float *acc;                   /* sums, where they are built up in scratch */
    int64_t rows[2], panels[2];   /* of the part: first, end */
    int64_t row, panel, n_panels; /* now: chunk's first row, group's first panel, its panels */
    int64_t k0, nk;               /* now: block of k */
};

/* This block of k of panel i of the group. */
static char *panel_at(const struct part *t, int64_t i)
{
    return t->packed + i * tile_panel_bytes(t->nk, t->p->is16);
}

static void pack_group(const struct part *t)
{
    const struct gemm *g = t->g;
    const bool is16 = t->p->is16;
    for (int64_t i = 0; i < t->n_panels; i++) {
        const int64_t j = (t->panel + i) * COLS, n = least(g->n - j, COLS);
        if (g->kind == GEMM_NT)
            tile_pack_transposed(panel_at(t, i), element_at(t->d->b, j * g->k + t->k0, is16), g->k,
                                 t->nk, n, is16);
        else
            tile_pack(panel_at(t, i), element_at(t->d->b, t->k0 * g->n + j, is16), g->n, t->nk, n,
                      is16);
    }
}

/* This block of k of n rows of a from i on, packed if need be. */
static struct tile_left left_of(const struct part *t, int64_t i, int64_t n)
{
    const struct gemm *g = t->g;
    const bool is16 = t->p->is16, tn = g->kind == GEMM_TN;
    const void *const a = element_at(t->d->a, tn ? t->k0 * g->m + i : i * g->k + t->k0, is16);
    if (!t->p->packs) return tile_left_rows(a, g->k, is16);
    if (tn)
        tile_pack(t->a_panel, a, g->m, t->nk, n, is16);
    else
        tile_pack_transposed(t->a_panel, a, g->k, t->nk, n, is16);
    return tile_left_panel(t->a_panel, is16);
}

/* What a tile of the result is stored to, and joined with. */
static struct tile_soon result_at(const struct part *t, int64_t i, int64_t j, int64_t cols)
{
    const bool is16 = t->g->out == DTYPE_BF16;
    const int64_t at = i * t->g->n + j, size = is16 ? 2 : 4;
    return (struct tile_soon){
        {element_at(t->d->c, at, is16), t->d->aux ? element_at(t->d->aux, at, is16) : NULL},
        t->g->n * size,
        (int)ceil_div(cols * size, TILE_LINE)};
}

/* ROWS or fewer rows of a, from row i of the result on, times one panel of the group. */
static void tile(const struct part *t, struct tile_left a, int64_t i, int64_t panel, int64_t rows)
{
    const struct gemm *g = t->g;
    const int64_t j = (t->panel + panel) * COLS, cols = least(g->n - j, COLS);
    const void *const b = panel_at(t, panel);
    const bool first = t->k0 == 0, last = t->k0 + t->nk == g->k;
    const struct tile_soon soon = result_at(t, i, j, cols);
    if (t->p->direct) {
        if (cols == COLS) {
            float *const c = (float *)t->d->c + i * g->n + j;
            tile_multiply_toward(c, g->n, a, b, t->nk, (int)rows, !first || g->epilogue == GEMM_ADD,
                                 &soon);
            return;
        }
        float sum[ROWS * COLS];
        struct gemm e = *g;
        if (!first) e.epilogue = GEMM_ADD;
        tile_multiply(sum, COLS, a, b, t->nk, (int)rows, false);
        gemm_epilogue(&e, t->d, sum, COLS, i, j, rows, cols);
        return;
    }
    float here[ROWS * COLS];
    float *sum = here;
    int64_t sum_row = COLS;
    if (!t->p->whole) {
        sum_row = t->n_panels * COLS;
        sum = t->acc + (i - t->row) * sum_row + panel * COLS;
    }
    if (!last) {
        tile_multiply(sum, sum_row, a, b, t->nk, (int)rows, !first);
        return;
    }
    tile_multiply_toward(sum, sum_row, a, b, t->nk, (int)rows, !first, &soon);
    gemm_epilogue(g, t->d, sum, sum_row, i, j, rows, cols);
}

/* a_sums of n rows from i on: the packed strip times a column of ones. */
static void sums(const struct part *t, int64_t i, int64_t n)
{
    const uint16_t one = 0x3f80, pair[2] = {one, one};
    const float single = 1.0f;
    const bool is16 = t->p->is16;
    const struct tile_left ones = {is16 ? (const void *)pair : &single, 0, 0, is16};
    float sum[COLS] = {0};
    memcpy(sum, t->d->a_sums + i, (size_t)n * sizeof *sum);
    tile_multiply(sum, COLS, ones, t->a_panel, t->nk, 1, true);
    memcpy(t->d->a_sums + i, sum, (size_t)n * sizeof *sum);
}

/* `rows` rows from i on, at most p->strip, against all panels of the group. */
static void strip(const struct part *t, int64_t i, int64_t rows)
{
    const struct tile_left a = left_of(t, i, rows);
    if (t->d->a_sums && t->panel == 0) sums(t, i, rows);
    for (int64_t r = 0; r < rows; r += ROWS)
        for (int64_t panel = 0; panel < t->n_panels; panel++)
            tile(t, tile_left_at(a, r), i + r, panel, least(rows - r, ROWS));
}

static void part_run(struct part *t)
{
    const struct plan *p = t->p;
    for (t->panel = t->panels[0]; t->panel < t->panels[1]; t->panel += p->group) {
        t->n_panels = least(p->group, t->panels[1] - t->panel);
        for (t->row = t->rows[0]; t->row < t->rows[1]; t->row += p->chunk) {
            const int64_t end = least(t->row + p->chunk, t->rows[1]);
            for (t->k0 = 0; t->k0 < t->g->k; t->k0 += p->block_k) {
                t->nk = least(p->block_k, t->g->k - t->k0);
                pack_group(t);
                for (int64_t i = t->row; i < end; i += p->strip)
                    strip(t, i, least(p->strip, end - i));
            }
        }
    }
}

enum shoal_status gemm_tiles_run(struct device *dev, const struct gemm *g,
                                 const struct gemm_data *d)
{
    const int threads = cpu_team(dev, g->m * g->n / 16 * g->k);
    const struct plan p = plan_make(g, d, cpu_of(dev), threads);
    const size_t bytes = p.pack_bytes + p.a_bytes + p.acc_bytes;
    const int parts = p.row_parts * p.col_parts;
    char *scratch;
    SHOAL_TRY(cpu_scratch(dev, bytes * (size_t)parts, &scratch));
    const int64_t units = ceil_div(g->m, p.row_unit);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int i = 0; i < parts; i++) {
        const int r = i / p.col_parts, c = i % p.col_parts;
        char *const mine = scratch + bytes * (size_t)i;
        struct part t = {.p = &p, .g = g, .d = d};
        t.packed = mine;
        t.a_panel = mine + p.pack_bytes;
        t.acc = (float *)(void *)(mine + p.pack_bytes + p.a_bytes);
        t.rows[0] = units * r / p.row_parts * p.row_unit;
        t.rows[1] = least(units * (r + 1) / p.row_parts * p.row_unit, g->m);
        t.panels[0] = p.panels * c / p.col_parts;
        t.panels[1] = p.panels * (c + 1) / p.col_parts;
        part_run(&t);
    }
    return SHOAL_OK;
}
