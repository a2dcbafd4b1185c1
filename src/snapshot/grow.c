/* grow.c - a run goes on with more experts than its snapshot has. Only the index changes here:
 * whoever needs a new expert's tensors takes its parent's shard or draws them. */
#include <math.h>
#include <string.h>
#include "base/memory.h"
#include "evo/plan.h"
#include "snapshot/index.h"

struct growth {
    int was, is;         /* experts */
    int members_was;     /* they, and the mean where it competes */
    const int32_t *born; /* is - was: parents; -1: none */
};

static int renumber(const struct growth *g, int member)
{
    return member == g->was ? g->is : member;
}

/* The new experts' parents. The last judging may have found some of the old not finite; with no
 * judging at all they are taken by their numbers. */
static enum shoal_status choose_parents(const struct snapshot_index *index, int n, bool clones,
                                        int32_t *parents)
{
    int order[SHOAL_MAX_EXPERTS], finite = index->experts;
    struct live_set live;
    const double *fitness =
        index->n_judgings > 0 ? index->judgings[index->n_judgings - 1].fitness : NULL;
    for (int k = 0; k < index->experts; k++)
        order[k] = k;
    if (fitness) {
        plan_rank(fitness, index->experts, index->experts, order);
        finite = plan_live(fitness, index->experts, &live);
    }
    SHOAL_CHECK(finite > 0, SHOAL_ENUMERIC,
                "no expert can be cloned: the held-out loss of all of them is not finite");
    for (int i = 0; i < n; i++)
        parents[i] = clones ? order[i % finite] : -1;
    return SHOAL_OK;
}

static enum shoal_status note_joined(struct snapshot_index *index, const struct growth *g)
{
    const int more = g->is - g->was;
    const size_t bytes = (size_t)(index->n_joined + more) * sizeof *index->joined;
    struct joined_row *rows = NULL;
    SHOAL_TRY(mem_alloc(bytes, "who joined", &rows));
    if (index->n_joined) memcpy(rows, index->joined, (size_t)index->n_joined * sizeof *rows);
    for (int i = 0; i < more; i++)
        rows[index->n_joined + i] =
            (struct joined_row){index->standing.step, g->was + i, g->born[i]};
    mem_free(index->joined);
    index->joined = rows;
    index->n_joined += more;
    return SHOAL_OK;
}

/* One judging's fitnesses, with the new members among them. */
static void widen(double *out, const double *in, const struct growth *g, bool last)
{
    memcpy(out, in, (size_t)g->was * sizeof *out);
    for (int k = g->was; k < g->is; k++) {
        const int parent = g->born[k - g->was];
        out[k] = last && parent >= 0 ? in[parent] : NAN;
    }
    if (g->members_was > g->was) out[g->is] = in[g->was];
}

static enum shoal_status widen_judgings(struct snapshot_index *index, const struct growth *g)
{
    const int64_t n = index->n_judgings;
    const size_t members = (size_t)(index->members + g->is - g->was);
    double *fitness = NULL;
    if (n == 0) return SHOAL_OK;
    SHOAL_TRY(mem_alloc((size_t)n * members * sizeof *fitness, "fitnesses", &fitness));
    double *const old = index->judgings[0].fitness;
    for (int64_t i = 0; i < n; i++) {
        struct judging *j = &index->judgings[i];
        double *const row = fitness + (size_t)i * members;
        widen(row, j->fitness, g, i == n - 1);
        j->fitness = row;
        j->best = renumber(g, j->best);
    }
    mem_free(old);
    return SHOAL_OK;
}

/* Who joins has no shard yet. */
static enum shoal_status widen_shards(struct snapshot_index *index, const struct growth *g)
{
    struct shard_mark *marks = NULL;
    if (!index->shards) return SHOAL_OK;
    SHOAL_TRY(mem_alloc((size_t)g->is * sizeof *marks, "what shards are", &marks));
    memcpy(marks, index->shards, (size_t)g->was * sizeof *marks);
    for (int k = g->was; k < g->is; k++)
        marks[k] = (struct shard_mark){.expert = k, .age = -1};
    mem_free(index->shards);
    index->shards = marks;
    return SHOAL_OK;
}

static enum shoal_status grow(struct snapshot_index *index, const struct growth *g)
{
    struct standing *s = &index->standing;
    SHOAL_TRY(note_joined(index, g));
    SHOAL_TRY(widen_judgings(index, g));
    s->best = renumber(g, s->best);
    s->champion = renumber(g, s->champion);
    for (int k = g->was; k < g->is; k++)
        live_put(&s->live, k, true);
    index->experts = g->is;
    index->members += g->is - g->was;
    return widen_shards(index, g);
}

enum shoal_status index_grow(struct snapshot_index *index, const struct config *c)
{
    const int more = c->population.experts - index->experts;
    int32_t born[SHOAL_MAX_EXPERTS];
    SHOAL_ASSERT(more >= 0 && c->population.experts <= SHOAL_MAX_EXPERTS);
    if (more == 0) return SHOAL_OK;
    SHOAL_TRY(choose_parents(index, more, c->population.grow == GROW_CLONE, born));
    const struct growth g = {index->experts, c->population.experts, index->members, born};
    return grow(index, &g);
}

const struct joined_row *index_beginner(const struct snapshot_index *index, int expert)
{
    if (expert < index->stored) return NULL;
    return &index->joined[index->n_joined - (index->experts - expert)];
}
