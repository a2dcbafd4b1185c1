/* shard.c - one expert on disk. The order of the parts here is the order in the file. */
#include "snapshot/shard.h"

#include <math.h>
#include <string.h>
#include "base/memory.h"
#include "snapshot/header.h"
#include "snapshot/seal.h"
#include "snapshot/shard_past.h"
#include "snapshot/slab.h"

static const struct h5_column parent_column[] = {
    {"expert", KIND_I32, offsetof(struct shard_parent, expert)},
    {"step", KIND_I64, offsetof(struct shard_parent, step)},
    {"share", KIND_F64, offsetof(struct shard_parent, share)},
    {"xxh64", KIND_U64, offsetof(struct shard_parent, digest)},
};
static const struct h5_columns parent_columns = {
    parent_column, sizeof parent_column / sizeof parent_column[0], sizeof(struct shard_parent)};

/* ---- attributes ------------------------------------------------------------------------------ */

static enum shoal_status write_info(const struct h5 *h, const struct shard_info *info)
{
    SHOAL_TRY(header_write(h, SHARD_FORMAT, info->run_id, info->step, info->config));
    SHOAL_TRY(h5_set_int(h, "/", "expert", info->expert));
    SHOAL_TRY(h5_set_int(h, "/", "worker", info->worker));
    SHOAL_TRY(h5_set_int(h, "/", "tokens", info->tokens));
    SHOAL_TRY(h5_set_double(h, "/", "fitness", info->fitness));
    return h5_set_int(h, "/", "parent", info->parent);
}

/* Files of versions without it, and those with weights only, have none: 1. */
static enum shoal_status read_lr_scale(const struct h5 *h, double *lr_scale)
{
    *lr_scale = 1.0;
    if (!h5_exists(h, "/state") || !h5_has_attribute(h, "/state", "lr_scale")) return SHOAL_OK;
    SHOAL_TRY(h5_get_double(h, "/state", "lr_scale", lr_scale));
    SHOAL_CHECK(isfinite(*lr_scale) && *lr_scale > 0, SHOAL_EFORMAT,
                "%s: lr_scale in /state is %g, not a positive number", h->path, *lr_scale);
    return SHOAL_OK;
}

static enum shoal_status read_info(const struct h5 *h, struct shard_info *info)
{
    char *config = NULL;
    enum shoal_status st;
    SHOAL_GOTO(header_read(h, SHARD_FORMAT, info->run_id, &info->step, &config));
    SHOAL_GOTO(h5_get_int32(h, "/", "expert", 0, SHOAL_MAX_EXPERTS, &info->expert));
    SHOAL_GOTO(h5_get_int32(h, "/", "worker", -1, INT32_MAX, &info->worker));
    SHOAL_GOTO(h5_get_int(h, "/", "tokens", &info->tokens));
    SHOAL_GOTO(h5_get_double(h, "/", "fitness", &info->fitness));
    SHOAL_GOTO(h5_get_int32(h, "/", "parent", -1, SHOAL_MAX_EXPERTS, &info->parent));
    SHOAL_GOTO(read_lr_scale(h, &info->lr_scale));
    info->config = config;
    config = NULL;
done:
    mem_free(config);
    return st;
}

enum shoal_status shard_read_info(const char *path, struct shard_info *info)
{
    *info = (struct shard_info){.expert = -1};
    struct h5 h = H5_CLOSED;
    enum shoal_status st;
    SHOAL_GOTO(h5_open(&h, path));
    SHOAL_GOTO(read_info(&h, info));
done:
    h5_close(&h);
    return st;
}

void shard_info_free(struct shard_info *info)
{
    mem_free((void *)info->config);
    info->config = NULL;
}

enum shoal_status shard_read_config(const char *path, struct config *out)
{
    struct shard_info info;
    SHOAL_TRY(shard_read_info(path, &info));
    const enum shoal_status st = config_parse(out, info.config, path);
    shard_info_free(&info);
    SHOAL_TRY(st);
    const struct gpt_shape shape = config_shape(out);
    return slab_check_room(path, &shape);
}

/* ---- counters -------------------------------------------------------------------------------- */

