/* together.c - what workers do together, and how they go on when one of them is lost.
 *
 * Every exchange is a pass: each worker works, then all wait for each other. Whoever has passed
 * knows that everybody has what the exchange brings, and only then acts on it. When a worker is
 * lost in the middle, the others are at most one pass apart: some know that all have come, the
 * others have all the same what came. They say how many passes they have made, connect anew, and
 * whoever is behind passes; where nobody has passed, the exchange is repeated without the lost. So
 * an exchange must bear repetition: it starts from what it does not change.
 *
 * The live worker of the lowest number speaks for all. All keep what it said last, and whoever
 * comes to speak for them repeats it. */
#include "base/clock.h"
#include "worker/worker_impl.h"

bool worker_leads(const struct worker *w)
{
    return comm_live_rank(w->comm) == 0;
}

bool worker_has(const struct worker *w, int expert)
{
    const int experts = w->cfg->population.experts;
    return comm_lives(w->comm, worker_of_expert(expert, w->workers, experts));
}

void worker_strike_lost(const struct worker *w, struct live_set *live)
{
    for (int k = 0; k < w->cfg->population.experts; k++)
        if (!worker_has(w, k)) live_put(live, k, false);
}

enum shoal_status worker_say_for_all(struct worker *w, const struct report *r)
{
    w->said = *r;
    w->said.worker = w->number;
    return worker_leads(w) ? comm_report(w->comm, r, sizeof *r) : SHOAL_OK;
}

static enum shoal_status say_place(struct worker *w, uint32_t epoch)
{
    const struct report r = {
        .kind = REPORT_PLACE, .worker = w->number, .count = {w->passed, epoch}};
    return comm_report(w->comm, &r, sizeof r);
}

/* Until all survivors have said where they are. Others may be lost meanwhile. */
static enum shoal_status await_others(struct worker *w, struct comm_news *news)
{
    uint32_t told = 0;
    const double pause_s = 1e-3;
    for (;;) {
        if (!comm_changed(w->comm, news)) /* it has: that is why we are here */
            return SHOAL_FAIL(SHOAL_EPEER, "a worker was lost, and the others are not known");
        if (news->ready) return SHOAL_OK;
        if (news->epoch != told) SHOAL_TRY(say_place(w, news->epoch));
        told = news->epoch;
        if (comm_is_orphan(w->comm)) return SHOAL_FAIL(SHOAL_EORPHAN, "the coordinator is lost");
        SHOAL_TRY(comm_flush(w->comm));
        clock_sleep_s(pause_s);
    }
}

/* Who led the last judging may be gone, and what it ordered of it. */
void worker_mend_order(const struct worker *w, struct order *order)
{
    if (order->best < 0 || order->best >= w->cfg->population.experts || worker_has(w, order->best))
        return;
    order->best = w->stand_in;
    order->save_best = order->eval = 0;
}

static void mend_round(struct worker *w)
{
    struct round *const r = &w->round;
    if (r->best >= 0 && r->best < w->cfg->population.experts && !worker_has(w, r->best))
        r->best = w->stand_in;
    /* What a mean travels as differences from may be different on each worker now. */
    r->narrow = false;
}

enum shoal_status worker_renew(struct worker *w, int64_t *passed)
{
    struct comm_news news;
    uint8_t live[COMM_MAX_WORKERS];
    SHOAL_TRY(await_others(w, &news));
    for (int i = 0; i < w->workers; i++)
        live[i] = news.live[i / 64] >> i % 64 & 1;
    SHOAL_TRY(comm_renew(w->comm, news.epoch, live, w->cfg->faults.deadline));
    *passed = news.passed;
    w->stand_in = news.best;
    worker_mend_order(w, &w->order);
    mend_round(w);
    SHOAL_TRY(worker_forget_lost(w)); /* a change may have been packed and not have come */
    if (!worker_leads(w)) return SHOAL_OK;
    if (w->outer.agreed) w->own[0].past.outer = w->outer;
    return w->said.kind ? comm_report(w->comm, &w->said, sizeof w->said) : SHOAL_OK;
}

/* A failure that only says that somebody is gone. */
static bool is_loss(struct worker *w, enum shoal_status st)
{
    return st == SHOAL_EPEER && comm_changed(w->comm, NULL);
}

enum shoal_status worker_attempt(struct worker *w, pass_fn work, void *argument)
{
    SHOAL_TRY(work(w, argument));
    return comm_pass(w->comm);
}

enum shoal_status worker_settle(struct worker *w, enum shoal_status st, pass_fn work,
                                void *argument)
{
    while (is_loss(w, st)) {
        int64_t passed = 0;
        shoal_failure_told();
        SHOAL_TRY(worker_renew(w, &passed));
        st = passed > w->passed ? SHOAL_OK : worker_attempt(w, work, argument);
    }
    w->passed++;
    return st;
}

enum shoal_status worker_together(struct worker *w, pass_fn work, void *argument)
{
    return worker_settle(w, worker_attempt(w, work, argument), work, argument);
}

/* Others may still need to know how far this one has come. */
enum shoal_status worker_linger(struct worker *w)
{
    const double pause_s = 2e-3;
    while (!comm_is_dismissed(w->comm)) {
        int64_t passed = 0;
        if (comm_changed(w->comm, NULL)) SHOAL_TRY(worker_renew(w, &passed));
        SHOAL_TRY(comm_flush(w->comm));
        clock_sleep_s(pause_s);
    }
    return SHOAL_OK;
}

enum shoal_status worker_await_order(struct worker *w)
{
    for (;;) {
        int64_t passed = 0;
        const enum shoal_status st = comm_obey(w->comm, w->record, order_record_bytes(w->cfg));
        if (!is_loss(w, st)) return st;
        shoal_failure_told();
        SHOAL_TRY(worker_renew(w, &passed));
    }
}
