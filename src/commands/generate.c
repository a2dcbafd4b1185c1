/* generate.c - `shoal generate`: text from one expert, token by token, in float32.
 *
 * The cache holds one context. When it is full, its last half is fed again from position 0 and
 * generation goes on from there: positions are learned, so the window cannot slide by one. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "commands/args.h"
#include "commands/commands.h"
#include "commands/expert_text.h"
#include "commands/loaded.h"
#include "model/decoder.h"

enum { DEFAULT_TOKENS = 256, FIRST_TEXT = 4096 };

struct generate_args {
    const char *prompt, *vocab;
    int64_t tokens, top_k, seed;
    double temperature;
    bool json, help;
};

static enum shoal_status check(const struct generate_args *a)
{
    SHOAL_CHECK(a->tokens >= 0, SHOAL_EARG, "generate: --tokens %" PRId64 " is negative",
                a->tokens);
    SHOAL_CHECK(isfinite(a->temperature) && a->temperature >= 0.0, SHOAL_EARG,
                "generate: --temperature %g must be 0 or more; try 0.8", a->temperature);
    SHOAL_CHECK(a->top_k >= 0 && a->top_k <= INT32_MAX, SHOAL_EARG,
                "generate: --top-k %" PRId64 " is out of range; 0 allows all tokens", a->top_k);
    return SHOAL_OK;
}

static enum shoal_status parse(int argc, char **argv, struct generate_args *a,
                               struct arg_list *operands)
{
    const struct arg_option options[] = {
        {"--prompt", ARG_STRING, &a->prompt, "TEXT",
         "what the text begins with (default: nothing)"},
        {"--tokens", ARG_INT, &a->tokens, "N", "most tokens to generate (default 256)"},
        {"--temperature", ARG_NUMBER, &a->temperature, "T",
         "lower is safer, 0 always takes the likeliest token (default 0.8)"},
        {"--top-k", ARG_INT, &a->top_k, "K", "draw from the K likeliest tokens (default 0: all)"},
        {"--vocab", ARG_STRING, &a->vocab, "PATH",
         "of an expert trained on gpt2 tokens: directory of the vocabulary"},
        {"--seed", ARG_INT, &a->seed, "S", "the same seed gives the same text (default 1)"},
        {"--json", ARG_FLAG, &a->json, NULL, "print one line of JSON when done"}};
    const struct arg_spec spec = {
        .usage = "shoal generate SNAPSHOT [--prompt TEXT] [--tokens N] [options]",
        .description =
            "Let one expert continue a text; it is printed as it comes. Without a prompt it\n"
            "starts a new document, and it stops early where it ends one. When the expert's\n"
            "context is full, the last half of it is kept and the text goes on. Bytes are\n"
            "written as they come, also where they are no valid UTF-8. All arithmetic is "
            "float32.\n\n"
            "Text of an expert trained on gpt2 tokens needs their vocabulary, the one given to\n"
            "shoal tokenize. It is looked for where --vocab says, else where the run's option\n"
            "data.vocab says, else beside the run's token shards (data.train). With --vocab,\n"
            "tokens of a run with data.tokenizer none are taken for gpt2's.\n\n"
            "SNAPSHOT is a run directory (its best expert), a snapshot index\n"
            "(RUN/snapshots/step-N.h5: its best expert) or a shard.\n\n"
            "--json prints the keys prompt, text (without the prompt), tokens and tokens_per_s.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_operands = 1,
        .max_operands = 1,
        .examples = "  shoal generate runs/quickstart --prompt 'struct '\n"
                    "  shoal generate runs/quickstart --tokens 1000 --temperature 0.5 --seed 7\n"
                    "  shoal generate runs/gpt2 --vocab gpt2 --prompt 'Once upon a time'\n"};
    SHOAL_TRY(args_parse(&spec, argc, argv, operands, &a->help));
    if (!a->help) return check(a);
    args_help(&spec, stdout);
    return SHOAL_OK;
}

/* ---- a text that may be longer than the context ---------------------------------------------- */

struct writer {
    struct decoder *decoder;
    struct tokenizer *tokenizer;
    const float *logits;     /* after the last token; owned by the decoder */
    int32_t *recent;         /* tokens the decoder holds, `context` of room */
    float *scratch;          /* vocab floats for sampling */
    char *text;              /* with --json, what was generated so far, a 0 behind it */
    size_t length, capacity; /* of text */
    int context;
    int vocab;      /* tokens that mean something; the expert may have more */
    int64_t tokens; /* generated */
    double seconds; /* spent on generating */
};

static void writer_close(struct writer *w)
{
    mem_free(w->recent);
    mem_free(w->scratch);
    mem_free(w->text);
    tokenizer_close(&w->tokenizer);
    decoder_destroy(&w->decoder);
}

/* On failure w still wants writer_close. */
static enum shoal_status writer_open(const struct loaded *l, const char *vocab, struct writer *w)
{
    *w = (struct writer){.context = l->table->shape.context, .capacity = FIRST_TEXT};
    SHOAL_TRY(expert_text_open(l, vocab, &w->tokenizer));
    w->vocab = tokenizer_vocab(w->tokenizer);
    SHOAL_TRY(decoder_create(l->dev, l->table, l->weights, &w->decoder));
    SHOAL_TRY(mem_alloc((size_t)w->context * sizeof *w->recent, "tokens", &w->recent));
    SHOAL_TRY(mem_alloc((size_t)w->vocab * sizeof *w->scratch, "probabilities", &w->scratch));
    return mem_alloc(w->capacity, "the text", &w->text);
}

