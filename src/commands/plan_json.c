/* plan_json.c - a plan as one line of JSON. */
#include <stdio.h>
#include "base/json.h"
#include "commands/plan.h"

static void json_parameters(struct json *j, const struct plan *p)
{
    json_open(j, "parameters", '{');
    json_int(j, "expert", p->table->n_real);
    json_int(j, "all_experts", p->table->n_real * p->config.population.experts);
    json_int(j, "uncut", p->uncut_params);
    json_close(j, '}');
}

static void json_memory(struct json *j, const struct plan *p)
{
    const struct plan_layout *l = &p->layout;
    json_open(j, "memory", '{');
    for (int i = 0; i < MEMORY_ITEMS; i++)
        json_int(j, memory_item_name((enum memory_item)i), l->memory.bytes[i]);
    json_int(j, "peak", memory_peak(&l->memory));
    json_int(j, "pinned", memory_total(&l->memory, MEMORY_PINNED));
    json_int(j, "device", l->device_bytes);
    json_close(j, '}');
    json_open(j, "machine", '{');
    json_int(j, "needed_bytes", l->machine_bytes);
    json_int(j, "memory_bytes", p->memory_bytes);
    json_int(j, "free_bytes", p->free_bytes);
    json_int(j, "cores", p->cores);
    json_bool(j, "fits", l->fits);
    json_close(j, '}');
}

static void json_exchange(struct json *j, const struct plan *p)
{
    const struct plan_layout *l = &p->layout;
    json_open(j, "exchange", '{');
    json_number(j, "round_bytes", l->traffic.round);
    json_number(j, "judging_bytes", l->traffic.judging);
    json_number(j, "step_bytes", l->traffic.per_step);
    json_number(j, "data_parallel_step_bytes", l->data_parallel);
    json_number(j, "share", l->traffic.per_step / l->data_parallel); /* null for one worker */
    json_close(j, '}');
}

static void json_files(struct json *j, const struct plan *p)
{
    const struct plan_files *f = &p->files;
    json_open(j, "files", '{');
    json_int(j, "shard_bytes", f->shard_bytes);
    json_int(j, "index_bytes", f->index_bytes);
    json_int(j, "snapshot_bytes", f->snapshot_bytes);
    json_int(j, "best_bytes", f->best_bytes);
    json_int(j, "snapshots", f->snapshots);
    json_int(j, "kept", f->kept);
    json_int(j, "most_bytes", f->most_bytes);
    json_int(j, "token_bytes", p->data.bytes);
    json_close(j, '}');
}

static void json_compute(struct json *j, const struct plan *p)
{
    const struct plan_speed *s = &p->speed;
    const struct plan_layout *l = &p->layout;
    const double tokens = (double)p->config.train.batch * p->config.model.context;
    json_open(j, "compute", '{');
    json_string(j, "how", s->measured ? "measured" : "assumed");
    json_number(j, "tokens", p->work.tokens);
    json_number(j, "flops_per_token", p->work.flops_per_token);
    json_number(j, "train_flops", p->work.train_flops);
    json_number(j, "judge_flops", p->work.judge_flops);
    json_number(j, "peak_flops_per_s", s->core_peak * p->cores);
    json_number(j, "utilisation", s->utilisation);
    json_number(j, "tokens_per_s", tokens / l->step_s);
    json_number(j, "step_s", l->step_s);
    json_number(j, "run_s", l->run_s);
    json_close(j, '}');
}

static void json_advice(struct json *j, const struct plan *p)
{
    static const char *const recompute_names[] = {"none", "mlp", "block"};
    const struct plan_advice *a = &p->advice;
    if (p->layout.fits && !a->keep_activations) return;
    json_open(j, "advice", '{');
    if (a->keep_activations) json_string(j, "recompute", "none");
    if (a->micro_batch > 0) {
        json_int(j, "micro_batch", a->micro_batch);
        json_string(j, "recompute", recompute_names[a->recompute]);
    }
    if (!p->layout.fits) json_int(j, "workers_per_machine", a->on_machine);
    json_close(j, '}');
}

enum shoal_status plan_print_json(const struct plan *p)
{
    const struct plan_layout *l = &p->layout;
    struct json j;
    json_begin(&j);
    json_string(&j, "name", p->config.run.name);
    json_int(&j, "experts", p->config.population.experts);
    json_int(&j, "workers", l->workers);
    json_int(&j, "workers_per_machine", l->on_machine);
    json_int(&j, "experts_per_worker", l->experts);
    json_int(&j, "threads", l->threads);
    json_parameters(&j, p);
    json_memory(&j, p);
    json_exchange(&j, p);
    json_files(&j, p);
    json_compute(&j, p);
    json_advice(&j, p);
    return json_end(&j, stdout);
}
