/* options.c - the table. A row names a member of struct config; its key is the member's name and
 * its type comes from the compiler, so that the three cannot drift apart. */
#include "config/options.h"
#include <string.h>
#include "base/text.h"

/* Any value of the member's type. */
#define ANY(member)                                                                                \
    .key = #member,                                                                                \
    .type = _Generic(((struct config *)0)->member,                                                 \
        int: OPTION_INT,                                                                           \
        int64_t: OPTION_INT64,                                                                     \
        double: OPTION_DOUBLE,                                                                     \
        float: OPTION_FLOAT,                                                                       \
        bool: OPTION_BOOL,                                                                         \
        char *: OPTION_STRING),                                                                    \
    .offset = offsetof(struct config, member), .size = sizeof(((struct config *)0)->member)
#define NUMBER(member, low, high) ANY(member), .min = (low), .max = (high)
#define CHOICE(member, list)      ANY(member), .names = (list)

/* Names of enumerations, in their order in config.h. */
static const char *const arch_names[] = {"gpt2", "llama", NULL};
static const char *const tied_names[] = {"auto", "true", "false", NULL};
static const char *const init_names[] = {"same", "different", NULL};
static const char *const mode_names[] = {"evolve", "data_parallel", NULL};
static const char *const park_names[] = {"auto", "on", "off", NULL};
static const char *const grow_names[] = {"clone", "init", NULL};
static const char *const schedule_names[] = {"cosine", "linear", "constant", "wsd", NULL};
static const char *const precision_names[] = {"f32", "bf16", NULL};
static const char *const recompute_names[] = {"none", "mlp", "block", NULL};
static const char *const wire_names[] = {"f32", "bf16", "int8", "int4", "int1", NULL};
static const char *const attractor_names[] = {"none", "best", "mean", "last", "top", "pair", NULL};
static const char *const scope_names[] = {"all", "matrices", NULL};
static const char *const draw_names[] = {"constant", "expert", "tensor", "row", "element", NULL};
static const char *const cross_names[] = {"", "", "tensor", "row", "element", NULL};
static const char *const law_names[] = {"uniform", "koifish", NULL};
static const char *const moment_names[] = {"keep", "zero", "inherit", NULL};
/* What strings may be. */
static const char *const model_presets[] = {"gpt2",        "gpt2-medium", "gpt2-large", "gpt2-xl",
                                            "smollm-135m", "tinyllama",   NULL};
static const char *const evolution_presets[] = {"shoal", "none",       "eoe",    "koifish",
                                                "copy",  "tournament", "diloco", NULL};
static const char *const tokenizer_names[] = {"bytes", "gpt2", "none", NULL};
static const char *const device_names[] = {"auto", "cpu", "cuda", NULL};
static const char *const transport_names[] = {"auto", "mpi", "nccl", NULL};

/* How a group of tensors evolves; the defaults are those of evolution.preset shoal. */
#define RULE(group)                                                                                \
    {CHOICE(evolution.group.attractor, attractor_names), .fallback = "best",                       \
     .help = "what experts move toward; top: the worst toward the best, pair: losers to winners"}, \
        {CHOICE(evolution.group.tensors, scope_names), .fallback = "all",                          \
         .help = "which tensors evolve: all, or only matrices"},                                   \
        {NUMBER(evolution.group.inertia, 0, 1), .below_max = true, .fallback = "0",                \
         .help = "share of the last velocity that is kept"},                                       \
        {NUMBER(evolution.group.cognitive, 0, 4), .fallback = "0",                                 \
         .help = "pull toward the expert's own best weights (c1)"},                                \
        {NUMBER(evolution.group.social, 0, 4), .fallback = "1",                                    \
         .help = "pull toward the attractor (c2); 1 is a full step"},                              \
        {CHOICE(evolution.group.draw, draw_names), .fallback = "constant",                         \
         .help = "what shares one random factor of the pulls; constant: always 1"},                \
        {CHOICE(evolution.group.law, law_names), .fallback = "uniform",                            \
         .help = "distribution of that factor; koifish: clip((N(0,1) + 3) / 6, 0, 1)"},            \
        {NUMBER(evolution.group.crossover, 0, 1), .fallback = "0",                                 \
         .help = "probability that a value is replaced by the attractor's"},                       \
        {CHOICE(evolution.group.crossover_by, cross_names), .fallback = "element",                 \
         .help = "what crosses over as one"},                                                      \
        {NUMBER(evolution.group.mutation, 0, 1), .fallback = "0",                                  \
         .help = "probability that a value gets noise"},                                           \
        {NUMBER(evolution.group.mutation_scale, 0, 1000), .fallback = "1",                         \
         .help = "standard deviation of the noise, in AdamW steps of that value"},                 \
    {                                                                                              \
        CHOICE(evolution.group.moments, moment_names),                                             \
            .fallback = "keep",                                                                    \
            .help = "AdamW moments of experts that moved: keep, zero, or the attractor's"          \
    }

