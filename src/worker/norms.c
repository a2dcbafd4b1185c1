/* norms.c - how large an expert's tensors are, and how far from what they are pulled toward.
 *
 * Taken where the weights are in hand anyway: after a judging, and in the round after it. The
 * differences go where the gradients are, which mean nothing between two steps. */
#include <math.h>
#include "worker/worker_impl.h"

static enum shoal_status norm_of(struct worker *w, const float *slab, const struct param_tensor *t,
                                 float *out)
{
    double sum = 0;
    SHOAL_TRY(kernel_sumsq(w->dev, &sum, slab + t->offset, t->real_rows * t->cols));
    *out = (float)sqrt(sum);
    return SHOAL_OK;
}

enum shoal_status worker_note_norms(struct worker *w, struct own *own, int64_t step)
{
    const struct expert *const e = own->expert;
    const int n = w->table->n_tensors;
    float *row = NULL;
    SHOAL_TRY(norms_add(&own->past.norms, n, step, &row));
    for (int i = 0; row && i < n; i++) {
        const struct param_tensor *t = &w->table->tensor[i];
        SHOAL_TRY(norm_of(w, e->weights, t, &row[NORM_WEIGHT * n + i]));
        SHOAL_TRY(norm_of(w, e->adam_m, t, &row[NORM_GRADIENT * n + i]));
        row[NORM_DISTANCE * n + i] = NAN;
    }
    return SHOAL_OK;
}

/* Attractor less expert, within a range that holds tensors as a whole. */
static enum shoal_status note_range(struct worker *w, const float *mine, const float *attractor,
                                    struct range r, float *distance)
{
    float *const apart = gpt_grads(w->gpt);
    const int64_t count = r.end - r.begin;
    if (count == 0) return SHOAL_OK;
    SHOAL_TRY(
        device_copy(w->dev, apart + r.begin, attractor + r.begin, (size_t)count * sizeof *apart));
    SHOAL_TRY(kernel_axpby(w->dev, apart + r.begin, mine + r.begin, count, -1.0f, 1.0f));
    for (int i = 0; i < w->table->n_tensors; i++) {
        const struct param_tensor *t = &w->table->tensor[i];
        if (t->offset >= r.begin && t->offset < r.end)
            SHOAL_TRY(norm_of(w, apart, t, &distance[i]));
    }
    return SHOAL_OK;
}

enum shoal_status worker_note_distance(struct worker *w, struct own *own, const struct pull *pull,
                                       int64_t step)
{
    float *const distance = norms_last(&own->past.norms, step, NORM_DISTANCE);
    const float *const mine = worker_sent(w, own).weights;
    if (!distance) return SHOAL_OK;
    for (int g = 0; g < 2; g++)
        for (int i = 0; i < 2 && pull[g].member >= 0; i++)
            SHOAL_TRY(note_range(w, mine, pull[g].slabs.weights, pull[g].range[i], distance));
    return SHOAL_OK;
}
