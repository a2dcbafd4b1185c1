/* judge.c - how good is every member? Mean loss over one held-out slice, the same for all.
 *
 * A slice is cut into passes of `micro` windows. An expert is measured by its owner alone. The
 * recombinant, which every worker holds, is measured by all of them together, pass p by worker
 * p mod W; losses are added in the order of the passes, so the sum has the same bits for any W. */
#include <math.h>
#include <string.h>
#include "base/clock.h"
#include "evo/operators.h"
#include "evo/plan.h"
#include "worker/worker_impl.h"

static int64_t slice_passes(const struct worker *w, const struct slice *s)
{
    return (s->n + w->micro - 1) / w->micro;
}

/* Load the windows of one pass; *count: how many. */
static enum shoal_status load_pass(struct worker *w, const struct slice *s, int64_t pass,
                                   int *count)
{
    const int64_t context = w->cfg->model.context, begin = pass * w->micro;
    const int64_t left = s->n - begin;
    *count = (int)(left < w->micro ? left : w->micro);
    for (int i = 0; i < *count; i++)
        SHOAL_TRY(data_window(w->val, slice_window(s, begin + i), w->tokens + i * context,
                              w->targets + i * context));
    return SHOAL_OK;
}

/* Losses of passes first, first + stride, ... of the loaded weights, each times its windows, into
 * pass_losses; the other entries become 0. */
static enum shoal_status run_passes(struct worker *w, const struct slice *s, int first, int stride)
{
    const int64_t passes = slice_passes(w, s);
    memset(w->pass_losses, 0, (size_t)passes * sizeof *w->pass_losses);
    for (int64_t pass = first; pass < passes; pass += stride) {
        int count = 0;
        double loss = 0;
        SHOAL_TRY(load_pass(w, s, pass, &count));
        SHOAL_TRY(gpt_judge(w->gpt, w->tokens, w->targets, count, &loss));
        w->pass_losses[pass] = loss * count;
    }
    return SHOAL_OK;
}

enum shoal_status worker_measure(struct worker *w, float *weights, const struct slice *slice,
                                 bool together, double *loss)
{
    const int64_t passes = slice_passes(w, slice);
    double sum = 0;
    SHOAL_TRY(gpt_load(w->gpt, weights));
    SHOAL_TRY(run_passes(w, slice, together ? comm_live_rank(w->comm) : 0,
                         together ? comm_live(w->comm) : 1));
    if (together) SHOAL_TRY(comm_sum_values(w->comm, w->pass_losses, (int)passes));
    for (int64_t pass = 0; pass < passes; pass++)
        sum += w->pass_losses[pass];
    *loss = sum / (double)slice->n;
    return SHOAL_OK;
}

static struct report fitness_report(struct worker *w, int member, int64_t step, int64_t skipped)
{
    return (struct report){.kind = REPORT_FITNESS,
                           .worker = w->number,
                           .member = member,
                           .step = step,
                           .count = {skipped},
                           .value = {w->fitness[member], clock_now_s() - w->judging_s}};
}

/* *common: the fitness that all have; NULL: each is measured. */
static enum shoal_status judge_own(struct worker *w, struct own *own, int64_t step,
                                   const double *common)
{
    struct expert *e = own->expert;
    if (common) {
        e->fitness = *common;
    } else {
        SHOAL_TRY(park_bring(w, (int)(own - w->own)));
        SHOAL_TRY(park_bring_next(w, (int)(own - w->own)));
        SHOAL_TRY(worker_measure(w, e->weights, &w->judging, false, &e->fitness));
    }
    w->fitness[e->number] = e->fitness;
    SHOAL_TRY(evo_note_own_best(e));
    SHOAL_TRY(worker_note_history(w, own, step));
    SHOAL_TRY(worker_note_norms(w, own, step));
    const struct report r = fitness_report(w, e->number, step, own->past.outlier.skipped);
    return comm_report(w->comm, &r, sizeof r);
}

/* The mean of the live experts, judged by all workers together; NAN when none is alive. */
static enum shoal_status judge_recombinant(struct worker *w, void *nothing)
{
    const int experts = w->cfg->population.experts;
    struct live_set live = {0};
    (void)nothing;
    memset(w->fitness, 0, (size_t)experts * sizeof *w->fitness);
    for (int i = 0; i < w->n_own; i++)
        w->fitness[w->first + i] = w->own[i].expert->fitness;
    /* The others' entries are 0 here, so the sum is exact, and what is not finite stays so. */
    SHOAL_TRY(comm_sum_values(w->comm, w->fitness, experts));
    for (int k = 0; k < experts; k++)
        if (!worker_has(w, k)) w->fitness[k] = NAN;
    w->fitness[experts] = NAN;
    if (plan_live(w->fitness, experts, &live) > 0) {
        const struct range whole = {0, w->table->n_params};
        SHOAL_TRY(worker_mean(w, &live, whole, false, false));
        w->mean_fresh = true;
        SHOAL_TRY(worker_measure(w, w->mean.weights, &w->judging, true, &w->fitness[experts]));
    }
    return SHOAL_OK;
}

enum shoal_status worker_judge(struct worker *w, int64_t step)
{
    const int experts = w->cfg->population.experts;
    double common = 0;
    w->judging_s = clock_now_s();
    if (w->parallel) SHOAL_TRY(parallel_judge(w, step, &common));
    for (int i = 0; i < w->n_own; i++)
        SHOAL_TRY(judge_own(w, &w->own[i], step, w->parallel ? &common : NULL));
    SHOAL_TRY(park_settle(w));
    if (!w->cfg->evolution.recombine) return SHOAL_OK;
    SHOAL_TRY(worker_together(w, judge_recombinant, NULL));
    const struct report r = fitness_report(w, experts, step, 0);
    return worker_say_for_all(w, &r);
}