/* In the order in which they are printed. */
const struct option option_table[] = {
    {ANY(run.name), .fallback = "run", .help = "letters, digits, '.', '_' and '-'"},
    {ANY(run.out), .fallback = "", .flags = OPTION_RESUMABLE | OPTION_LOCAL,
     .help = "run directory; empty: runs/ and run.name"},
    {NUMBER(run.seed, 0, 9007199254740991.0), .fallback = "1",
     .help = "every random number follows from it"},
    {NUMBER(run.steps, 0, 1e12), .fallback = "1000", .flags = OPTION_RESUMABLE,
     .help = "optimiser steps of every expert"},
    {NUMBER(run.minutes, 0, 1e6), .fallback = "0", .flags = OPTION_RESUMABLE,
     .help = "stop at the first judging after this many minutes; 0: no limit"},
    {NUMBER(run.margin, 0, 1e6), .fallback = "5", .flags = OPTION_RESUMABLE | OPTION_LOCAL,
     .help = "in a Slurm job, save and stop this many minutes before its time is over"},
    {NUMBER(run.log, 1, 1e9), .fallback = "10", .flags = OPTION_RESUMABLE | OPTION_LOCAL,
     .help = "steps between two step records in metrics.jsonl"},

    {CHOICE(model.preset, model_presets), .fallback = "",
     .help = "sets the sizes below where they are not given"},
    {CHOICE(model.arch, arch_names), .fallback = "gpt2",
     .help = "llama: RMSNorm, rotary positions, SwiGLU, no biases"},
    {NUMBER(model.layers, 0, 4096), .fallback = "16",
     .help = "depth of the uncut model; each expert gets layers / experts of it"},
    {NUMBER(model.width, 1, 65536), .fallback = "128", .help = "channels; a multiple of heads"},
    {NUMBER(model.heads, 1, 1024), .fallback = "4", .help = "attention heads"},
    {NUMBER(model.context, 1, 65536), .fallback = "256", .help = "tokens a model looks back"},
    {NUMBER(model.vocab, 2, 65536), .fallback = "256",
     .help = "tokens that exist; bytes: 256, GPT-2: 50257"},
    {NUMBER(model.kv_heads, 0, 1024), .fallback = "0",
     .help = "llama: heads of keys and values, divides heads; 0: heads"},
    {NUMBER(model.ffn, 0, 1048576), .fallback = "0",
     .help = "width inside the feed-forward; 0: 4 width, llama: 8/3 width"},
    {NUMBER(model.rope_theta, 1, 1e9), .fallback = "10000",
     .help = "llama: base of the rotary positions' wavelengths"},
    {CHOICE(model.tied, tied_names), .fallback = "auto",
     .help = "whether the head is the token embedding; auto: in gpt2, not in llama"},

    {NUMBER(population.experts, 1, SHOAL_MAX_EXPERTS), .fallback = "4",
     .help = "experts; at least as many as workers"},
    {NUMBER(population.layers_per_expert, 0, 4096), .fallback = "0",
     .help = "depth of an expert; 0: model.layers / experts"},
    {CHOICE(population.init, init_names), .fallback = "same",
     .help = "whether experts start from the same weights"},
    {CHOICE(population.mode, mode_names), .fallback = "evolve",
     .help = "data_parallel: experts are replicas that average their gradients in every step"},
    {CHOICE(population.park, park_names), .fallback = "auto", .flags = OPTION_RESUMABLE,
     .help = "keep two experts on the device, all in host memory; auto: where a GPU has no room"},
    {CHOICE(population.grow, grow_names), .fallback = "clone", .flags = OPTION_RESUMABLE,
     .help = "experts added with --resume begin as copies of the others, best first, or anew"},
    {NUMBER(population.lr_spread, 1, 100), .fallback = "1",
     .help = "experts begin with learning rates from train.lr / this to train.lr * this"},

    {ANY(data.train), .fallback = "",
     .help = "pattern of token shards, like data/train_*.bin, made by shoal tokenize"},
    {ANY(data.val), .fallback = "", .help = "the same for held-out text"},
    {CHOICE(data.tokenizer, tokenizer_names), .fallback = "bytes",
     .help = "how tokens become text; none: they cannot"},
    {ANY(data.vocab), .fallback = "", .flags = OPTION_RESUMABLE | OPTION_LOCAL,
     .help = "where gpt2's vocabulary is; empty: beside the shards of data.train"},

    {NUMBER(train.batch, 1, 65536), .fallback = "16",
     .help = "sequences per optimiser step and expert"},
    {NUMBER(train.micro_batch, 0, 65536), .fallback = "0",
     .help = "sequences held in memory at a time, divides batch; 0: batch"},
    {NUMBER(train.lr, 0, 10), .fallback = "0.001", .help = "highest learning rate"},
    {NUMBER(train.lr_final, 0, 1), .fallback = "0.1",
     .help = "last learning rate as a share of it"},
    {NUMBER(train.warmup, 0, 1e12), .fallback = "50", .help = "steps of linear warm-up"},
    {CHOICE(train.schedule, schedule_names), .fallback = "cosine",
     .help = "how lr falls after warm-up; wsd: not before the last steps, then linearly"},
    {NUMBER(train.wsd_decay, 0, 1), .fallback = "0.2", .flags = OPTION_RESUMABLE,
     .help = "share of run.steps in which the wsd schedule falls"},
    {NUMBER(train.decay, 0, 10), .fallback = "0.1", .help = "weight decay of matrices"},
    {NUMBER(train.beta1, 0, 1), .below_max = true, .fallback = "0.9",
     .help = "AdamW: memory of the first moment"},
    {NUMBER(train.beta2, 0, 1), .below_max = true, .fallback = "0.95",
     .help = "AdamW: memory of the second moment"},
    {NUMBER(train.eps, 1e-20, 1), .fallback = "1e-08", .help = "AdamW: keeps the division finite"},
    {NUMBER(train.clip, 0, 1e6), .fallback = "1", .help = "largest gradient norm; 0: no limit"},
    {NUMBER(train.skip, 0, 1e6), .fallback = "0", .flags = OPTION_RESUMABLE,
     .help =
         "skip steps so many deviations above the mean in loss or gradient norm, like 6; 0: off"},
    {NUMBER(train.skip_window, 2, SHOAL_MAX_SKIP_WINDOW), .fallback = "128",
     .flags = OPTION_RESUMABLE,
     .help = "accepted steps of which train.skip takes mean and deviation"},
    {CHOICE(train.precision, precision_names), .fallback = "bf16",
     .help = "of matrix products; weights and moments are always f32"},
    {CHOICE(train.recompute, recompute_names), .fallback = "none", .flags = OPTION_RESUMABLE,
     .help = "what is not kept for the backward pass, to save memory; same results"},
    {ANY(train.graph), .fallback = "false", .flags = OPTION_RESUMABLE,
     .help = "on a GPU, queue passes as CUDA graphs: for small models; same results"},

    {CHOICE(evolution.preset, evolution_presets), .fallback = "shoal",
     .help = "sets the options below where they are not given"},
    {NUMBER(evolution.every, 1, 1e9), .zero = "auto", .fallback = "10",
     .help = "steps between rounds, in which weights are exchanged; auto: as few as budget allows"},
    {NUMBER(evolution.judge, 1, 1e9), .fallback = "100",
     .help = "steps between judgings on held-out text, a multiple of every"},
    {ANY(evolution.recombine), .fallback = "true",
     .help = "whether the mean of the experts is judged as one more member"},
    {NUMBER(evolution.budget, 0.0001, 1), .fallback = "0.02",
     .help = "every auto: share of time that rounds may keep from training"},
    {NUMBER(evolution.delay, 0, 1e9), .fallback = "0",
     .help = "steps a round may take beside training before it is applied; below every"},
    {NUMBER(evolution.fragments, 1, 1024), .fallback = "1",
     .help = "parts of the weights exchanged in turn, one a round"},
    {CHOICE(evolution.wire, wire_names), .fallback = "f32",
     .help = "how the mean travels between judgings; all but f32: as changes, rounded"},
    {NUMBER(evolution.fitness_batches, 1, 1e6), .fallback = "8",
     .help = "batches of held-out text that judge an expert"},
    {NUMBER(evolution.top, 0, 0.5), .fallback = "0.25",
     .help =
         "attractor top: share of the experts that is followed, and that follows; at least one"},
    {ANY(evolution.inherit_lr), .fallback = "false",
     .help = "attractors top, pair: whether the learning rate is taken with the weights"},
    {NUMBER(evolution.perturb_lr, 1, 10), .fallback = "1",
     .help = "factor by which a learning rate that was taken is then multiplied or divided"},
    {NUMBER(evolution.outer.lr, 0, 10), .fallback = "1",
     .help = "attractor mean: step along the way from the last mean to the next; 1: all of it"},
    {NUMBER(evolution.outer.momentum, 0, 1), .below_max = true, .fallback = "0",
     .help = "attractor mean: Nesterov momentum of these steps"},
    RULE(body),
    RULE(io),

    {NUMBER(eval.every, 0, 1e12), .fallback = "0", .flags = OPTION_RESUMABLE,
     .help = "steps between evaluations of the best member, a multiple of judge; 0: none"},
    {NUMBER(eval.windows, 0, 1e12), .fallback = "0", .flags = OPTION_RESUMABLE,
     .help = "most windows of held-out text for it; 0: all but those that judge"},

    {NUMBER(snapshot.every, 0, 1e12), .fallback = "1000", .flags = OPTION_RESUMABLE,
     .help = "steps between snapshots, a multiple of evolution.judge; 0: only the last"},
    {NUMBER(snapshot.keep, 0, 1e9), .fallback = "3", .flags = OPTION_RESUMABLE,
     .help = "newest snapshots kept, besides marked ones and that nearest the best; 0: all"},
    {ANY(snapshot.async), .fallback = "true", .flags = OPTION_RESUMABLE,
     .help = "write beside training, from copies in host memory; false: training waits"},

    {NUMBER(faults.heartbeat, 0.05, 3600), .fallback = "2", .flags = OPTION_RESUMABLE,
     .help = "seconds between signs of life that ranks give each other"},
    {NUMBER(faults.deadline, 0, 86400), .fallback = "30", .flags = OPTION_RESUMABLE,
     .help = "seconds of silence after which a rank is lost and the others go on; 0: never"},

    {CHOICE(device, device_names), .fallback = "auto", .flags = OPTION_RESUMABLE | OPTION_LOCAL,
     .help = "what computes; auto: a GPU where there is one"},
    {CHOICE(transport, transport_names), .fallback = "auto", .flags = OPTION_RESUMABLE,
     .help = "what carries weights; auto: NCCL where each worker has its own GPU, else MPI"},
    {NUMBER(threads, 0, 4096), .fallback = "0", .flags = OPTION_RESUMABLE | OPTION_LOCAL,
     .help = "threads of a worker; 0: its share of the node's cores"},
};
const int option_count = sizeof option_table / sizeof option_table[0];

