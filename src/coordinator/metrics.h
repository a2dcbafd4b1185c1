/* metrics.h - RUN/metrics.jsonl: one JSON object a line, flushed line by line.
 *
 * Every line has "event", "time" (seconds since the run started, earlier sessions included) and
 * "step". On a full disk lines are lost, with a warning. A resumed run appends; lines after the
 * step of its "start" line then come twice. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/status.h"
#include "evo/ledger.h"
#include "evo/protocol.h"

struct metrics;

/* Open for appending. A last line cut short by a kill is removed first. SHOAL_EIO. */
enum shoal_status metrics_open(const char *run, struct metrics **out);
void metrics_close(struct metrics **m);

struct metrics_start {
    const char *run_id;
    bool resumed;
    int experts, members, workers;
    int64_t params; /* per expert */
    int64_t step, steps;
    int64_t tokens_per_step; /* of one expert */
};
enum shoal_status metrics_write_start(struct metrics *m, double time_s,
                                      const struct metrics_start *start);
/* {"event":"worker","worker","peak_flops_per_s"}: what its device does at best; null: unknown. */
enum shoal_status metrics_write_device(struct metrics *m, double time_s, int64_t step,
                                       const struct report *r);
/* {"event":"step","expert","loss","lr","grad_norm","tokens","tokens_per_s"}, "mfu" (model FLOPs as
 * a share of the device's peak; left out where it is NAN), and for a step that was not taken
 * "skipped":true and "reason": "not finite", "loss" or "grad_norm". Steps that are skipped have a
 * line of their own between those of run.log. */
enum shoal_status metrics_write_step(struct metrics *m, double time_s, const struct report *r,
                                     double mfu);
/* {"event":"eval","member","loss","perplexity","tokens","seconds"} */
enum shoal_status metrics_write_eval(struct metrics *m, double time_s, const struct report *r);
/* {"event":"judge","fitness":[every member; null where not finite],"best","best_fitness","spread",
 * "champion","champion_step","champion_fitness","seconds"}; members: entries of "fitness", the
 * recombinant last. champion: after this judging. seconds: that it kept the slowest worker from
 * training. */
enum shoal_status metrics_write_judging(struct metrics *m, double time_s, const struct judging *j,
                                        int experts, int members, const struct standing *standing,
                                        double seconds);
/* {"event":"round","source","seconds","stall_s","bytes"}: of the exchange, and how long it kept
 * worker 0 from training. bytes: sent by all workers since the last such line. */
enum shoal_status metrics_write_round(struct metrics *m, double time_s, const struct report *r);
/* {"event":"cadence","every","stall_s","step_s"}: evolution.every auto has chosen, because a round
 * kept a worker from training for stall_s where a step took step_s. */
struct metrics_cadence {
    int64_t step, every;
    double stall_s, step_s;
};
enum shoal_status metrics_write_cadence(struct metrics *m, double time_s,
                                        const struct metrics_cadence *row);
/* {"event":"lineage","expert","kind":"stayed", "moved", "copied" or
 * "revived","body","io","distance", "lr_scale"}: what an expert did in the round after a judging;
 * body, io: the member that each group of tensors followed, -1 for none; distance: norm of the
 * change as a share of the norm before. */
enum shoal_status metrics_write_lineage(struct metrics *m, double time_s, const struct report *r);
/* {"event":"joined","expert","parent"}: with this session, as a copy of another or (-1) anew. */
enum shoal_status metrics_write_joined(struct metrics *m, double time_s, int64_t step, int expert,
                                       int parent);
/* {"event":"snapshot","seconds","stall_s","bytes"}: from the order to the commit, of which the
 * slowest worker did not train stall_s; shards and index. */
enum shoal_status metrics_write_snapshot(struct metrics *m, double time_s, int64_t step,
                                         double seconds, double stall_s, int64_t bytes);
/* {"event":"snapshot_failed","newest"}: not all of it could be written; newest: step of the newest
 * that was, null: none. */
enum shoal_status metrics_write_lost_snapshot(struct metrics *m, double time_s, int64_t step,
                                              int64_t newest);
/* {"event":"lost","worker","reason","first_expert","experts"}: a worker that did not answer any
 * more, and the experts that it took along. */
enum shoal_status metrics_write_lost(struct metrics *m, double time_s, int64_t step, int worker,
                                     double silent_s, int first, int experts);
/* {"event":"end","best","best_step","best_fitness","tokens","skipped","late","peak_bytes":[every
 * worker]}, and "why" where the run was stopped before its end; tokens and
 * skipped steps of the population; late: reports that were ignored; peak_bytes: the most memory a
 * worker ever held in RAM, mapped files included, 0: not known. */
struct metrics_end {
    int64_t tokens, skipped, late;
    const char *why;          /* it stopped; ""; borrowed */
    const double *peak_bytes; /* borrowed */
    int workers;
    int lost; /* workers; left out where 0 */
};
enum shoal_status metrics_write_end(struct metrics *m, double time_s,
                                    const struct standing *standing, const struct metrics_end *end);
