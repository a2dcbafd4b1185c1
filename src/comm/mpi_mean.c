/* mpi_mean.c - the mean of the workers' parts by MPI, as packed changes, in chunks of blocks.
 *
 * Every worker packs how its parts differ from the last mean, the worker that a stripe of a chunk
 * goes to (mpi_stripes.h) adds what all of them say in the agreed order, packs the mean of it, and
 * everybody adds that to the last mean. A block is packed by itself and lies in one stripe, so what
 * rounding loses does not depend on how many workers there are.
 *
 * The device packs and unpacks. Where MPI cannot read its memory, what is packed goes through the
 * host's. */
#define SHOAL_COMM_PRIVATE
#include "base/memory.h"
#include "comm/mpi_stripes.h"

/* ---- what it takes ---- */

/* Chunks of as many elements as in a sum: what is packed is small, a stripe of the mean is not. */
static struct mpi_cut cut_of(int workers, int n_parts, int most, int total, int64_t n,
                             int64_t message)
{
    const int64_t blocks = message / PACK_BLOCK;
    return mpi_cut_of(workers, n_parts, most, total, pack_blocks(n), blocks < 1 ? 1 : blocks);
}

/* Blocks of all buffers of packed numbers. */
static int64_t packed_blocks(const struct mpi_cut *c)
{
    return c->packed + c->received + c->stripe + c->chunk;
}

struct comm_mean_buffers comm_mean_buffers(enum packing p, int workers, int n_parts, int most,
                                           int total, int64_t n)
{
    const struct mpi_cut c =
        cut_of(workers, n_parts, most, total, n, COMM_CHUNK_BYTES / (int64_t)sizeof(float));
    const int64_t packed = packed_blocks(&c) * pack_block_bytes(p);
    return (struct comm_mean_buffers){
        .device = packed + c.stripe * PACK_BLOCK * (int64_t)sizeof(float), .host = packed};
}

double comm_mean_traffic(enum packing p, int workers, int total, double n)
{
    const double share = pack_block_bytes(p) / (double)(PACK_BLOCK * sizeof(float));
    return share * comm_sum_traffic(workers, total, n);
}

/* ---- one mean in progress ---- */

/* Packed numbers: of n_parts stripes for worker 0, for worker 1, ...; total parts of this worker's
 * stripe; this worker's stripe of the mean; a chunk of the mean. */
enum buffer { PACKED, RECEIVED, ADDED, MEANS, BUFFERS };

struct mean {
    struct device *dev;
    const struct comm_exchange *x;
    bool direct;
    struct mpi_stripes stripes;
    struct mpi_cut cut;
    uint8_t *there[BUFFERS]; /* on the device */
    uint8_t *here[BUFFERS];  /* the same where MPI finds it */
    float *sum;              /* this worker's stripe, on the device */
};

/* Elements of a part. */
struct span {
    int64_t begin, n;
};

/* Those of blocks [begin, end); the last one may not be full. */
static struct span span_of(const struct mean *m, int64_t begin, int64_t end)
{
    const int64_t last = comm_min(end * PACK_BLOCK, m->x->n);
    const struct span s = {begin * PACK_BLOCK, last - begin * PACK_BLOCK};
    return s;
}

/* Those of worker w's stripe of the `blocks` blocks from `first` on. */
static struct span stripe_of(const struct mean *m, int64_t first, int64_t blocks, int w)
{
    return span_of(m, first + mpi_stripe_begin(&m->stripes, blocks, w),
                   first + mpi_stripe_begin(&m->stripes, blocks, w + 1));
}

/* Between the device and where MPI finds it; waits. */
static enum shoal_status bring_here(struct mean *m, enum buffer b, int64_t bytes)
{
    if (m->direct) return device_sync(m->dev);
    return device_download(m->dev, m->here[b], m->there[b], (size_t)bytes);
}
static enum shoal_status bring_there(struct mean *m, enum buffer b, int64_t bytes)
{
    if (m->direct) return SHOAL_OK;
    return device_upload(m->dev, m->there[b], m->here[b], (size_t)bytes);
}

static enum shoal_status pack_parts(struct mean *m, int64_t first, int64_t blocks)
{
    const struct comm_exchange *const x = m->x;
    uint8_t *to = m->there[PACKED];
    for (int w = 0; w < m->stripes.workers; w++) {
        const struct span s = stripe_of(m, first, blocks, w);
        for (int p = 0; p < x->n_parts && s.n > 0; p++) {
            float *const lost = x->lost ? x->lost[p] + s.begin : NULL;
            SHOAL_TRY(kernel_pack(m->dev, to, lost, x->parts[p] + s.begin, x->out + s.begin, s.n,
                                  x->packing));
            to += pack_bytes(x->packing, s.n);
        }
    }
    return bring_here(m, PACKED, to - m->there[PACKED]);
}