static enum shoal_status write_state(const struct h5 *h, const struct expert *e,
                                     const struct shard_past *past)
{
    SHOAL_TRY(h5_group(h, "/state"));
    SHOAL_TRY(h5_set_int(h, "/state", "step", e->step));
    SHOAL_TRY(h5_set_int(h, "/state", "position", e->position));
    SHOAL_TRY(h5_set_int(h, "/state", "tokens", e->tokens));
    SHOAL_TRY(h5_set_int(h, "/state", "parent", e->parent));
    SHOAL_TRY(h5_set_double(h, "/state", "lr_scale", e->lr_scale));
    SHOAL_TRY(h5_set_double(h, "/state", "fitness", e->fitness));
    SHOAL_TRY(h5_set_double(h, "/state", "loss_sum", past->loss_sum));
    SHOAL_TRY(h5_set_int(h, "/state", "losses", past->losses));
    return h5_set_double(h, "/state", "last_loss", past->last_loss);
}

/* Files of versions that stopped at judgings only have none. */
static enum shoal_status read_losses(const struct h5 *h, struct shard_past *past)
{
    past->loss_sum = past->last_loss = 0;
    past->losses = 0;
    if (!h5_has_attribute(h, "/state", "losses")) return SHOAL_OK;
    SHOAL_TRY(h5_get_double(h, "/state", "loss_sum", &past->loss_sum));
    SHOAL_TRY(h5_get_int(h, "/state", "losses", &past->losses));
    return h5_get_double(h, "/state", "last_loss", &past->last_loss);
}

static enum shoal_status read_state(const struct h5 *h, struct expert *e, struct shard_past *past)
{
    SHOAL_TRY(h5_get_int(h, "/state", "step", &e->step));
    SHOAL_TRY(h5_get_int(h, "/state", "position", &e->position));
    SHOAL_TRY(h5_get_int(h, "/state", "tokens", &e->tokens));
    SHOAL_TRY(h5_get_int32(h, "/state", "parent", -1, SHOAL_MAX_EXPERTS, &e->parent));
    SHOAL_TRY(h5_get_double(h, "/state", "fitness", &e->fitness));
    SHOAL_TRY(read_lr_scale(h, &e->lr_scale));
    SHOAL_TRY(read_losses(h, past));
    SHOAL_CHECK(e->step >= 0 && e->position >= 0 && e->tokens >= 0 && past->losses >= 0,
                SHOAL_EFORMAT, "%s: a counter in /state is negative", h->path);
    return SHOAL_OK;
}

/* ---- what evolution remembers ---------------------------------------------------------------- */

static enum shoal_status write_evolution(const struct h5 *h, const struct expert *e)
{
    SHOAL_TRY(h5_group(h, "/evo"));
    if (e->velocity) SHOAL_TRY(slab_write(h, "/evo/velocity", e->table, e->dev, e->velocity));
    if (!e->own_best) return SHOAL_OK;
    SHOAL_TRY(slab_write(h, "/evo/own_best", e->table, e->dev, e->own_best));
    return h5_set_double(h, "/evo/own_best", "own_best_fitness", e->own_best_fitness);
}

static enum shoal_status write_outer(const struct h5 *h, const struct expert *e,
                                     const struct shard_outer *o)
{
    if (!o->agreed) return SHOAL_OK;
    SHOAL_TRY(h5_group(h, "/evo/outer"));
    SHOAL_TRY(slab_write(h, "/evo/outer/agreed", e->table, e->dev, o->agreed));
    return slab_write(h, "/evo/outer/velocity", e->table, e->dev, o->velocity);
}

static enum shoal_status read_evolution(const struct h5 *h, struct expert *e)
{
    if (e->velocity) SHOAL_TRY(slab_read(h, "/evo/velocity", e->table, e->dev, e->velocity));
    if (!e->own_best) return SHOAL_OK;
    SHOAL_TRY(slab_read(h, "/evo/own_best", e->table, e->dev, e->own_best));
    return h5_get_double(h, "/evo/own_best", "own_best_fitness", &e->own_best_fitness);
}

static enum shoal_status check_format(const struct h5 *h)
{
    struct shard_info info = {.expert = -1};
    SHOAL_TRY(read_info(h, &info));
    shard_info_free(&info);
    return SHOAL_OK;
}

enum shoal_status shard_read_lineage(const char *path, struct lineage_row **rows, int64_t *n)
{
    struct h5 h = H5_CLOSED;
    enum shoal_status st;
    SHOAL_GOTO(h5_open(&h, path));
    SHOAL_GOTO(check_format(&h));
    SHOAL_GOTO(past_read_lineage(&h, rows, n));
done:
    h5_close(&h);
    return st;
}

