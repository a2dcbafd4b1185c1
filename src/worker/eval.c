/* eval.c - what the winner of a judging is really worth: its loss on text that did not choose it.
 */
#include "base/clock.h"
#include "worker/worker_impl.h"

/* The mean, which all workers hold. */
static enum shoal_status measure_mean(struct worker *w, void *loss)
{
    return worker_measure(w, w->mean.weights, &w->evaluation, true, loss);
}

enum shoal_status worker_eval(struct worker *w, const struct order *order)
{
    const int experts = w->cfg->population.experts;
    const bool is_mean = order->best == experts;
    const double start_s = clock_now_s();
    double loss = 0;
    if (!is_mean && worker_of_expert(order->best, w->workers, experts) != w->number)
        return SHOAL_OK;
    SHOAL_ASSERT(!is_mean || w->mean_fresh);
    if (is_mean) {
        SHOAL_TRY(worker_together(w, measure_mean, &loss));
    } else {
        SHOAL_TRY(park_bring(w, order->best - w->first));
        SHOAL_TRY(worker_measure(w, w->own[order->best - w->first].expert->weights, &w->evaluation,
                                 false, &loss));
    }
    const struct report r = {.kind = REPORT_EVAL,
                             .worker = w->number,
                             .member = order->best,
                             .step = order->step,
                             .count = {w->evaluation.n * w->cfg->model.context},
                             .value = {loss, clock_now_s() - start_s}};
    return is_mean ? worker_say_for_all(w, &r) : comm_report(w->comm, &r, sizeof r);
}
