/* A set of shards as one list of sequences. Which sequence comes when is computed (permute.h),
 * never stored: any position of any expert's stream can be asked for directly, so a resumed run
 * needs only a position and a run's data does not depend on which worker trains an expert. */
#include "data/data.h"
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <string.h>
#include "base/memory.h"
#include "data/permute.h"
#include "data/shard.h"

static const int64_t CHECK_ALL_TOKENS = (int64_t)1 << 28; /* under a second of reading */

/* What rng_key.tensor means for the stream RNG_DATA. */
enum { DRAW_ORDER, DRAW_OFFSET };

struct data {
    struct shard *shard; /* owned, n_shards of them */
    int n_shards;
    int context, vocab;
    int64_t n_tokens;
    int64_t *sequence_begin; /* n_shards + 1: first training sequence of each shard, and the end */
    int64_t *window_begin;   /* n_shards + 1: first judging window of each shard, and the end */
};

/* ---- opening --------------------------------------------------------------------------------- */

/* Training sequences of a shard: as many as fit whatever the offset, and at least one. */
static int64_t shard_sequences(int64_t n_tokens, int context)
{
    const int64_t fit = (n_tokens - context) / context;
    return fit > 1 ? fit : 1;
}

static enum shoal_status check_length(const struct shard *s, int context)
{
    SHOAL_CHECK(s->n_tokens > context, SHOAL_EFORMAT,
                "%s: %" PRId64 " tokens are fewer than model.context + 1 = %d: lower model.context "
                "or use more text",
                s->path, s->n_tokens, context + 1);
    return SHOAL_OK;
}

static enum shoal_status check_shards(const struct data *d)
{
    for (int i = 0; i < d->n_shards; i++) {
        SHOAL_TRY(check_length(&d->shard[i], d->context));
        if (d->n_tokens > CHECK_ALL_TOKENS) continue;
        SHOAL_TRY(shard_check_tokens(&d->shard[i], d->vocab));
    }
    return SHOAL_OK;
}

static void count_sequences(struct data *d)
{
    for (int i = 0; i < d->n_shards; i++) {
        const int64_t n = d->shard[i].n_tokens;
        d->sequence_begin[i + 1] = d->sequence_begin[i] + shard_sequences(n, d->context);
        d->window_begin[i + 1] = d->window_begin[i] + (n - 1) / d->context;
    }
}

static enum shoal_status open_shards(struct data *d, char **paths, size_t n)
{
    SHOAL_TRY(mem_alloc(n * sizeof *d->shard, "token shards", &d->shard));
    SHOAL_TRY(mem_alloc((n + 1) * sizeof(int64_t), "token shards", &d->sequence_begin));
    SHOAL_TRY(mem_alloc((n + 1) * sizeof(int64_t), "token shards", &d->window_begin));
    for (size_t i = 0; i < n; i++) {
        SHOAL_TRY(shard_open(paths[i], &d->shard[i]));
        d->n_shards++;
        d->n_tokens += d->shard[i].n_tokens;
    }
    SHOAL_TRY(check_shards(d));
    count_sequences(d);
    return SHOAL_OK;
}

static enum shoal_status no_match(const char *key, const char *pattern)
{
    return SHOAL_FAIL(SHOAL_EIO,
                      "%s: nothing matches '%s'; make shards with 'shoal tokenize --tokenizer "
                      "bytes|gpt2 --out DIR FILE...'",
                      key, pattern);
}

/* A path that exists is taken as it is, so names with glob characters work. */
static enum shoal_status open_matching(const char *key, const char *pattern, struct data *d)
{
    if (path_exists(pattern)) {
        char path[SHOAL_MAX_PATH];
        SHOAL_TRY(path_format(path, "%s", pattern));
        char *paths[] = {path};
        return open_shards(d, paths, 1);
    }
    glob_t found = {0};
    enum shoal_status st;
    const int result = glob(pattern, 0, NULL, &found);
    if (result == GLOB_NOMATCH) {
        st = no_match(key, pattern);
    } else if (result != 0) {
        st =
            SHOAL_FAIL(SHOAL_EIO, "%s: looking for '%s' failed: %s", key, pattern, strerror(errno));
    } else {
        st = open_shards(d, found.gl_pathv, found.gl_pathc);
    }
    globfree(&found);
    return st;
}

