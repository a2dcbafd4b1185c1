/* embed.cu - token and position embedding.
 *
 * The backward pass adds rows of dout to rows of dwte, and several may hit the same token. Without
 * atomics on floats: the rows' numbers are sorted by token, stably (two passes of a radix sort, 8
 * bits each; a vocabulary has at most 65,536 tokens), so that rows of one token lie side by side in
 * their old order. Then a block adds up SEGMENT sorted rows. A token whose rows all lie in one
 * segment is done; what a segment has of tokens that reach beyond it is left as a head or a tail,
 * and the block of the segment in which such a token begins adds those up in order. */
#include "kernels/cuda/device.cuh"

/* ---- forward -----------------------------------------------------------------------------------
 */

enum { EMBED_THREADS = 128 };

/* A block owns one row of out at a time. */
static __global__ void embed_k(float *out, const int32_t *token, const float *wte, const float *wpe,
                               int64_t rows, int64_t cols, int64_t context, bool wide)
{
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const float *const word = wte + token[row] * cols;
        for (int64_t i = 4 * threadIdx.x; i < cols; i += 4 * EMBED_THREADS) {
            struct four f = load4(word, i, cols, wide);
            if (wpe) {
                const struct four place = load4(wpe + row % context * cols, i, cols, wide);
                for (int k = 0; k < 4; k++)
                    f.v[k] += place.v[k];
            }
            store4(out + row * cols, i, cols, wide, f);
        }
    }
}

enum shoal_status cuda_embed(struct device *dev, struct view out, struct view tokens,
                             struct view wte, struct view wpe)
{
    const int64_t rows = out.dim[0], cols = out.dim[1];
    const bool wide =
        aligned16(out.data) && aligned16(wte.data) && aligned16(wpe.data) && cols % 4 == 0;
    return launch(dev, grid_of(dim3((unsigned)rows), dim3(EMBED_THREADS)), embed_k,
                  (float *)out.data, (const int32_t *)tokens.data, (const float *)wte.data,
                  (const float *)wpe.data, rows, cols, tokens.dim[1], wide);
}

/* ---- sorting rows by token ---------------------------------------------------------------------
 */

enum { DIGITS = SORT_DIGITS, DIGIT_BITS = 8 };

/* Rows and their tokens before and after a pass. order NULL: rows in their first order. */
struct sorting {
    const int32_t *token_in, *order_in;
    int32_t *token_out, *order_out;
    int32_t *places; /* (DIGITS, chunks): how often, then where from, a digit is in a chunk */
    int64_t rows, chunks;
    int shift;
};

DEVICE_FN int digit_of(const struct sorting *s, int64_t row)
{
    return s->token_in[row] >> s->shift & (DIGITS - 1);
}

/* A block owns a chunk of rows, a thread one digit: it looks at all rows of the chunk. */
DEVICE_FN int64_t load_digits(uint8_t *digit, const struct sorting *s)
{
    const int64_t begin = (int64_t)blockIdx.x * SORT_CHUNK;
    const int64_t left = s->rows - begin, most = SORT_CHUNK, n = left < most ? left : most;
    for (int64_t i = threadIdx.x; i < n; i += DIGITS)
        digit[i] = (uint8_t)digit_of(s, begin + i);
    __syncthreads();
    return n;
}

static __global__ void count_digits_k(struct sorting s)
{
    static __shared__ uint8_t digit[SORT_CHUNK];
    const int64_t n = load_digits(digit, &s);
    int32_t count = 0;
    for (int64_t i = 0; i < n; i++)
        count += digit[i] == threadIdx.x;
    s.places[threadIdx.x * s.chunks + blockIdx.x] = count;
}

/* One block, a thread a digit: counts become places, digit by digit and chunk by chunk. */
static __global__ void place_digits_k(struct sorting s)
{
    static __shared__ int32_t total[DIGITS];
    int32_t *const of = s.places + threadIdx.x * s.chunks;
    int32_t sum = 0;
    for (int64_t c = 0; c < s.chunks; c++)
        sum += of[c];
    total[threadIdx.x] = sum;
    __syncthreads();
    int32_t place = 0;
    for (unsigned d = 0; d < threadIdx.x; d++)
        place += total[d];
    for (int64_t c = 0; c < s.chunks; c++) {
        const int32_t count = of[c];
        of[c] = place;
        place += count;
    }
}

static __global__ void move_rows_k(struct sorting s)
{
    static __shared__ uint8_t digit[SORT_CHUNK];
    const int64_t begin = (int64_t)blockIdx.x * SORT_CHUNK, n = load_digits(digit, &s);
    int32_t place = s.places[threadIdx.x * s.chunks + blockIdx.x];
    for (int64_t i = 0; i < n; i++)
        if (digit[i] == threadIdx.x) {
            s.token_out[place] = s.token_in[begin + i];
            s.order_out[place] = s.order_in ? s.order_in[begin + i] : (int32_t)(begin + i);
            place++;
        }
}

static enum shoal_status sort_pass(struct device *dev, struct sorting s)
{
    const struct grid chunks = grid_of(dim3((unsigned)s.chunks), dim3(DIGITS));
    SHOAL_TRY(launch(dev, chunks, count_digits_k, s));
    SHOAL_TRY(launch(dev, grid_of(dim3(1), dim3(DIGITS)), place_digits_k, s));
    return launch(dev, chunks, move_rows_k, s);
}

/* ---- adding rows of one token ------------------------------------------------------------------
 */

enum { SEGMENT = ADD_SEGMENT, ADD_THREADS = 128 };

struct adding {
    float *dwte;
    const float *dout;
    const int32_t *token, *order; /* sorted */
    float *head, *tail;           /* (segments, cols): sums of tokens that reach beyond */
    int64_t rows, cols;
};

