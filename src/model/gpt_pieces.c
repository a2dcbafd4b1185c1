/* gpt_pieces.c - passes over a batch as pieces (kernels.h): recorded once, then queued by one call.
 *
 * Everything a pass is queued with is in its key or was fixed when the model was created. The first
 * pass of a key is queued call by call, which makes room for scratch and plans of products; the
 * second is recorded. A worker has a handful of keys: for each expert's weights the first batch of
 * a step, the later ones, and judging; beyond that the one not used for longest makes room. */
#include "base/memory.h"
#include "model/gpt_impl.h"

enum { PIECES = 32 };

struct key {
    const float *weights;
    int batch;
    float scale;
    bool with_grad, accumulate;
};

struct entry {
    struct key key;
    struct device_piece *piece; /* NULL: met once */
    int64_t used;               /* when; 0: never */
};

struct gpt_pieces {
    struct entry entry[PIECES];
    int64_t now;
};

enum shoal_status gpt_pieces_create(struct gpt_pieces **out)
{
    return mem_alloc(sizeof **out, "recorded passes", out);
}

void gpt_pieces_destroy(struct device *dev, struct gpt_pieces **pieces)
{
    for (int i = 0; *pieces && i < PIECES; i++)
        device_piece_free(dev, &(*pieces)->entry[i].piece);
    mem_free(*pieces);
    *pieces = NULL;
}

static bool same(const struct key *a, const struct key *b)
{
    return a->weights == b->weights && a->batch == b->batch && a->scale == b->scale &&
           a->with_grad == b->with_grad && a->accumulate == b->accumulate;
}

/* The key's entry; *fresh: it is a new one. */
static struct entry *meet(struct gpt *g, const struct key *key, bool *fresh)
{
    struct gpt_pieces *const p = g->pieces;
    struct entry *oldest = &p->entry[0];
    *fresh = false;
    p->now++;
    for (struct entry *e = p->entry; e < p->entry + PIECES; e++) {
        if (e->used > 0 && same(&e->key, key)) {
            e->used = p->now;
            return e;
        }
        if (e->used < oldest->used) oldest = e;
    }
    *fresh = true;
    device_piece_free(g->dev, &oldest->piece);
    *oldest = (struct entry){.key = *key, .used = p->now};
    return oldest;
}

static enum shoal_status queue(struct gpt *g, bool with_grad, float scale)
{
    SHOAL_TRY(gpt_forward(g));
    SHOAL_TRY(gpt_head(g, with_grad, scale));
    return with_grad ? gpt_backward(g) : SHOAL_OK;
}

static enum shoal_status record(struct gpt *g, const struct key *key, struct device_piece **piece)
{
    device_piece_free(g->dev, piece);
    SHOAL_TRY(device_record_begin(g->dev));
    const enum shoal_status st = queue(g, key->with_grad, key->scale);
    if (st == SHOAL_OK) return device_record_end(g->dev, piece);
    (void)device_record_end(g->dev, piece);
    device_piece_free(g->dev, piece);
    return st;
}

enum shoal_status gpt_pass(struct gpt *g, bool with_grad, float scale)
{
    const struct key key = {g->weights, g->batch, scale, with_grad, with_grad && g->accumulate};
    bool fresh = true, moved = true;
    struct entry *const e = g->pieces ? meet(g, &key, &fresh) : NULL;
    if (fresh) return queue(g, with_grad, scale);
    if (e->piece) SHOAL_TRY(device_replay(g->dev, e->piece, &moved));
    if (!moved) return SHOAL_OK;
    SHOAL_TRY(record(g, &key, &e->piece));
    SHOAL_TRY(device_replay(g->dev, e->piece, &moved));
    SHOAL_ASSERT(!moved);
    return SHOAL_OK;
}