/* ---- whole files ----------------------------------------------------------------------------- */

enum shoal_status shard_write(const char *path, const struct shard_info *info,
                              const struct expert *e, const struct shard_past *past, int64_t *bytes)
{
    struct h5 h = H5_CLOSED;
    enum shoal_status st;
    SHOAL_GOTO(h5_create(&h, path));
    SHOAL_GOTO(h5_reserve(&h, shard_bytes(e->table, e->velocity != NULL, e->own_best != NULL)));
    SHOAL_GOTO(write_info(&h, info));
    SHOAL_GOTO(slab_write(&h, "/params", e->table, e->dev, e->weights));
    SHOAL_GOTO(slab_write(&h, "/optim/m", e->table, e->dev, e->adam_m));
    SHOAL_GOTO(slab_write(&h, "/optim/v", e->table, e->dev, e->adam_v));
    SHOAL_GOTO(write_evolution(&h, e));
    SHOAL_GOTO(write_outer(&h, e, &past->outer));
    SHOAL_GOTO(write_state(&h, e, past));
    SHOAL_GOTO(past_write(&h, e->table, past));
    SHOAL_GOTO(h5_commit(&h, bytes));
done:
    h5_close(&h);
    return st;
}

enum shoal_status shard_write_weights(const char *path, const struct shard_info *info,
                                      const struct param_table *table, struct device *dev,
                                      const float *weights, int64_t *bytes)
{
    struct h5 h = H5_CLOSED;
    enum shoal_status st;
    SHOAL_GOTO(h5_create(&h, path));
    SHOAL_GOTO(h5_reserve(&h, shard_weights_bytes(table)));
    SHOAL_GOTO(write_info(&h, info));
    SHOAL_GOTO(slab_write(&h, "/params", table, dev, weights));
    if (info->n_parents > 0)
        SHOAL_GOTO(
            h5_write_table(&h, "/merge/parents", &parent_columns, info->parents, info->n_parents));
    SHOAL_GOTO(h5_commit(&h, bytes));
done:
    h5_close(&h);
    return st;
}

enum shoal_status shard_read_weights(const char *path, const struct param_table *table,
                                     struct device *dev, float *weights)
{
    struct h5 h = H5_CLOSED;
    enum shoal_status st;
    SHOAL_GOTO(h5_open(&h, path));
    SHOAL_GOTO(check_format(&h));
    SHOAL_GOTO(slab_read(&h, "/params", table, dev, weights));
done:
    h5_close(&h);
    return st;
}

/* A file to go on from: of this expert, and with more than weights. */
static enum shoal_status check_resumable(const struct h5 *h, const struct expert *e)
{
    int number = -1;
    SHOAL_TRY(check_format(h));
    SHOAL_TRY(h5_get_int32(h, "/", "expert", 0, SHOAL_MAX_EXPERTS, &number));
    SHOAL_CHECK(number == e->number, SHOAL_EFORMAT, "%s holds expert %d, expected expert %d",
                h->path, number, e->number);
    SHOAL_CHECK(h5_exists(h, "/optim") && h5_exists(h, "/state"), SHOAL_EFORMAT,
                "%s holds weights only: it can be used, but not trained further", h->path);
    SHOAL_CHECK(!e->velocity || h5_exists(h, "/evo/velocity"), SHOAL_EFORMAT,
                "%s has no velocities (/evo/velocity), which evolution with inertia needs",
                h->path);
    SHOAL_CHECK(!e->own_best || h5_exists(h, "/evo/own_best"), SHOAL_EFORMAT,
                "%s has no best weights of its own (/evo/own_best), which a cognitive pull needs",
                h->path);
    return SHOAL_OK;
}

