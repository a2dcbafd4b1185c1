/* merge_mix.c - what goes into a merge, and how much of it. */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include "base/memory.h"
#include "commands/merge.h"
#include "evo/plan.h"
#include "snapshot/index.h"

/* ---- whether they fit together --------------------------------------------------------------- */

/* The first field in which two shapes differ; NULL: they are the same. */
static const char *shape_difference(const struct config *x, const struct config *y)
{
    const struct gpt_shape a = config_shape(x), b = config_shape(y);
    if (a.arch != b.arch) return "model.arch";
    if (a.layers != b.layers) return "depth";
    if (a.width != b.width) return "model.width";
    if (a.heads != b.heads || a.kv_heads != b.kv_heads) return "model.heads";
    if (a.ffn != b.ffn) return "model.ffn";
    if (a.context != b.context) return "model.context";
    if (a.vocab != b.vocab) return "model.vocab";
    if (a.tied != b.tied) return "model.tied";
    if (a.rope_theta != b.rope_theta) return "model.rope_theta";
    if (strcmp(x->data.tokenizer, y->data.tokenizer) != 0) return "data.tokenizer";
    return NULL;
}

static enum shoal_status open_part(struct merge *m, int i, const char *name)
{
    struct merge_part *p = &m->part[i];
    p->loss = NAN;
    SHOAL_TRY(snapshot_resolve(name, p->path));
    SHOAL_TRY(shard_read_info(p->path, &p->info));
    SHOAL_TRY(config_parse(&p->config, p->info.config, p->path));
    const char *different = shape_difference(&m->part[0].config, &p->config);
    SHOAL_CHECK(!different, SHOAL_ECONFIG,
                "merge: %s and %s differ in %s; only experts of one shape can be merged",
                m->part[0].path, p->path, different);
    return SHOAL_OK;
}

static enum shoal_status make_slab(struct merge *m, float **slab)
{
    return device_alloc(m->dev, (size_t)m->table->n_params * sizeof **slab, "an expert's weights",
                        slab);
}

enum shoal_status merge_open(struct merge *m, const struct merge_args *a, const char *const *parts,
                             int n)
{
    *m = (struct merge){.loss = NAN};
    SHOAL_TRY(mem_alloc((size_t)n * sizeof *m->part, "what is to be merged", &m->part));
    m->n = n;
    for (int i = 0; i < n; i++)
        SHOAL_TRY(open_part(m, i, parts[i]));
    const struct gpt_shape shape = config_shape(&m->part[0].config);
    SHOAL_TRY(param_table_create(&shape, &m->table));
    SHOAL_TRY(device_open("auto", 0, 0, &m->dev));
    SHOAL_TRY(make_slab(m, &m->sum));
    SHOAL_TRY(make_slab(m, &m->one));
    if (a->weights == MERGE_GREEDY) SHOAL_TRY(make_slab(m, &m->trial));
    return merge_score_open(m, a);
}

void merge_close(struct merge *m)
{
    float *const slab[] = {m->sum, m->one, m->trial};
    merge_score_close(m);
    for (size_t i = 0; i < sizeof slab / sizeof *slab; i++)
        if (slab[i]) device_free(m->dev, slab[i]);
    param_table_destroy(&m->table);
    if (m->dev) device_close(&m->dev);
    for (int i = 0; m->part && i < m->n; i++)
        shard_info_free(&m->part[i].info);
    mem_free(m->part);
}

/* ---- shares ---------------------------------------------------------------------------------- */

static enum shoal_status load(struct merge *m, int i)
{
    return shard_read_weights(m->part[i].path, m->table, m->dev, m->one);
}