const struct option *option_find(const char *key)
{
    for (int i = 0; i < option_count; i++) {
        if (strcmp(option_table[i].key, key) == 0) return &option_table[i];
    }
    return NULL;
}

static const char *last_part(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

/* How far a misspelt key is from an option: letters changed, or one for the wrong group and the
 * letters changed in the last part. */
static int option_distance(const char *key, const struct option *o)
{
    const int whole = text_distance(key, o->key);
    const int last = 1 + text_distance(last_part(key), last_part(o->key));
    return whole < last ? whole : last;
}

const struct option *option_nearest(const char *key)
{
    const struct option *nearest = &option_table[0];
    for (int i = 1; i < option_count; i++) {
        const struct option *o = &option_table[i];
        const int d = option_distance(key, o) - option_distance(key, nearest);
        /* Of equals, the one with the fewest changes in all. */
        if (d < 0 || (d == 0 && text_distance(key, o->key) < text_distance(key, nearest->key))) {
            nearest = o;
        }
    }
    return nearest;
}

bool option_is_group(const char *key)
{
    const size_t length = strlen(key);
    for (int i = 0; i < option_count; i++) {
        const char *other = option_table[i].key;
        if (strncmp(other, key, length) == 0 && other[length] == '.') return true;
    }
    return false;
}
