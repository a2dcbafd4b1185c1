/* eval.c - `shoal eval`: the loss of one expert on token shards, in float32. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "commands/args.h"
#include "commands/commands.h"
#include "commands/expert_text.h"
#include "commands/loaded.h"
#include "data/data.h"
#include "model/gpt.h"

/* Tokens of a forward pass when --batch is not given: enough to keep the cores busy. */
enum { BATCH_TOKENS = 4096 };
static const double progress_every_s = 0.5;
static const double ln2 = 0.693147180559945309;

struct eval_args {
    const char *data, *vocab;
    int64_t sequences; /* 0: all */
    int64_t batch;     /* 0: chosen by the context */
    bool json, help;
};

struct eval_result {
    double loss;          /* mean nats per token */
    double bits_per_byte; /* NAN: what the tokens mean is not known */
    int64_t sequences, tokens;
};

static enum shoal_status parse(int argc, char **argv, struct eval_args *a,
                               struct arg_list *operands)
{
    const struct arg_option options[] = {
        {"--data", ARG_STRING, &a->data, "GLOB", "token shards to read; quote the pattern"},
        {"--sequences", ARG_INT, &a->sequences, "N", "only the first N windows (default: all)"},
        {"--vocab", ARG_STRING, &a->vocab, "PATH",
         "of an expert trained on gpt2 tokens, as for shoal generate"},
        {"--batch", ARG_INT, &a->batch, "B", "windows at a time; changes memory and speed only"},
        {"--json", ARG_FLAG, &a->json, NULL, "print one line of JSON"}};
    const struct arg_spec spec = {
        .usage = "shoal eval SNAPSHOT --data GLOB [--sequences N] [--batch B] [--json]",
        .description =
            "Measure how well one expert predicts text: the mean loss in nats per token, its\n"
            "perplexity and, where it is known what the tokens mean, bits per byte of text. The\n"
            "shards are cut into windows as long as the expert's context, which do not overlap\n"
            "and start at the beginning of each shard; what is left over at its end is not used.\n"
            "All arithmetic is float32, whatever the run trained in.\n\n"
            "SNAPSHOT is a run directory (its best expert), a snapshot index\n"
            "(RUN/snapshots/step-N.h5: its best expert) or a shard.\n\n"
            "--json prints the keys loss, tokens, perplexity, bits_per_byte (where known),\n"
            "sequences, snapshot (the shard that was used), step and expert.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_operands = 1,
        .max_operands = 1,
        .examples = "  shoal eval runs/quickstart --data 'data/quickstart/val_*.bin'\n"
                    "  shoal eval runs/quickstart/experts/0002/step-00000500.h5 \\\n"
                    "      --data 'data/quickstart/val_*.bin' --sequences 100 --json\n"};
    SHOAL_TRY(args_parse(&spec, argc, argv, operands, &a->help));
    if (a->help) {
        args_help(&spec, stdout);
        return SHOAL_OK;
    }
    SHOAL_CHECK(a->data, SHOAL_EARG,
                "eval: which text? give its token shards with --data, for example "
                "--data 'data/quickstart/val_*.bin'");
    SHOAL_CHECK(a->sequences >= 0, SHOAL_EARG, "eval: --sequences %" PRId64 " is negative",
                a->sequences);
    SHOAL_CHECK(a->batch >= 0 && a->batch <= INT32_MAX, SHOAL_EARG,
                "eval: --batch %" PRId64 " is out of range; 0 chooses it", a->batch);
    return SHOAL_OK;
}

/* ---- measuring ------------------------------------------------------------------------------- */

struct measuring {
    struct data *data;
    struct gpt *gpt;
    struct tokenizer *tokenizer; /* NULL: what the tokens mean is not known */
    int64_t bytes;               /* of text that the targets judged so far stand for */
    int context, batch;
    int64_t sequences;         /* to judge */
    int32_t *tokens, *targets; /* (batch, context) */
    double shown_s;            /* when progress was last shown */
    bool shown;
};

