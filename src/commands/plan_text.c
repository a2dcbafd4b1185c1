/* plan_text.c - a plan as a table for people. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include "commands/plan.h"
#include "coordinator/format.h"
#include "evo/cadence.h"
#include "worker/worker.h"

enum { NAME = 26, NOTE = 160 };

static const char *const precision_names[] = {"f32", "bf16"};
static const char *const recompute_names[] = {"none", "mlp", "block"};

/* What the items of a worker's memory are called, and what is to be said about them. */
static const struct {
    const char *name, *note;
} items[MEMORY_ITEMS] = {
    [MEMORY_WEIGHTS] = {"weights", NULL},
    [MEMORY_MOMENTS] = {"moments", NULL},
    [MEMORY_VELOCITY] = {"velocities", "a rule has inertia"},
    [MEMORY_OWN_BEST] = {"own best weights", "a rule is cognitive"},
    [MEMORY_GRADIENTS] = {"gradients", "of the expert in training, as are the next two"},
    [MEMORY_WEIGHTS16] = {"bf16 weights", ""},
    [MEMORY_ACTIVATIONS] = {"activations", NULL},
    [MEMORY_MEAN] = {"mean of the experts", ""},
    [MEMORY_INBOX] = {"another worker's expert", "or a parked one, while it leads"},
    [MEMORY_OUTBOX] = {"outboxes", "copies while a delayed round is on its way"},
    [MEMORY_OUTER] = {"outer steps", "the last mean, and a velocity"},
    [MEMORY_WIRE] = {"narrow wire", "what it has lost since the last judging, and packed changes"},
    [MEMORY_REPLICAS] = {"gradients of replicas", "of each of its experts, to be averaged"},
    [MEMORY_BATCH] = {"tokens and targets", ""},
    [MEMORY_SCRATCH] = {"scratch of kernels", ""},
    [MEMORY_WORKSPACE] = {"workspace of products", "cuBLASLt"},
    [MEMORY_CONTEXT] = {"the driver", "an assumption: it depends on GPU and driver"},
    [MEMORY_NCCL] = {"NCCL", "an assumption: it depends on links and version"},
    [MEMORY_PARKED] = {"homes of its experts", "page-locked; two at a time are on the device"},
    [MEMORY_STAGE] = {"page-locked", "on the way to and from the GPU"},
    [MEMORY_EXCHANGE] = {"buffers of exchange", "while experts are added"},
    [MEMORY_SNAPSHOT] = {"buffers of files", "while one is written"},
    [MEMORY_STAGING] = {"copies of experts", "for files written beside training (snapshot.async)"},
    [MEMORY_PROGRAM] = {"program and libraries", ""},
};

static const char *plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

/* "  name                        1.97GB  note" */
static void row(const char *name, const char *value, const char *note)
{
    printf("  %-*s %8s%s%s\n", NAME, name, value, note[0] ? "  " : "", note);
}

static void row_bytes(const char *name, double bytes, const char *note)
{
    char text[FORMAT_WORD];
    format_bytes(text, bytes);
    row(name, text, note);
}

static void row_count(const char *name, double n, const char *note)
{
    char text[FORMAT_WORD];
    format_count(text, n);
    row(name, text, note);
}

/* ---- what is trained ------------------------------------------------------------------------- */

