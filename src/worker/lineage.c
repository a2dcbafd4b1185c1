/* lineage.c - who took what from whom, and how far that moved it.
 *
 * How far takes a copy of the weights as they were. Between two steps the gradients mean nothing,
 * and their slab has the right size. */
#include <math.h>
#include <string.h>
#include "base/memory.h"
#include "evo/operators.h"
#include "worker/worker_impl.h"

enum shoal_status lineage_begin(struct worker *w, const struct expert *e)
{
    return device_copy(w->dev, gpt_grads(w->gpt), e->weights,
                       (size_t)w->table->n_params * sizeof(float));
}

/* Norm of the change as a share of the norm before. */
static enum shoal_status measure(struct worker *w, const struct expert *e, double *distance)
{
    float *const before = gpt_grads(w->gpt);
    const int64_t n = w->table->n_params;
    double was = 0, moved = 0;
    SHOAL_TRY(kernel_sumsq(w->dev, &was, before, n));
    SHOAL_TRY(kernel_axpby(w->dev, before, e->weights, n, 1.0f, -1.0f));
    SHOAL_TRY(kernel_sumsq(w->dev, &moved, before, n));
    *distance = sqrt(moved / was);
    return SHOAL_OK;
}

static enum lineage_kind kind_of(const struct pull *pull, int expert, bool dead)
{
    bool follows = false, copies = true;
    for (int g = 0; g < 2; g++) {
        const bool moves = pull[g].member >= 0 && pull[g].member != expert;
        follows = follows || moves;
        copies = copies && moves && evo_rule_copies(pull[g].rule);
    }
    if (!follows) return LINEAGE_STAYED;
    if (dead) return LINEAGE_REVIVED;
    return copies ? LINEAGE_COPIED : LINEAGE_MOVED;
}

enum shoal_status lineage_note(struct own *own, const struct lineage_row *row)
{
    struct shard_past *past = &own->past;
    if (past->n_lineage == own->lineage_room) {
        struct lineage_row *more = NULL;
        const int64_t room = own->lineage_room * 2 + 16;
        SHOAL_TRY(mem_alloc((size_t)room * sizeof *more, "an expert's lineage", &more));
        if (past->n_lineage) memcpy(more, past->lineage, (size_t)past->n_lineage * sizeof *more);
        mem_free(past->lineage);
        past->lineage = more;
        own->lineage_room = room;
    }
    past->lineage[past->n_lineage++] = *row;
    return SHOAL_OK;
}

enum shoal_status lineage_end(struct worker *w, struct own *own, const struct pull *pull,
                              int64_t step, bool dead)
{
    const struct expert *e = own->expert;
    struct lineage_row row = {.step = step,
                              .body = pull[0].member,
                              .io = pull[1].member,
                              .kind = kind_of(pull, e->number, dead),
                              .lr_scale = e->lr_scale};
    if (row.kind != LINEAGE_STAYED) SHOAL_TRY(measure(w, e, &row.distance));
    SHOAL_TRY(lineage_note(own, &row));
    const struct report r = {.kind = REPORT_LINEAGE,
                             .worker = w->number,
                             .member = e->number,
                             .step = step,
                             .count = {row.body, row.io},
                             .value = {row.distance, row.lr_scale, row.kind}};
    return comm_report(w->comm, &r, sizeof r);
}
