/* history.c - what a worker remembers of its experts' judgings. */
#include <math.h>
#include <string.h>
#include "base/clock.h"
#include "base/memory.h"
#include "worker/worker_impl.h"

enum shoal_status worker_note_history(struct worker *w, struct own *own, int64_t step)
{
    const struct history_row row = {
        .step = step,
        .fitness = own->expert->fitness,
        .train_loss = own->past.losses ? own->past.loss_sum / (double)own->past.losses : NAN,
        .time_s = clock_now_s() - w->began_s};
    struct shard_past *past = &own->past;
    if (past->n_judgings == own->room) {
        struct history_row *more = NULL;
        const int64_t room = own->room * 2 + 16;
        SHOAL_TRY(mem_alloc((size_t)room * sizeof *more, "an expert's history", &more));
        if (past->n_judgings) memcpy(more, past->judgings, (size_t)past->n_judgings * sizeof *more);
        mem_free(past->judgings);
        past->judgings = more;
        own->room = room;
    }
    past->judgings[past->n_judgings++] = row;
    past->loss_sum = 0;
    past->losses = 0;
    return SHOAL_OK;
}
