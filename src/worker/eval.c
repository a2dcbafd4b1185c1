/* eval.c - what the winner of a judging is really worth: its loss on text that did not choose it.
 */
#include "base/clock.h"
#include "worker/worker_impl.h"

enum shoal_status worker_eval(struct worker *w, const struct order *order)
{
    const int experts = w->cfg->population.experts;
    const bool is_mean = order->best == experts;
    const int reporter = is_mean ? 0 : worker_of_expert(order->best, w->workers, experts);
    const double start_s = clock_now_s();
    double loss = 0;
    if (!is_mean && reporter != w->number) return SHOAL_OK;
    SHOAL_ASSERT(!is_mean || w->mean_fresh);
    if (!is_mean) SHOAL_TRY(park_bring(w, order->best - w->first));
    float *const weights =
        is_mean ? w->mean.weights : w->own[order->best - w->first].expert->weights;
    SHOAL_TRY(worker_measure(w, weights, &w->evaluation, is_mean, &loss));
    if (reporter != w->number) return SHOAL_OK;
    const struct report r = {.kind = REPORT_EVAL,
                             .worker = w->number,
                             .member = order->best,
                             .step = order->step,
                             .count = {w->evaluation.n * w->cfg->model.context},
                             .value = {loss, clock_now_s() - start_s}};
    return comm_report(w->comm, &r, sizeof r);
}