/* Softmax of -fitness / temperature. */
static enum shoal_status share_by_fitness(struct merge *m, double temperature)
{
    double best = INFINITY, sum = 0.0;
    for (int i = 0; i < m->n; i++) {
        const struct merge_part *p = &m->part[i];
        SHOAL_CHECK(isfinite(p->info.fitness), SHOAL_ECONFIG,
                    "merge: %s has no fitness to weigh it by; use --weights uniform or greedy",
                    p->path);
        if (p->info.fitness < best) best = p->info.fitness;
    }
    for (int i = 0; i < m->n; i++) {
        m->part[i].share = exp((best - m->part[i].info.fitness) / temperature);
        sum += m->part[i].share;
    }
    for (int i = 0; i < m->n; i++)
        m->part[i].share /= sum;
    return SHOAL_OK;
}

static enum shoal_status sum_shares(struct merge *m)
{
    SHOAL_TRY(device_zero(m->dev, m->sum, (size_t)m->table->n_params * sizeof *m->sum));
    for (int i = 0; i < m->n; i++) {
        SHOAL_TRY(load(m, i));
        SHOAL_TRY(kernel_axpby(m->dev, m->sum, m->one, m->table->n_params, (float)m->part[i].share,
                               1.0f));
    }
    return SHOAL_OK;
}

/* ---- greedy ---------------------------------------------------------------------------------- */

static enum shoal_status measure_parts(struct merge *m)
{
    for (int i = 0; i < m->n; i++) {
        SHOAL_TRY(load(m, i));
        SHOAL_TRY(merge_measure(m, m->one, &m->part[i].loss));
    }
    return SHOAL_OK;
}

/* The part into the mean of those taken so far, if that does not make it worse. */
static enum shoal_status try_part(struct merge *m, int i, int *taken)
{
    const size_t bytes = (size_t)m->table->n_params * sizeof *m->sum;
    const float before = (float)*taken / (float)(*taken + 1), now = 1.0f / (float)(*taken + 1);
    double loss = 0.0;
    SHOAL_TRY(load(m, i));
    SHOAL_TRY(device_copy(m->dev, m->trial, m->sum, bytes));
    SHOAL_TRY(kernel_axpby(m->dev, m->trial, m->one, m->table->n_params, now, before));
    SHOAL_TRY(merge_measure(m, m->trial, &loss));
    if (*taken > 0 && !(loss <= m->loss)) return SHOAL_OK;
    SHOAL_TRY(device_copy(m->dev, m->sum, m->trial, bytes));
    m->loss = loss;
    m->part[i].share = 1.0;
    ++*taken;
    return SHOAL_OK;
}

/* Wortsman et al. 2022, recipe 1: best first, each is kept if the mean does not get worse. */
static enum shoal_status mix_greedily(struct merge *m)
{
    double *loss = NULL;
    int *order = NULL, taken = 0;
    enum shoal_status st;
    SHOAL_GOTO(mem_alloc((size_t)m->n * sizeof *loss, "losses", &loss));
    SHOAL_GOTO(mem_alloc((size_t)m->n * sizeof *order, "an order", &order));
    SHOAL_GOTO(measure_parts(m));
    for (int i = 0; i < m->n; i++)
        loss[i] = m->part[i].loss;
    plan_rank(loss, m->n, m->n, order);
    SHOAL_GOTO(device_zero(m->dev, m->sum, (size_t)m->table->n_params * sizeof *m->sum));
    for (int i = 0; i < m->n; i++)
        SHOAL_GOTO(try_part(m, order[i], &taken));
    for (int i = 0; i < m->n; i++)
        m->part[i].share /= taken;
done:
    mem_free(loss);
    mem_free(order);
    return st;
}

enum shoal_status merge_mix(struct merge *m, const struct merge_args *a)
{
    if (a->weights == MERGE_GREEDY) return mix_greedily(m);
    for (int i = 0; i < m->n; i++)
        m->part[i].share = 1.0 / m->n;
    if (a->weights == MERGE_FITNESS) SHOAL_TRY(share_by_fitness(m, a->temperature));
    SHOAL_TRY(sum_shares(m));
    if (!m->score) return SHOAL_OK;
    SHOAL_TRY(measure_parts(m));
    return merge_measure(m, m->sum, &m->loss);
}
