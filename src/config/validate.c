/* validate.c - values that are fine alone and cannot be combined. */
#include <string.h>
#include "config/assignments.h"

/* Refuse unless cond; keys: the options that disagree. */
#define AGREE(cond, keys_of, ...)                                                                  \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            *keys = (keys_of);                                                                     \
            return SHOAL_FAIL(SHOAL_ECONFIG, __VA_ARGS__);                                         \
        }                                                                                          \
    } while (0)

static enum shoal_status check_run(const struct config *c, const char **keys)
{
    const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const size_t length = strlen(c->run.name);
    AGREE(length > 0 && strspn(c->run.name, allowed) == length, "run.name",
          "run.name '%s' must be made of letters, digits, '.', '_' and '-', because it names a "
          "directory",
          c->run.name);
    AGREE(c->run.out[0], "run.out", "run.out must name a directory");
    return SHOAL_OK;
}

/* Largest divisor of n that is at most limit. */
static int divisor_below(int n, int limit)
{
    int d = limit < n ? limit : n;
    while (d > 1 && n % d != 0)
        d--;
    return d;
}

static enum shoal_status check_depth(const struct config *c, const char **keys)
{
    const int layers = c->model.layers, experts = c->population.experts;
    const int each = c->population.layers_per_expert;
    const char *const depth = "model.layers population.experts population.layers_per_expert";
    AGREE(layers > 0 || each > 0, depth,
          "model.layers is 0 and so is population.layers_per_expert; set one of them");
    if (each > 0) {
        AGREE(layers == 0 || layers == (int64_t)each * experts, depth,
              "model.layers %d is not population.layers_per_expert %d times population.experts %d "
              "(= %lld); leave model.layers out or make them agree",
              layers, each, experts, (long long)each * experts);
        return SHOAL_OK;
    }
    AGREE(layers % experts == 0, depth,
          "model.layers %d cannot be divided among population.experts %d; use %d layers, or %d "
          "experts, or set population.layers_per_expert",
          layers, experts, (layers / experts + 1) * experts, divisor_below(layers, experts));
    return SHOAL_OK;
}

static enum shoal_status check_gpt2(const struct config *c, const char **keys)
{
    const int kv_heads = c->model.kv_heads;
    AGREE(kv_heads == 0 || kv_heads == c->model.heads, "model.kv_heads model.arch",
          "model.kv_heads %d: in model.arch gpt2 every head has its own keys and values; leave it "
          "out, or use model.arch llama",
          kv_heads);
    AGREE(c->model.tied != TIED_FALSE, "model.tied model.arch",
          "model.tied false: in model.arch gpt2 the head is the token embedding; leave it out, or "
          "use model.arch llama");
    return SHOAL_OK;
}

static enum shoal_status check_llama(const struct config *c, const char **keys)
{
    const int heads = c->model.heads, kv_heads = c->model.kv_heads;
    const int size = c->model.width / heads;
    AGREE(size % 2 == 0, "model.width model.heads",
          "model.width %d with %d heads makes heads of %d numbers; rotary positions turn pairs, so "
          "it must be even: use width %d",
          c->model.width, heads, size, (size + 1) * heads);
    AGREE(kv_heads == 0 || heads % kv_heads == 0, "model.kv_heads model.heads",
          "model.kv_heads %d must divide model.heads %d; use %d", kv_heads, heads,
          divisor_below(heads, kv_heads));
    return SHOAL_OK;
}