enum shoal_status data_open(const char *key, const char *pattern, int context, int vocab,
                            struct data **out)
{
    SHOAL_ASSERT(context > 0 && vocab > 0);
    *out = NULL;
    struct data *d = NULL;
    SHOAL_TRY(mem_alloc(sizeof *d, "token shards", &d));
    d->context = context;
    d->vocab = vocab;
    enum shoal_status st;
    SHOAL_GOTO(open_matching(key, pattern, d));
    *out = d;
    d = NULL;
done:
    data_close(&d);
    return st;
}

void data_close(struct data **d)
{
    if (*d == NULL) return;
    for (int i = 0; i < (*d)->n_shards; i++)
        shard_close(&(*d)->shard[i]);
    mem_free((*d)->shard);
    mem_free((*d)->sequence_begin);
    mem_free((*d)->window_begin);
    mem_free(*d);
    *d = NULL;
}

int64_t data_tokens(const struct data *d)
{
    return d->n_tokens;
}

int data_shards(const struct data *d)
{
    return d->n_shards;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The shard whose range of a list of beginnings holds index. */
static int find_shard(const int64_t *begin, int n_shards, int64_t index)
{
    int low = 0, high = n_shards;
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        if (begin[middle] <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum shoal_status read_window(const struct data *d, const struct shard *s, int64_t begin,
                                     int32_t *tokens, int32_t *targets)
{
    SHOAL_TRY(shard_tokens(s, begin, d->context, d->vocab, tokens));
    return shard_tokens(s, begin + 1, d->context, d->vocab, targets);
}

int64_t data_epoch_sequences(const struct data *d)
{
    return d->sequence_begin[d->n_shards];
}

/* Where the windows of a shard begin in an epoch. Drawn anew each epoch, so that over a long run a
 * model sees text cut at all places. */
static int64_t epoch_offset(const struct shard *s, int context, struct rng_key key)
{
    const int64_t spare = s->n_tokens - shard_sequences(s->n_tokens, context) * context;
    const int64_t offsets = spare < context ? spare : context;
    const struct rng_block bits = rng_block_at(rng_mix(key), 0);
    return (int64_t)(((uint64_t)bits.v[0] << 32 | bits.v[1]) % (uint64_t)offsets);
}

enum shoal_status data_sample(const struct data *d, uint64_t seed, int expert, int64_t position,
                              int32_t *tokens, int32_t *targets)
{
    SHOAL_CHECK(position >= 0 && expert >= 0, SHOAL_EARG,
                "no sequence %" PRId64 " in the stream of expert %d: both count from 0", position,
                expert);
    const int64_t n = data_epoch_sequences(d);
    const uint32_t epoch = (uint32_t)(position / n);
    const struct rng_key order = {seed, RNG_DATA, (uint32_t)expert, epoch, DRAW_ORDER};
    const struct rng_key offset = {seed, RNG_DATA, 0, epoch, DRAW_OFFSET};
    const int64_t index = (int64_t)permute((uint64_t)(position % n), (uint64_t)n, order);
    const int i = find_shard(d->sequence_begin, d->n_shards, index);
    const struct shard *s = &d->shard[i];
    const int64_t begin =
        epoch_offset(s, d->context, offset) + (index - d->sequence_begin[i]) * d->context;
    return read_window(d, s, begin, tokens, targets);
}

int64_t data_windows(const struct data *d)
{
    return d->window_begin[d->n_shards];
}

enum shoal_status data_window(const struct data *d, int64_t index, int32_t *tokens,
                              int32_t *targets)
{
    SHOAL_CHECK(index >= 0 && index < data_windows(d), SHOAL_EARG,
                "window %" PRId64 " is not one of the %" PRId64 " that the shards hold", index,
                data_windows(d));
    const int i = find_shard(d->window_begin, d->n_shards, index);
    const int64_t begin = (index - d->window_begin[i]) * d->context;
    return read_window(d, &d->shard[i], begin, tokens, targets);
}
