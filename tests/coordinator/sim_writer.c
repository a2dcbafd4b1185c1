/* sim_writer.c - a worker's second thread, as src/worker/save.c has it: shards are copied when the
 * snapshot is ordered and reach the disk while the worker trains on. */
#include <string.h>
#include "coordinator/world.h"

enum { WRITE_US = 500 };

static void write_later(struct world *s, const struct sim_worker *w)
{
    /* Now and then the disk is much slower than training. */
    const int64_t us = world_work_us(s, w, WRITE_US);
    world_write(s, w->number, world_draw(s, 16) == 0 ? 50 * us : us);
}

void sim_writer_begin(struct world *s, struct sim_worker *w, int64_t step)
{
    memcpy(s->staged + w->first, s->experts + w->first, (size_t)w->n_own * sizeof *s->staged);
    w->saved = step;
    w->n_written = 0;
    w->writing = true;
    write_later(s, w);
}

void sim_writer_go(struct world *s, struct sim_worker *w)
{
    const int expert = w->first + w->n_written++;
    const bool failed = disk_fails(&s->disk);
    const struct report r = {.kind = failed ? REPORT_FAILED : REPORT_WROTE,
                             .worker = w->number,
                             .member = expert,
                             .step = w->saved};
    s->out->disk_errors += failed;
    if (!failed)
        disk_write_shard(&s->disk, s->oracle.experts, expert, w->saved, &s->staged[expert]);
    world_say(s, w, &r);
    w->writing = w->n_written < w->n_own;
    if (w->writing) {
        write_later(s, w);
    } else if (w->drains) {
        w->drains = false;
        sim_worker_go(s, w);
    }
}