static void measuring_close(struct measuring *m)
{
    mem_free(m->tokens);
    mem_free(m->targets);
    gpt_destroy(&m->gpt);
    tokenizer_close(&m->tokenizer);
    data_close(&m->data);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* On failure m still wants measuring_close. */
static enum shoal_status measuring_open(const struct eval_args *a, const struct loaded *l,
                                        struct measuring *m)
{
    const int context = l->table->shape.context;
    *m = (struct measuring){.context = context, .shown_s = clock_now_s()};
    if (a->vocab || expert_text_known(l)) SHOAL_TRY(expert_text_open(l, a->vocab, &m->tokenizer));
    SHOAL_TRY(data_open("--data", a->data, context, l->table->shape.vocab, &m->data));
    m->sequences = data_windows(m->data);
    if (a->sequences > 0) m->sequences = least(a->sequences, m->sequences);
    const int64_t wanted = a->batch > 0 ? a->batch : BATCH_TOKENS / context;
    m->batch = (int)least(wanted > 0 ? wanted : 1, m->sequences);
    const size_t bytes = (size_t)m->batch * (size_t)context * sizeof *m->tokens;
    SHOAL_TRY(mem_alloc(bytes, "tokens", &m->tokens));
    SHOAL_TRY(mem_alloc(bytes, "targets", &m->targets));
    const struct gpt_setup setup = {
        .batch = m->batch, .context = context, .precision = PRECISION_F32};
    SHOAL_TRY(gpt_create(l->dev, l->table, setup, &m->gpt));
    return gpt_load(m->gpt, l->weights);
}

static void show_progress(struct measuring *m, int64_t done)
{
    if (!isatty(STDERR_FILENO)) return;
    if (done == m->sequences) {
        if (m->shown) fprintf(stderr, "\r\033[K");
    } else if (clock_now_s() - m->shown_s > progress_every_s) {
        fprintf(stderr, "\rshoal: %" PRId64 " of %" PRId64 " sequences", done, m->sequences);
        m->shown_s = clock_now_s();
        m->shown = true;
    }
}

/* Count the bytes of n targets. */
static enum shoal_status count_bytes(struct measuring *m, const int32_t *targets, int n)
{
    if (!m->tokenizer) return SHOAL_OK;
    const int vocab = tokenizer_vocab(m->tokenizer);
    for (int i = 0; i < n; i++) {
        SHOAL_CHECK(targets[i] < vocab, SHOAL_EFORMAT,
                    "--data: has token %d, but the expert's tokenizer '%s' knows %d", targets[i],
                    tokenizer_name(m->tokenizer), vocab);
        size_t bytes;
        tokenizer_decode(m->tokenizer, targets[i], &bytes);
        m->bytes += (int64_t)bytes;
    }
    return SHOAL_OK;
}

/* Windows begin .. begin + n - 1; *loss: their mean. */
static enum shoal_status judge(struct measuring *m, int64_t begin, int n, double *loss)
{
    for (int i = 0; i < n; i++) {
        const size_t at = (size_t)i * (size_t)m->context;
        SHOAL_TRY(data_window(m->data, begin + i, m->tokens + at, m->targets + at));
        SHOAL_TRY(count_bytes(m, m->targets + at, m->context));
    }
    return gpt_judge(m->gpt, m->tokens, m->targets, n, loss);
}

static enum shoal_status measure(struct measuring *m, struct eval_result *result)
{
    double sum = 0.0, loss;
    for (int64_t begin = 0; begin < m->sequences; begin += m->batch) {
        const int n = (int)least(m->batch, m->sequences - begin);
        SHOAL_TRY(judge(m, begin, n, &loss));
        sum += loss * n;
        show_progress(m, begin + n);
    }
    result->sequences = m->sequences;
    result->tokens = m->sequences * m->context;
    result->loss = sum / (double)m->sequences;
    result->bits_per_byte =
        m->bytes > 0 ? result->loss / ln2 * ((double)result->tokens / (double)m->bytes) : NAN;
    SHOAL_CHECK(isfinite(result->loss), SHOAL_ENUMERIC,
                "eval: the loss is not finite: this expert's weights have diverged");
    return SHOAL_OK;
}

/* ---- the result ------------------------------------------------------------------------------ */

static void print_text(const struct loaded *l, const struct eval_result *r)
{
    char name[32];
    printf("%s at step %" PRId64 " (%s)\n", loaded_name(l, name, sizeof name), l->info.step,
           l->shard);
    printf("  loss           %.5f nats per token\n", r->loss);
    printf("  perplexity     %.4f\n", exp(r->loss));
    if (!isnan(r->bits_per_byte)) printf("  bits per byte  %.5f\n", r->bits_per_byte);
    printf("  tokens         %" PRId64 " in %" PRId64 " sequences of %d\n", r->tokens, r->sequences,
           l->table->shape.context);
}

static enum shoal_status print_json(const struct loaded *l, const struct eval_result *r)
{
    struct json j;
    json_begin(&j);
    json_number(&j, "loss", r->loss);
    json_int(&j, "tokens", r->tokens);
    json_number(&j, "perplexity", exp(r->loss));
    if (!isnan(r->bits_per_byte)) json_number(&j, "bits_per_byte", r->bits_per_byte);
    json_int(&j, "sequences", r->sequences);
    json_string(&j, "snapshot", l->shard);
    json_int(&j, "step", l->info.step);
    json_int(&j, "expert", l->info.expert);
    return json_end(&j, stdout);
}

static enum shoal_status eval(const struct eval_args *a, const char *snapshot)
{
    enum shoal_status st = SHOAL_OK;
    struct loaded l;
    struct measuring m = {0};
    struct eval_result result;
    SHOAL_TRY(loaded_open(snapshot, &l));
    SHOAL_GOTO(measuring_open(a, &l, &m));
    SHOAL_GOTO(measure(&m, &result));
    if (a->json)
        SHOAL_GOTO(print_json(&l, &result));
    else
        print_text(&l, &result);
done:
    measuring_close(&m);
    loaded_close(&l);
    return st;
}

enum shoal_status command_eval(int argc, char **argv)
{
    struct eval_args a = {0};
    struct arg_list operands = {0};
    enum shoal_status st = SHOAL_OK;
    SHOAL_GOTO(parse(argc, argv, &a, &operands));
    if (!a.help) SHOAL_GOTO(eval(&a, operands.item[0]));
done:
    args_free(&operands);
    return st;
}