static enum shoal_status check_model(const struct config *c, const char **keys)
{
    AGREE(c->model.width % c->model.heads == 0, "model.width model.heads",
          "model.width %d must be a multiple of model.heads %d; use width %d or %d heads",
          c->model.width, c->model.heads, (c->model.width / c->model.heads + 1) * c->model.heads,
          divisor_below(c->model.width, c->model.heads));
    const int size = c->model.width / c->model.heads;
    AGREE(size % 2 == 0 || c->train.precision == PRECISION_F32,
          "model.width model.heads train.precision",
          "model.width %d with %d heads makes heads of %d numbers; bf16 is multiplied in pairs, so "
          "it must be even: use width %d, or train.precision f32",
          c->model.width, c->model.heads, size, (size + 1) * c->model.heads);
    SHOAL_TRY(c->model.arch == ARCH_LLAMA ? check_llama(c, keys) : check_gpt2(c, keys));
    AGREE(strcmp(c->data.tokenizer, "bytes") != 0 || c->model.vocab >= 256,
          "model.vocab data.tokenizer",
          "model.vocab %d is too small for data.tokenizer bytes, which has 256 tokens",
          c->model.vocab);
    /* How many there are, only the vocabulary says; 256 bytes and the end of text are in any. */
    AGREE(strcmp(c->data.tokenizer, "gpt2") != 0 || c->model.vocab > 256,
          "model.vocab data.tokenizer",
          "model.vocab %d is too small for data.tokenizer gpt2: set model.vocab to 50257, the "
          "tokens of GPT-2's vocabulary, or to what shoal tokenize said for another one",
          c->model.vocab);
    return check_depth(c, keys);
}

static enum shoal_status check_train(const struct config *c, const char **keys)
{
    const int micro = c->train.micro_batch;
    AGREE(micro == 0 || c->train.batch % micro == 0, "train.batch train.micro_batch",
          "train.micro_batch %d must divide train.batch %d; use %d", micro, c->train.batch,
          divisor_below(c->train.batch, micro));
    return SHOAL_OK;
}

/* ---- evolution ---- */

static bool attracts(const struct config *c, enum attractor a)
{
    return c->evolution.body.attractor == (int)a || c->evolution.io.attractor == (int)a;
}

/* Replicas that share every gradient stay equal: there is nothing to select or to recombine. */
static enum shoal_status check_parallel(const struct config *c, const char **keys)
{
    const bool rests =
        c->evolution.body.attractor == ATTRACT_NONE && c->evolution.io.attractor == ATTRACT_NONE;
    if (c->population.mode != POPULATION_DATA_PARALLEL) return SHOAL_OK;
    AGREE(
        rests, "population.mode evolution.preset evolution.body.attractor evolution.io.attractor",
        "population.mode data_parallel keeps all experts equal, so that evolution would move none "
        "of them; leave evolution.preset and both attractors out, or set them to none");
    AGREE(!c->evolution.recombine, "population.mode evolution.recombine",
          "evolution.recombine true: with population.mode data_parallel the mean of the experts is "
          "each of them; leave it out");
    AGREE(c->population.lr_spread == 1, "population.mode population.lr_spread",
          "population.lr_spread %g: with population.mode data_parallel all experts take the same "
          "steps; leave it out",
          c->population.lr_spread);
    AGREE(c->population.init == INIT_SAME, "population.mode population.init",
          "population.init different: with population.mode data_parallel all experts are replicas "
          "and start from the same weights; leave it out");
    return SHOAL_OK;
}

static enum shoal_status check_outer(const struct config *c, const char **keys)
{
    const bool steps = c->evolution.outer.lr != 1 || c->evolution.outer.momentum != 0;
    if (!steps) return SHOAL_OK;
    AGREE(
        c->evolution.wire == WIRE_F32, "evolution.wire evolution.outer.lr evolution.outer.momentum",
        "evolution.wire sends changes of the mean unless it is f32, and outer steps leave the mean "
        "behind: use evolution.wire f32, or leave evolution.outer out");
    AGREE(attracts(c, ATTRACT_MEAN),
          "evolution.outer.lr evolution.outer.momentum evolution.body.attractor "
          "evolution.io.attractor",
          "evolution.outer.lr %g and evolution.outer.momentum %g are of steps of the mean, and no "
          "group has it as its attractor; set evolution.body.attractor or evolution.io.attractor "
          "to mean, or leave them out",
          c->evolution.outer.lr, c->evolution.outer.momentum);
    AGREE(
        c->population.init == INIT_SAME,
        "evolution.outer.lr evolution.outer.momentum population.init",
        "evolution.outer.lr %g and evolution.outer.momentum %g begin with the way from the common "
        "start, and with population.init different there is none; use population.init same",
        c->evolution.outer.lr, c->evolution.outer.momentum);
    return SHOAL_OK;
}