/* Whether sorted row i begins, or ends, the rows of its token. */
DEVICE_FN bool is_first(const struct adding *a, int64_t i)
{
    return i == 0 || a->token[i] != a->token[i - 1];
}
DEVICE_FN bool is_last(const struct adding *a, int64_t i)
{
    return i == a->rows - 1 || a->token[i] != a->token[i + 1];
}

/* Block (s, c) owns segment s, a thread one column. A segment wholly inside one token is a head. */
static __global__ void add_segment_k(struct adding a)
{
    const int64_t col = (int64_t)blockIdx.y * ADD_THREADS + threadIdx.x;
    const int64_t begin = (int64_t)blockIdx.x * SEGMENT;
    const int64_t end = begin + SEGMENT < a.rows ? begin + SEGMENT : a.rows;
    if (col >= a.cols) return;
    float sum = 0.0f;
    bool from_before = !is_first(&a, begin);
    for (int64_t i = begin; i < end; i++) {
        sum += a.dout[a.order[i] * a.cols + col];
        const bool last = is_last(&a, i);
        if (!last && i + 1 < end) continue;
        if (from_before)
            a.head[blockIdx.x * a.cols + col] = sum;
        else if (!last)
            a.tail[blockIdx.x * a.cols + col] = sum;
        else
            a.dwte[a.token[i] * a.cols + col] += sum;
        from_before = false;
        sum = 0.0f;
    }
}

/* Block (s, c): if a token begins in segment s and reaches beyond, add up its tail and the heads of
 * the segments that follow, up to the one in which it ends. */
static __global__ void join_segments_k(struct adding a)
{
    const int64_t col = (int64_t)blockIdx.y * ADD_THREADS + threadIdx.x;
    const int64_t begin = (int64_t)blockIdx.x * SEGMENT, end = begin + SEGMENT;
    if (col >= a.cols || end >= a.rows || is_last(&a, end - 1)) return;
    const int32_t token = a.token[end - 1];
    if (token == a.token[begin] && !is_first(&a, begin)) return; /* it began earlier */
    float sum = a.tail[blockIdx.x * a.cols + col];
    for (int64_t s = blockIdx.x + 1; s * SEGMENT < a.rows && a.token[s * SEGMENT] == token; s++)
        sum += a.head[s * a.cols + col];
    a.dwte[token * a.cols + col] += sum;
}

/* dwpe (T, C) += sums over the sequences; a thread owns one column of one position. */
static __global__ void add_positions_k(float *dwpe, const float *dout, int64_t batch,
                                       int64_t context, int64_t cols)
{
    const int64_t n = context * cols;
    for (int64_t i = flat_begin(); i < n; i += flat_stride()) {
        float sum = 0.0f;
        for (int64_t b = 0; b < batch; b++)
            sum += dout[b * n + i];
        dwpe[i] += sum;
    }
}

/* What a backward pass keeps in scratch: two lists of (token, row), places, heads and tails. */
struct embed_scratch {
    int32_t *token[2], *order[2], *places;
    float *head, *tail;
};

static enum shoal_status take_scratch(struct device *dev, struct embed_scratch *to, int64_t rows,
                                      int64_t cols)
{
    const int64_t list = embed_list(rows), partial = embed_partial(rows, cols);
    char *at;
    SHOAL_TRY(cuda_scratch(dev, (size_t)scratch_embed_grad(rows, cols), &at));
    int32_t *const lists = (int32_t *)(void *)at;
    for (int i = 0; i < 2; i++) {
        to->token[i] = lists + 2 * i * list;
        to->order[i] = to->token[i] + list;
    }
    to->places = lists + 4 * list;
    to->head = (float *)(void *)(to->places + embed_places(rows));
    to->tail = to->head + partial;
    return SHOAL_OK;
}

static enum shoal_status add_tokens(struct device *dev, struct view dwte, struct view dout,
                                    const int32_t *token)
{
    const int64_t rows = dout.dim[0], cols = dout.dim[1];
    struct embed_scratch to;
    SHOAL_TRY(take_scratch(dev, &to, rows, cols));
    struct sorting s = {
        token, NULL, to.token[0], to.order[0], to.places, rows, parts_of(rows, SORT_CHUNK), 0};
    SHOAL_TRY(sort_pass(dev, s));
    s.token_in = to.token[0];
    s.order_in = to.order[0];
    s.token_out = to.token[1];
    s.order_out = to.order[1];
    s.shift = DIGIT_BITS;
    SHOAL_TRY(sort_pass(dev, s));
    const struct adding a = {(float *)dwte.data,
                             (const float *)dout.data,
                             to.token[1],
                             to.order[1],
                             to.head,
                             to.tail,
                             rows,
                             cols};
    const struct grid g =
        grid_of(dim3((unsigned)parts_of(rows, SEGMENT), (unsigned)parts_of(cols, ADD_THREADS)),
                dim3(ADD_THREADS));
    SHOAL_TRY(launch(dev, g, add_segment_k, a));
    return launch(dev, g, join_segments_k, a);
}

enum shoal_status cuda_embed_grad(struct device *dev, struct view dwte, struct view dwpe,
                                  struct view dout, struct view tokens)
{
    const int64_t batch = tokens.dim[0], context = tokens.dim[1], cols = dout.dim[1];
    SHOAL_TRY(add_tokens(dev, dwte, dout, (const int32_t *)tokens.data));
    if (!dwpe.data) return SHOAL_OK;
    return launch(dev, flat_grid(4 * context * cols), add_positions_k, (float *)dwpe.data,
                  (const float *)dout.data, batch, context, cols);
}