/* Start the context again with the last half of what it held. */
static enum shoal_status shift_context(struct writer *w)
{
    const int kept = w->context / 2;
    memmove(w->recent, w->recent + w->context - kept, (size_t)kept * sizeof *w->recent);
    decoder_reset(w->decoder);
    for (int i = 0; i < kept; i++)
        SHOAL_TRY(decoder_step(w->decoder, w->recent[i], &w->logits));
    return SHOAL_OK;
}

static enum shoal_status feed(struct writer *w, int32_t token)
{
    if (decoder_position(w->decoder) == w->context) SHOAL_TRY(shift_context(w));
    w->recent[decoder_position(w->decoder)] = token;
    return decoder_step(w->decoder, token, &w->logits);
}

static enum shoal_status feed_all(struct writer *w, const struct token_list *tokens)
{
    for (size_t i = 0; i < tokens->count; i++)
        SHOAL_TRY(feed(w, tokens->token[i]));
    return SHOAL_OK;
}

static enum shoal_status feed_prompt(struct writer *w, const char *prompt)
{
    if (!*prompt) return feed(w, tokenizer_end_of_text(w->tokenizer));
    struct token_list tokens = {0};
    size_t used;
    enum shoal_status st;
    SHOAL_GOTO(tokenizer_encode(w->tokenizer, &tokens, &used, prompt, strlen(prompt), true));
    SHOAL_GOTO(feed_all(w, &tokens));
done:
    token_list_free(&tokens);
    return st;
}

static enum shoal_status put(const char *bytes, size_t n)
{
    SHOAL_CHECK(fwrite(bytes, 1, n, stdout) == n && fflush(stdout) == 0, SHOAL_EIO,
                "generate: cannot write to standard output");
    return SHOAL_OK;
}

static enum shoal_status keep(struct writer *w, const char *bytes, size_t n)
{
    if (w->length + n >= w->capacity) {
        char *larger;
        const size_t capacity = 2 * (w->length + n) + 1;
        SHOAL_TRY(mem_alloc(capacity, "the text (fewer --tokens need less)", &larger));
        memcpy(larger, w->text, w->length);
        mem_free(w->text);
        w->text = larger;
        w->capacity = capacity;
    }
    memcpy(w->text + w->length, bytes, n);
    w->length += n;
    w->text[w->length] = '\0';
    return SHOAL_OK;
}

static enum shoal_status write_tokens(struct writer *w, const struct generate_args *a)
{
    const struct sampling s = {
        .temperature = (float)a->temperature, .top_k = (int)a->top_k, .seed = (uint64_t)a->seed};
    const double start_s = clock_now_s();
    for (; w->tokens < a->tokens; w->tokens++) {
        int32_t token;
        size_t n;
        SHOAL_TRY(sample_token(w->logits, w->vocab, s, (uint64_t)w->tokens, w->scratch, &token));
        if (token == tokenizer_end_of_text(w->tokenizer)) break;
        const char *bytes = tokenizer_decode(w->tokenizer, token, &n);
        SHOAL_TRY(a->json ? keep(w, bytes, n) : put(bytes, n));
        SHOAL_TRY(feed(w, token));
    }
    w->seconds = clock_now_s() - start_s;
    return SHOAL_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static enum shoal_status print_json(const struct generate_args *a, const struct writer *w,
                                    double tokens_per_s)
{
    struct json j;
    json_begin(&j);
    json_string(&j, "prompt", a->prompt);
    json_text(&j, "text", w->text, w->length);
    json_int(&j, "tokens", w->tokens);
    json_number(&j, "tokens_per_s", tokens_per_s);
    return json_end(&j, stdout);
}

static enum shoal_status run(struct writer *w, const struct generate_args *a)
{
    SHOAL_TRY(feed_prompt(w, a->prompt));
    if (!a->json) SHOAL_TRY(put(a->prompt, strlen(a->prompt)));
    SHOAL_TRY(write_tokens(w, a));
    const double tokens_per_s = w->seconds > 0.0 ? (double)w->tokens / w->seconds : 0.0;
    if (a->json) return print_json(a, w, tokens_per_s);
    SHOAL_TRY(put("\n", 1));
    log_info("%" PRId64 " tokens, %.0f a second", w->tokens, tokens_per_s);
    return SHOAL_OK;
}

static enum shoal_status generate(const struct generate_args *a, const char *snapshot)
{
    enum shoal_status st = SHOAL_OK;
    struct loaded l;
    struct writer w = {0};
    SHOAL_TRY(loaded_open(snapshot, &l));
    SHOAL_GOTO(writer_open(&l, a->vocab, &w));
    SHOAL_GOTO(run(&w, a));
done:
    writer_close(&w);
    loaded_close(&l);
    return st;
}

enum shoal_status command_generate(int argc, char **argv)
{
    struct generate_args a = {
        .prompt = "", .tokens = DEFAULT_TOKENS, .temperature = 0.8, .seed = 1};
    struct arg_list operands = {0};
    enum shoal_status st = SHOAL_OK;
    SHOAL_GOTO(parse(argc, argv, &a, &operands));
    if (!a.help) SHOAL_GOTO(generate(&a, operands.item[0]));
done:
    args_free(&operands);
    return st;
}