static enum shoal_status check_selection(const struct config *c, const char **keys)
{
    const bool selects = attracts(c, ATTRACT_TOP) || attracts(c, ATTRACT_PAIR);
    AGREE(!selects || c->population.experts > 1,
          "population.experts evolution.preset evolution.body.attractor evolution.io.attractor",
          "population.experts 1: the attractors top and pair compare experts; use at least 2");
    AGREE(!selects || (c->evolution.delay == 0 && c->evolution.fragments == 1),
          "evolution.delay evolution.fragments evolution.body.attractor evolution.io.attractor",
          "evolution.delay %lld, evolution.fragments %lld: the attractors top and pair move whole "
          "experts at once; set them to 0 and 1",
          (long long)c->evolution.delay, (long long)c->evolution.fragments);
    AGREE(selects || !c->evolution.inherit_lr,
          "evolution.inherit_lr evolution.preset evolution.body.attractor evolution.io.attractor",
          "evolution.inherit_lr true: a learning rate is taken from one expert, and only the "
          "attractors top and pair name one for each; leave it out, or use one of these");
    AGREE(c->evolution.inherit_lr || c->evolution.perturb_lr == 1,
          "evolution.perturb_lr evolution.inherit_lr",
          "evolution.perturb_lr %g: what is perturbed is the learning rate that was taken with the "
          "weights, and evolution.inherit_lr is false; set it to true, or leave this out",
          c->evolution.perturb_lr);
    return SHOAL_OK;
}

static enum shoal_status check_evolution(const struct config *c, const char **keys)
{
    SHOAL_TRY(check_parallel(c, keys));
    SHOAL_TRY(check_outer(c, keys));
    return check_selection(c, keys);
}

/* ---- cadence ---- */

/* The multiple of unit next above n. */
static long long multiple_above(int64_t n, int64_t unit)
{
    return (long long)((n / unit + 1) * unit);
}

static enum shoal_status check_cadence(const struct config *c, const char **keys)
{
    const int64_t every = c->evolution.every, judge = c->evolution.judge;
    const int64_t delay = c->evolution.delay, most = every == 0 ? judge : every;
    AGREE(every == 0 || judge % every == 0, "evolution.judge evolution.every",
          "evolution.judge %lld must be a multiple of evolution.every %lld; use %lld",
          (long long)judge, (long long)every, multiple_above(judge, every));
    AGREE(
        delay < most, "evolution.delay evolution.every",
        "evolution.delay %lld must be below evolution.%s %lld: a round is applied before the next "
        "one begins; use %lld",
        (long long)delay, every == 0 ? "judge" : "every", (long long)most, (long long)most - 1);
    AGREE(c->snapshot.every % judge == 0, "snapshot.every evolution.judge",
          "snapshot.every %lld must be a multiple of evolution.judge %lld; use %lld, or 0 for only "
          "the last",
          (long long)c->snapshot.every, (long long)judge, multiple_above(c->snapshot.every, judge));
    AGREE(c->eval.every % judge == 0, "eval.every evolution.judge",
          "eval.every %lld must be a multiple of evolution.judge %lld; use %lld, or 0 for none",
          (long long)c->eval.every, (long long)judge, multiple_above(c->eval.every, judge));
    return SHOAL_OK;
}

