/* halt.c - how workers that train without the coordinator stop together between two judgings.
 *
 * Before every round each takes a look whether it has been asked to halt, and they add up what they
 * saw: if one of them has been asked, all halt, at this step. Nobody is told a step beforehand: a
 * worker that had passed it could wait in an exchange for one that stands at it, for ever. */
#include <signal.h>
#include <string.h>
#include "base/signals.h"
#include "worker/worker_impl.h"

static enum shoal_status say(struct worker *w, enum wish wish, int signal, int64_t step)
{
    const struct report r = {
        .kind = REPORT_WISH, .worker = w->number, .step = step, .count = {wish, signal}};
    return comm_report(w->comm, &r, sizeof r);
}

enum shoal_status worker_pass_wishes(struct worker *w, int64_t step)
{
    const int signal = signals_stop(), saves = signals_saves();
    if (comm_is_coordinator(w->comm)) return SHOAL_OK; /* which looks for itself */
    if (signal && !w->stop_said) {
        w->stop_said = true;
        SHOAL_TRY(say(w, WISH_STOP, signal, step));
    }
    if (saves == w->saves_said) return SHOAL_OK;
    w->saves_said = saves;
    return say(w, WISH_SNAPSHOT, SIGUSR1, step);
}

struct asking {
    double own, all; /* how many have been asked */
};

static enum shoal_status add_up(struct worker *w, void *asking)
{
    struct asking *const a = asking;
    a->all = a->own;
    return comm_sum_values(w->comm, &a->all, 1);
}

enum shoal_status worker_halts(struct worker *w, int64_t step, bool *halts)
{
    unsigned char record[COMM_MAX_RECORD]; /* w->record still holds the order at hand */
    struct order order = {0};
    bool got = false;
    *halts = false;
    /* Resumed here, means could not travel as differences from the last one: see worker_mean. */
    if (w->cfg->evolution.wire != WIRE_F32) return SHOAL_OK;
    SHOAL_TRY(worker_pass_wishes(w, step));
    SHOAL_TRY(comm_poll(w->comm, record, order_record_bytes(w->cfg), &got));
    if (got) memcpy(&order, record, order_bytes(w->cfg->population.experts));
    SHOAL_CHECK(!got || order.halt, SHOAL_EPEER,
                "an order for step %lld came while this worker trained at step %lld: start all "
                "ranks from the same build",
                (long long)order.step, (long long)step);
    struct asking asking = {.own = got};
    SHOAL_TRY(worker_together(w, add_up, &asking));
    *halts = asking.all > 0;
    return SHOAL_OK;
}

enum shoal_status worker_report_halt(struct worker *w, int64_t step)
{
    const struct report r = {.kind = REPORT_HALTED, .worker = w->number, .step = step};
    return worker_say_for_all(w, &r);
}