/* The packed mean of what was received of a stripe. */
static enum shoal_status add_stripe(struct mean *m, struct span s)
{
    const struct comm_exchange *const x = m->x;
    const int64_t each = pack_bytes(x->packing, s.n);
    const float share = 1.0f / (float)m->stripes.total;
    float *const lost = x->lost_mean ? x->lost_mean + s.begin : NULL;
    if (s.n == 0) return SHOAL_OK;
    SHOAL_TRY(bring_there(m, RECEIVED, m->stripes.total * each));
    for (int p = 0; p < m->stripes.total; p++)
        SHOAL_TRY(kernel_unpack(m->dev, m->sum, m->there[RECEIVED] + p * each, s.n, x->packing,
                                share, p > 0 ? 1.0f : 0.0f));
    SHOAL_TRY(kernel_pack(m->dev, m->there[ADDED], lost, m->sum, NULL, s.n, x->packing));
    return bring_here(m, ADDED, each);
}

static enum shoal_status exchange_chunk(struct mean *m, int64_t first, int64_t blocks)
{
    struct mpi_stripes *const stripes = &m->stripes;
    const struct span all = span_of(m, first, first + blocks);
    SHOAL_TRY(pack_parts(m, first, blocks));
    SHOAL_TRY(mpi_stripes_scatter(stripes, m->here[PACKED], m->here[RECEIVED], blocks));
    SHOAL_TRY(add_stripe(m, stripe_of(m, first, blocks, stripes->me)));
    SHOAL_TRY(mpi_stripes_gather(stripes, m->here[ADDED], m->here[MEANS], blocks));
    SHOAL_TRY(bring_there(m, MEANS, pack_bytes(m->x->packing, all.n)));
    SHOAL_TRY(kernel_unpack(m->dev, m->x->out + all.begin, m->there[MEANS], all.n, m->x->packing,
                            1.0f, 1.0f));
    return m->direct ? device_sync(m->dev) : SHOAL_OK; /* before the next chunk comes */
}

static enum shoal_status alloc(struct mean *m)
{
    const int64_t blocks[] = {m->cut.packed, m->cut.received, m->cut.stripe, m->cut.chunk};
    const int each = pack_block_bytes(m->x->packing);
    for (int b = 0; b < BUFFERS; b++) {
        const size_t bytes = (size_t)(blocks[b] * each);
        SHOAL_TRY(device_alloc(m->dev, bytes, "packed changes", &m->there[b]));
        m->here[b] = m->there[b];
        if (m->direct) continue;
        m->here[b] = NULL;
        SHOAL_TRY(mem_alloc(bytes, "packed changes", &m->here[b]));
    }
    return device_alloc(m->dev, (size_t)m->cut.stripe * PACK_BLOCK * sizeof *m->sum,
                        "a stripe of the mean", &m->sum);
}

static void release(struct mean *m)
{
    struct comm *const c = m->stripes.c;
    for (int b = 0; b < BUFFERS; b++) {
        if (!m->direct) comm_release(c, m->here[b]);
        comm_release_device(c, m->there[b]);
    }
    device_free(m->dev, m->sum);
}

static enum shoal_status run(struct mean *m)
{
    const int64_t blocks = pack_blocks(m->x->n);
    SHOAL_TRY(alloc(m));
    for (int64_t first = 0; first < blocks; first += m->cut.chunk)
        SHOAL_TRY(exchange_chunk(m, first, comm_min(m->cut.chunk, blocks - first)));
    return SHOAL_OK;
}

/* ---- mpi_impl.h ---- */

enum shoal_status mpi_mean(struct mpi_transport *t)
{
    const enum packing p = t->now.packing;
    struct mean m = {.dev = t->base.c->dev, .x = &t->now, .direct = t->direct};
    SHOAL_TRY(mpi_stripes_open(t, (size_t)pack_block_bytes(p), &m.stripes));
    m.cut = cut_of(m.stripes.workers, m.x->n_parts, m.stripes.most, m.stripes.total, m.x->n,
                   mpi_message_elements(t));
    const enum shoal_status st = run(&m);
    release(&m);
    mpi_stripes_close(&m.stripes);
    return st;
}