static enum shoal_status check_wire(const struct config *c, const char **keys)
{
    const struct evo_rule *rule[] = {&c->evolution.body, &c->evolution.io};
    if (c->evolution.wire == WIRE_F32) return SHOAL_OK;
    AGREE(c->evolution.recombine, "evolution.wire evolution.recombine",
          "evolution.wire needs evolution.recombine true unless it is f32: what travels are "
          "differences from the mean of the last judging");
    AGREE(strcmp(c->transport, "nccl") != 0, "evolution.wire transport",
          "evolution.wire travels by MPI only unless it is f32: set transport mpi or auto, or "
          "evolution.wire f32");
    for (int g = 0; g < 2; g++)
        AGREE(rule[g]->moments != MOMENTS_INHERIT,
              "evolution.wire evolution.body.moments evolution.io.moments",
              "evolution.wire carries weights only unless it is f32: moments inherit needs "
              "evolution.wire f32");
    return SHOAL_OK;
}

static enum shoal_status check_workers(const struct config *c, int n_workers, const char **keys)
{
    AGREE(n_workers <= c->population.experts, "population.experts",
          "%d workers but only %d experts, so that some would have nothing to do; start %d ranks "
          "(mpirun -n %d: one coordinator and a worker for each expert) or raise "
          "population.experts to %d",
          n_workers, c->population.experts, c->population.experts + 1, c->population.experts + 1,
          n_workers);
    return SHOAL_OK;
}

enum shoal_status config_combine(const struct config *c, int n_workers, const char **keys)
{
    SHOAL_TRY(check_run(c, keys));
    SHOAL_TRY(check_model(c, keys));
    SHOAL_TRY(check_train(c, keys));
    SHOAL_TRY(check_evolution(c, keys));
    SHOAL_TRY(check_cadence(c, keys));
    SHOAL_TRY(check_wire(c, keys));
    return check_workers(c, n_workers, keys);
}

/* Structs filled in by hand may hold what option_set would have refused. */
static enum shoal_status check_ranges(const struct config *c)
{
    struct config scratch = *c;
    for (int i = 0; i < option_count; i++) {
        char text[OPTION_TEXT];
        option_text(text, c, &option_table[i]);
        SHOAL_TRY(option_set(&scratch, &option_table[i], text));
    }
    return SHOAL_OK;
}

enum shoal_status config_validate(const struct config *c, int n_workers)
{
    SHOAL_TRY(check_ranges(c));
    const char *keys;
    SHOAL_TRY(config_combine(c, n_workers, &keys));
    SHOAL_CHECK(c->data.train[0] && c->data.val[0], SHOAL_ECONFIG,
                "data.%s is not set; make token shards with `shoal tokenize --tokenizer bytes "
                "--out DIR FILE...`, then set data.train to DIR/train_*.bin and data.val to "
                "DIR/val_*.bin",
                c->data.train[0] ? "val" : "train");
    return SHOAL_OK;
}

/* Width inside the feed-forward where the configuration leaves it open. SwiGLU has three matrices
 * where GELU has two, so Llama takes two thirds of the width for the same size. */
static int default_ffn(const struct config *c)
{
    enum { MULTIPLE = 64 };
    const int64_t width = c->model.width;
    if (c->model.arch == ARCH_GPT2) return (int)(4 * width);
    return (int)((8 * width + 3 * MULTIPLE - 1) / (3 * MULTIPLE) * MULTIPLE);
}

struct gpt_shape config_shape(const struct config *c)
{
    enum { VOCAB_MULTIPLE = 128 };
    const int tied = c->model.tied;
    const int each = c->population.layers_per_expert;
    return (struct gpt_shape){
        .layers = each > 0 ? each : c->model.layers / c->population.experts,
        .heads = c->model.heads,
        .width = c->model.width,
        .context = c->model.context,
        .vocab = c->model.vocab,
        .vocab_pad = (c->model.vocab + VOCAB_MULTIPLE - 1) / VOCAB_MULTIPLE * VOCAB_MULTIPLE,
        .arch = c->model.arch,
        .kv_heads = c->model.kv_heads ? c->model.kv_heads : c->model.heads,
        .ffn = c->model.ffn ? c->model.ffn : default_ffn(c),
        .tied = tied == TIED_AUTO ? c->model.arch == ARCH_GPT2 : tied == TIED_TRUE,
        .rope_theta = (float)c->model.rope_theta};
}