enum shoal_status shard_read(const char *path, struct expert *e, struct shard_past *past)
{
    struct h5 h = H5_CLOSED;
    enum shoal_status st;
    past->judgings = NULL;
    past->lineage = NULL;
    past->norms = (struct norms){.tensors = 0};
    SHOAL_GOTO(h5_open(&h, path));
    SHOAL_GOTO(check_resumable(&h, e));
    SHOAL_GOTO(slab_read(&h, "/params", e->table, e->dev, e->weights));
    SHOAL_GOTO(slab_read(&h, "/optim/m", e->table, e->dev, e->adam_m));
    SHOAL_GOTO(slab_read(&h, "/optim/v", e->table, e->dev, e->adam_v));
    SHOAL_GOTO(read_evolution(&h, e));
    SHOAL_GOTO(read_state(&h, e, past));
    SHOAL_GOTO(past_read(&h, e->table, past));
done:
    h5_close(&h);
    if (st != SHOAL_OK) shard_past_free(past);
    return st;
}

enum shoal_status shard_read_outer(const char *path, const struct param_table *table,
                                   struct device *dev, struct shard_outer *outer)
{
    struct h5 h = H5_CLOSED;
    enum shoal_status st;
    SHOAL_GOTO(h5_open(&h, path));
    SHOAL_GOTO(check_format(&h));
    if (!h5_exists(&h, "/evo/outer"))
        SHOAL_GOTO(SHOAL_FAIL(
            SHOAL_EFORMAT, "%s has no weights last agreed on (/evo/outer), which outer steps need",
            h.path));
    SHOAL_GOTO(slab_read(&h, "/evo/outer/agreed", table, dev, outer->agreed));
    SHOAL_GOTO(slab_read(&h, "/evo/outer/velocity", table, dev, outer->velocity));
done:
    h5_close(&h);
    return st;
}

/* ---- without an expert to read into ---------------------------------------------------------- */

static enum shoal_status check_slabs(const struct h5 *h, const struct param_table *table)
{
    const char *const optional[] = {"/optim/m", "/optim/v", "/evo/velocity", "/evo/own_best"};
    SHOAL_TRY(slab_check(h, "/params", table));
    SHOAL_CHECK(h5_exists(h, "/optim") == h5_exists(h, "/state"), SHOAL_EFORMAT,
                "%s: has one of /optim and /state, but not the other", h->path);
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        if (h5_exists(h, i < 2 ? "/optim" : optional[i]))
            SHOAL_TRY(slab_check(h, optional[i], table));
    return SHOAL_OK;
}

/* Everything but the weights and moments reads back. */
static enum shoal_status check_past(const struct h5 *h, const struct param_table *table)
{
    struct shard_past past = {.n_judgings = 0};
    struct expert e;
    if (!h5_exists(h, "/state")) return SHOAL_OK; /* weights only */
    SHOAL_TRY(read_state(h, &e, &past));
    const enum shoal_status st = past_read(h, table, &past);
    shard_past_free(&past);
    return st;
}

static enum shoal_status check_against(const struct h5 *h, const struct gpt_shape *shape)
{
    struct param_table *table = NULL;
    int64_t datasets = 0;
    enum shoal_status st;
    SHOAL_GOTO(param_table_create(shape, &table));
    SHOAL_GOTO(check_slabs(h, table));
    SHOAL_GOTO(check_past(h, table));
    SHOAL_GOTO(h5_read_everything(h, &datasets));
done:
    param_table_destroy(&table);
    return st;
}

enum shoal_status shard_check(const char *path)
{
    struct h5 h = H5_CLOSED;
    struct config c;
    enum shoal_status st;
    SHOAL_TRY(shard_read_config(path, &c));
    const struct gpt_shape shape = config_shape(&c);
    SHOAL_GOTO(h5_open(&h, path));
    SHOAL_GOTO(check_against(&h, &shape));
done:
    h5_close(&h);
    return st;
}

enum shoal_status shard_digest(const char *path, uint64_t *digest)
{
    return seal_read(path, digest);
}

/* ---- before anything is written -------------------------------------------------------------- */

enum { ATTRIBUTES_BYTES = 8 << 10 }; /* mostly the configuration's text */

int64_t shard_bytes(const struct param_table *table, bool with_velocity, bool with_own_best)
{
    return (3 + with_velocity + with_own_best) * slab_bytes(table) + past_bytes(table) +
           ATTRIBUTES_BYTES;
}

int64_t shard_outer_bytes(const struct param_table *table)
{
    return 2 * slab_bytes(table);
}

int64_t shard_weights_bytes(const struct param_table *table)
{
    return slab_bytes(table) + ATTRIBUTES_BYTES;
}

int64_t shard_buffer_bytes(const struct param_table *table, bool on_host)
{
    return slab_buffer_bytes(table, on_host);
}