static void print_parameters(const struct plan *p)
{
    const struct gpt_shape *s = &p->table->shape;
    const int experts = p->config.population.experts;
    char note[NOTE];
    printf("%s: %d expert%s of %d layers, width %d, %d heads, context %d, vocabulary %d\n",
           p->config.run.name, experts, plural(experts), s->layers, s->width, s->heads, s->context,
           s->vocab);
    printf("\nParameters\n");
    row_count("an expert", (double)p->table->n_real, "");
    row_count("all experts", (double)p->table->n_real * experts, "");
    (void)snprintf(note, sizeof note, "%d layers", p->uncut.layers);
    row_count("the uncut model", (double)p->uncut_params, note);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void print_need(const struct plan *p)
{
    const struct plan_layout *l = &p->layout;
    char need[FORMAT_WORD], have[FORMAT_WORD], free[FORMAT_WORD];
    format_bytes(need, (double)l->machine_bytes);
    format_bytes(have, (double)p->memory_bytes);
    format_bytes(free, (double)p->free_bytes);
    if (p->memory_bytes == 0) return;
    printf("  %d worker%s on a machine need%s %s; this one has %s, %s free now%s\n", l->on_machine,
           plural(l->on_machine), l->on_machine == 1 ? "s" : "", need, have, free,
           l->fits ? "" : ": IT DOES NOT FIT");
}

static void print_advice(const struct plan *p)
{
    const struct plan_advice *a = &p->advice;
    const struct plan_layout *l = &p->layout;
    if (a->keep_activations) printf("  train.recompute: none would fit as well, and is faster\n");
    if (p->memory_bytes == 0 || l->fits) return;
    if (a->micro_batch > 0)
        printf("  what would: train.micro_batch: %d, train.recompute: %s\n", a->micro_batch,
               recompute_names[a->recompute]);
    if (a->on_machine > 0)
        printf("  what would: at most %d such worker%s on a machine\n", a->on_machine,
               plural(a->on_machine));
    if (a->micro_batch == 0 && a->on_machine == 0)
        printf("  one worker is too large, whatever its micro-batch: cut the model into more "
               "experts, or use more workers\n");
}

/* What depends on the plan. */
static const char *note_of(const struct memory *m, int item, const char *activations)
{
    const bool parked = m->bytes[MEMORY_PARKED] > 0;
    if (item == MEMORY_WEIGHTS)
        return parked ? "float32, of two experts: one is trained, one comes"
                      : "float32, of all its experts";
    if (item == MEMORY_MOMENTS)
        return parked ? "AdamW's two, of the same" : "AdamW's two, of all its experts";
    return items[item].note ? items[item].note : activations;
}

static void print_items(const struct memory *m, enum memory_kind kind, const char *activations)
{
    for (int i = 0; i < MEMORY_ITEMS; i++) {
        const double bytes = (double)m->bytes[i];
        if (bytes > 0 && memory_kind(m, (enum memory_item)i) == kind)
            row_bytes(items[i].name, bytes, note_of(m, i, activations));
    }
}

/* Where it is not known whether the GPU has room for all experts: what if it has not. */
static void print_parked(const struct plan *p)
{
    struct config c = p->config;
    char note[NOTE], homes[FORMAT_WORD];
    c.population.park = PARK_ON;
    const struct plan_layout on = plan_layout_of(p, &c, p->layout.workers);
    if (p->gpu_bytes > 0 || on.memory.bytes[MEMORY_PARKED] == 0) return;
    if (p->config.population.park != PARK_AUTO) return;
    format_bytes(homes, (double)on.memory.bytes[MEMORY_PARKED]);
    (void)snprintf(note, sizeof note,
                   "on one without so much (population.park): %s more of the host's memory", homes);
    row_bytes("or, with experts parked", (double)on.device_bytes, note);
}

static void print_memory(const struct plan *p)
{
    const struct plan_layout *l = &p->layout;
    const struct gpt_setup setup = worker_setup(&p->config);
    char activations[NOTE];
    (void)snprintf(activations, sizeof activations, "%d sequence%s of %d tokens, recompute %s",
                   setup.batch, plural(setup.batch), setup.context,
                   recompute_names[setup.recompute]);
    printf("\nMemory of a worker%s (%d worker%s; at most %d expert%s, %d thread%s each; %s)\n",
           p->gpu ? "'s GPU" : "", l->workers, plural(l->workers), l->experts, plural(l->experts),
           l->threads, plural(l->threads), precision_names[setup.precision]);
    if (p->gpu) {
        print_items(&l->memory, MEMORY_DEVICE, activations);
        row_bytes("on the GPU", (double)l->device_bytes, "");
        print_parked(p);
        printf("\nMemory of a worker on its machine\n");
    }
    print_items(&l->memory, MEMORY_PINNED, activations);
    print_items(&l->memory, MEMORY_HOST, activations);
    row_bytes("at its peak", (double)memory_peak(&l->memory),
              l->memory.bytes[MEMORY_EXCHANGE] > 0 ? "the two buffers take turns" : "");
    print_need(p);
    print_advice(p);
}

/* ---- exchange -------------------------------------------------------------------------------- */

/* What evolution sends, beside what data parallel training would. */
static void print_rounds(const struct plan *p)
{
    const struct plan_layout *l = &p->layout;
    const struct config *c = &p->config;
    char note[NOTE], text[FORMAT_WORD];
    const bool is_auto = c->evolution.every == 0;
    const int64_t every = is_auto ? cadence_probe(c) : c->evolution.every;
    const char *const bound = c->evolution.wire == WIRE_F32 ? "at most" : "while the mean leads";
    (void)snprintf(note, sizeof note, "every %" PRId64 " step%s, %s%s", every, plural(every), bound,
                   is_auto ? "; the run chooses anew" : "");
    row_bytes("a round", l->traffic.round, note);
    (void)snprintf(note, sizeof note, "every %" PRId64 " step%s, with its round",
                   c->evolution.judge, plural(c->evolution.judge));
    row_bytes("a judging", l->traffic.judging, note);
    row_bytes("a step, on average", l->traffic.per_step, "");
    (void)snprintf(note, sizeof note, "2 (%d - 1) %.4g parameters x 4 bytes: a ring all-reduce",
                   l->workers, (double)p->uncut_params);
    row_bytes("data parallel, a step", l->data_parallel, note);
    (void)snprintf(text, sizeof text, "%.2f%%", 100 * l->traffic.per_step / l->data_parallel);
    row("share of data parallel", text, "");
}

static void print_exchange(const struct plan *p)
{
    printf("\nExchange (sent by all workers together)\n");
    if (p->layout.workers == 1)
        printf("  one worker sends nothing\n");
    else if (worker_is_parallel(&p->config))
        row_bytes("a step", p->layout.traffic.per_step, "the gradients of all replicas");
    else
        print_rounds(p);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void print_files(const struct plan *p)
{
    const struct plan_files *f = &p->files;
    const int experts = p->config.population.experts;
    char note[NOTE], each[FORMAT_WORD];
    printf("\nFiles in %s\n", p->config.run.out);
    format_bytes(each, (double)f->shard_bytes);
    (void)snprintf(note, sizeof note, "%d shard%s of %s and an index", experts, plural(experts),
                   each);
    row_bytes("a snapshot", (double)f->snapshot_bytes, note);
    (void)snprintf(note, sizeof note, "in the whole run, of which %" PRId64 " kept", f->kept);
    row_count("snapshots", (double)f->snapshots, note);
    row_bytes("best.h5", (double)f->best_bytes, "weights of the best member");
    row_bytes("most at any time", (double)f->most_bytes,
              "the newest is there before the oldest goes");
}

/* ---- time ------------------------------------------------------------------------------------ */

static void print_data(const struct plan *p)
{
    const double each = p->work.tokens / p->config.population.experts;
    char note[NOTE] = "of all experts";
    if (p->data.train_tokens > 0)
        (void)snprintf(note, sizeof note, "of all experts; each sees data.train %.3g times",
                       each / (double)p->data.train_tokens);
    row_count("tokens", p->work.tokens, note);
    if (p->data.missing[0]) printf("  %s\n", p->data.missing);
}

static void print_time(const struct plan *p)
{
    const struct plan_speed *s = &p->speed;
    const struct plan_layout *l = &p->layout;
    const double tokens = (double)p->config.train.batch * p->config.model.context;
    char note[NOTE], text[FORMAT_WORD];
    printf("\nWork, and time on %s (%s)\n",
           p->request.machines == 1 ? "this machine" : "machines like this one",
           s->measured ? "measured on a few steps" : "an estimate: --measure times real steps");
    print_data(p);
    (void)snprintf(note, sizeof note, "%.3g to train, %.3g to judge", p->work.train_flops,
                   p->work.judge_flops);
    (void)snprintf(text, sizeof text, "%.3g", p->work.train_flops + p->work.judge_flops);
    row("FLOP", text, note);
    format_count(text, s->core_peak * p->cores);
    (void)snprintf(note, sizeof note, "%d core%s, measured; training %s %.0f%% of it", p->cores,
                   plural(p->cores), s->measured ? "reached" : "is taken to reach",
                   100 * s->utilisation);
    row("peak FLOP/s", text, note);
    (void)snprintf(note, sizeof note, "%.0f tokens/s of a worker", tokens / l->step_s);
    format_duration(text, l->step_s);
    row("a step of an expert", text, note);
    format_duration(text, l->run_s);
    row("the run", text, "without exchange and writing of files");
}

/* ---- other numbers of workers ---------------------------------------------------------------- */

static void print_layout(const struct plan *p, int workers)
{
    const struct plan_layout l = plan_layout_of(p, &p->config, workers);
    char memory[FORMAT_WORD], machine[FORMAT_WORD], step[FORMAT_WORD], time[FORMAT_WORD];
    format_bytes(memory, (double)(p->gpu ? l.device_bytes : memory_peak(&l.memory)));
    format_bytes(machine, (double)l.machine_bytes);
    format_bytes(step, l.traffic.per_step);
    format_duration(time, l.run_s);
    printf("  %7d %8d %10s %10s%c %10s", workers, l.experts, memory, machine, l.fits ? ' ' : '!',
           step);
    if (workers == 1)
        printf(" %10s", "-");
    else
        printf(" %9.2f%%", 100 * l.traffic.per_step / l.data_parallel);
    printf(" %8s\n", time);
}

/* 1, 2, 4, ... and one for each expert. */
static void print_layouts(const struct plan *p)
{
    const int experts = p->config.population.experts;
    if (experts == 1) return;
    printf("\nWorkers on %d machine%s%s\n", p->request.machines, plural(p->request.machines),
           p->memory_bytes > 0 ? " (!: more than this one has)" : "");
    printf("  %7s %8s %10s %10s  %10s %10s %8s\n", "workers", "experts", p->gpu ? "GPU" : "memory",
           "machine", "sent/step", "of data p.", "time");
    for (int workers = 1; workers < experts; workers *= 2)
        print_layout(p, workers);
    print_layout(p, experts);
}

void plan_print_text(const struct plan *p)
{
    print_parameters(p);
    print_memory(p);
    print_exchange(p);
    print_files(p);
    print_time(p);
    print_layouts(p);
}
