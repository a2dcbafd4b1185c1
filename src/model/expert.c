/* expert.c - allocating, initialising and fingerprinting an expert's slabs. */
#include "model/expert.h"

#include <math.h>
#include <string.h>
#include "base/memory.h"
#include "base/rng.h"

/* Elements that pass through host memory at a time; a multiple of 4 (one random block). */
enum { CHUNK = 1 << 16 };

static enum shoal_status make_slab(const struct expert *e, const char *what, float **slab)
{
    const size_t bytes = (size_t)e->table->n_params * sizeof **slab;
    return e->pinned ? device_alloc_pinned(e->dev, bytes, what, slab)
                     : device_alloc(e->dev, bytes, what, slab);
}

static enum shoal_status create(struct device *dev, const struct param_table *table, int number,
                                const bool with[2], bool pinned, struct expert **out)
{
    enum shoal_status st = SHOAL_OK;
    struct expert *e = NULL;
    *out = NULL;
    SHOAL_TRY(mem_alloc(sizeof *e, "an expert", &e));
    e->number = number;
    e->table = table;
    e->dev = dev;
    e->pinned = pinned;
    e->lr_scale = 1.0;
    e->own_best_fitness = NAN;
    e->fitness = NAN;
    e->parent = -1;
    SHOAL_GOTO(make_slab(e, "an expert's weights", &e->weights));
    SHOAL_GOTO(make_slab(e, "an expert's first moments", &e->adam_m));
    SHOAL_GOTO(make_slab(e, "an expert's second moments", &e->adam_v));
    if (with[0]) SHOAL_GOTO(make_slab(e, "an expert's swarm velocity", &e->velocity));
    if (with[1]) SHOAL_GOTO(make_slab(e, "an expert's own best weights", &e->own_best));
    *out = e;
    return SHOAL_OK;
done:
    expert_destroy(&e);
    return st;
}

enum shoal_status expert_create(struct device *dev, const struct param_table *table, int number,
                                bool with_velocity, bool with_own_best, struct expert **out)
{
    return create(dev, table, number, (bool[2]){with_velocity, with_own_best}, false, out);
}

enum shoal_status expert_create_pinned(struct device *dev, const struct param_table *table,
                                       int number, bool with_velocity, bool with_own_best,
                                       struct expert **out)
{
    return create(dev, table, number, (bool[2]){with_velocity, with_own_best}, true, out);
}

void expert_destroy(struct expert **e)
{
    struct expert *x = *e;
    if (!x) return;
    float *const slab[] = {x->weights, x->adam_m, x->adam_v, x->velocity, x->own_best};
    for (size_t i = 0; i < sizeof slab / sizeof *slab; i++) {
        if (!slab[i]) continue;
        if (x->pinned)
            device_free_pinned(x->dev, slab[i]);
        else
            device_free(x->dev, slab[i]);
    }
    mem_free(x);
    *e = NULL;
}

enum shoal_status expert_download(struct expert *to, const struct expert *from)
{
    const size_t bytes = (size_t)from->table->n_params * sizeof(float);
    float *const into[] = {to->weights, to->adam_m, to->adam_v, to->velocity, to->own_best};
    const float *const out_of[] = {from->weights, from->adam_m, from->adam_v, from->velocity,
                                   from->own_best};
    struct device *const dev = to->dev;
    const bool pinned = to->pinned;
    for (size_t i = 0; i < sizeof into / sizeof *into; i++)
        if (out_of[i]) SHOAL_TRY(device_download(from->dev, into[i], out_of[i], bytes));
    *to = *from; /* every counter there is, then what is the copy's own */
    to->dev = dev;
    to->pinned = pinned;
    to->weights = into[0];
    to->adam_m = into[1];
    to->adam_v = into[2];
    to->velocity = into[3];
    to->own_best = into[4];
    return SHOAL_OK;
}

/* ---- initial weights ------------------------------------------------------------------------- */

/* n normals for elements begin .. begin + n - 1 of a tensor; begin is a multiple of 4. */
static void fill_normal(float *out, int64_t n, float std, struct rng_block mixed, int64_t begin)
{
    for (int64_t i = 0; i < n; i += 4) {
        const struct rng_block b = rng_block_at(mixed, (uint64_t)(begin + i) / 4);
        for (int64_t j = 0; j < 4 && i + j < n; j++)
            out[i + j] = std * rng_to_normal(b.v[j]);
    }
}

static void fill_constant(float *out, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = value;
}

/* The real rows of one tensor, through the host buffer `chunk`; the rest of the slab is zero. */
static enum shoal_status init_tensor(struct expert *e, float *chunk, const struct param_tensor *t,
                                     struct rng_key key, int depth)
{
    const int64_t n = t->real_rows * t->cols;
    const struct rng_block mixed = rng_mix(key);
    const float std = t->init == PARAM_NORMAL_RESIDUAL ? (float)(0.02 / sqrt(2.0 * depth)) : 0.02f;
    for (int64_t begin = 0; begin < n; begin += CHUNK) {
        const int64_t part = n - begin < CHUNK ? n - begin : CHUNK;
        if (t->init == PARAM_ZERO || t->init == PARAM_ONE)
            fill_constant(chunk, part, t->init == PARAM_ONE ? 1.0f : 0.0f);
        else
            fill_normal(chunk, part, std, mixed, begin);
        SHOAL_TRY(device_upload(e->dev, e->weights + t->offset + begin, chunk,
                                (size_t)part * sizeof *chunk));
    }
    return SHOAL_OK;
}

enum shoal_status expert_init(struct expert *e, uint64_t seed, uint32_t stream, int depth)
{
    enum shoal_status st = SHOAL_OK;
    float *chunk = NULL;
    SHOAL_CHECK(depth > 0, SHOAL_EARG, "expert: depth %d must be positive", depth);
    SHOAL_TRY(mem_alloc(CHUNK * sizeof *chunk, "initial weights", &chunk));
    SHOAL_GOTO(device_zero(e->dev, e->weights, (size_t)e->table->n_params * sizeof *chunk));
    for (int i = 0; i < e->table->n_tensors; i++) {
        const struct rng_key key = {
            .seed = seed, .stream = RNG_INIT, .expert = stream, .tensor = (uint32_t)i};
        SHOAL_GOTO(init_tensor(e, chunk, &e->table->tensor[i], key, depth));
    }
done:
    mem_free(chunk);
    return st;
}

/* ---- digest ---------------------------------------------------------------------------------- */

/* A bijection of 64 bits that spreads every input bit (Steele et al. 2014, splitmix64). */
static uint64_t mix64(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Each element's bits are mixed with its position; the sum does not depend on the order in which a
 * backend walks the slab. */
static uint64_t digest_part(const float *x, int64_t n, int64_t begin)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        sum += mix64(mix64((uint64_t)(begin + i) + 0x9E3779B97F4A7C15u) ^ bits);
    }
    return sum;
}

enum shoal_status slab_digest(struct device *dev, const float *slab, int64_t n, uint64_t *out)
{
    enum shoal_status st = SHOAL_OK;
    uint64_t sum = (uint64_t)n;
    float *chunk = NULL;
    SHOAL_TRY(mem_alloc(CHUNK * sizeof *chunk, "a digest", &chunk));
    for (int64_t begin = 0; begin < n; begin += CHUNK) {
        const int64_t part = n - begin < CHUNK ? n - begin : CHUNK;
        SHOAL_GOTO(device_download(dev, chunk, slab + begin, (size_t)part * sizeof *chunk));
        sum += digest_part(chunk, part, begin);
    }
    *out = sum;
done:
    mem_free(chunk);
    return st;
}
