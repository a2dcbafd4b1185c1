/* track.c - experts of one worker train in turn, so "the step" is the mean over all of them. */
#include "coordinator/track.h"
#include <math.h>
#include <string.h>
#include "evo/plan.h"

void track_begin(struct track *t, const struct config *c, int workers,
                 const struct standing *standing, double now_s)
{
    memset(t, 0, sizeof *t);
    t->workers = workers;
    for (int w = 0; w < workers; w++)
        t->peak[w] = NAN;
    t->experts = c->population.experts;
    t->steps = c->run.steps;
    t->limit_s = c->run.minutes * 60.0;
    t->step_tokens = (double)t->experts * c->train.batch * c->model.context;
    t->step = (double)standing->step;
    for (int k = 0; k < t->experts; k++)
        t->expert_step[k] = standing->step;
    t->best = standing->best;
    t->best_fitness = standing->best_fitness;
    t->judged_s = now_s;
    t->judged_step = t->step;
    meter_add(&t->meter, now_s, track_tokens(t));
}

void track_device(struct track *t, int worker, double peak_flops_per_s, double flops_per_token)
{
    if (worker < 0 || worker >= t->workers) return;
    t->peak[worker] = peak_flops_per_s;
    t->flops_per_token = flops_per_token;
}

double track_utilisation(const struct track *t, int worker, double tokens_per_s)
{
    const int first = worker < 0 ? 0 : worker, end = worker < 0 ? t->workers : worker + 1;
    double peak = 0.0;
    if (end > t->workers) return NAN;
    for (int w = first; w < end; w++)
        peak += t->peak[w];
    return peak > 0.0 ? tokens_per_s * t->flops_per_token / peak : NAN;
}

void track_skipped(struct track *t, int expert, int64_t steps)
{
    if (expert >= 0 && expert < t->experts) t->skipped[expert] = steps;
}

int64_t track_all_skipped(const struct track *t)
{
    int64_t sum = 0;
    for (int k = 0; k < t->experts; k++)
        sum += t->skipped[k];
    return sum;
}

void track_step(struct track *t, int expert, int64_t step, double now_s)
{
    t->step += (double)(step - t->expert_step[expert]) / t->experts;
    t->expert_step[expert] = step;
    meter_add(&t->meter, now_s, track_tokens(t));
}

void track_judging(struct track *t, const struct judging *judged, int members,
                   const struct standing *standing, struct judging_row *out)
{
    const double passed_s = judged->time_s - t->judged_s;
    const double tokens = ((double)judged->step - t->judged_step) * t->step_tokens;
    for (int k = 0; k < t->experts; k++)
        t->expert_step[k] = judged->step;
    t->step = t->judged_step = (double)judged->step;
    t->judged_s = judged->time_s;
    t->best = judged->best;
    t->best_fitness = judged->best < 0 ? NAN : judged->fitness[judged->best];
    meter_add(&t->meter, judged->time_s, track_tokens(t));
    memset(out, 0, sizeof *out);
    out->step = judged->step;
    out->steps = t->steps;
    out->time_s = judged->time_s;
    out->tokens_per_s = tokens > 0.0 && passed_s > 0.0 ? tokens / passed_s : NAN;
    out->utilisation = track_utilisation(t, -1, out->tokens_per_s);
    out->experts = t->experts;
    out->best = t->best;
    out->best_fitness = t->best_fitness;
    out->champion_fitness = standing->champion_fitness;
    out->spread = plan_spread(judged->fitness, t->experts);
    out->has_recombinant = members > t->experts;
    out->recombinant = out->has_recombinant ? judged->fitness[t->experts] : NAN;
    out->new_champion = standing->champion >= 0 && standing->champion_step == judged->step;
}

void track_progress(const struct track *t, double now_s, struct progress *out)
{
    const double rate = meter_rate(&t->meter);
    memset(out, 0, sizeof *out);
    out->step = t->step;
    out->steps = t->steps;
    out->tokens_per_s = rate > 0.0 ? rate : NAN;
    out->utilisation = track_utilisation(t, -1, out->tokens_per_s);
    out->left_s = rate > 0.0 ? ((double)t->steps - t->step) * t->step_tokens / rate : NAN;
    /* fmin ignores a NAN, so a time limit alone gives an estimate too. */
    if (t->limit_s > 0.0) out->left_s = fmin(out->left_s, fmax(t->limit_s - now_s, 0.0));
    out->experts = t->experts;
    out->best = t->best;
    out->best_fitness = t->best_fitness;
}

double track_tokens(const struct track *t)
{
    return t->step * t->step_tokens;
}
