/* import.c - `shoal import`: a model of another program as a shard. */
#define _XOPEN_SOURCE 700 /* realpath */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "base/memory.h"
#include "base/output.h"
#include "commands/args.h"
#include "commands/commands.h"
#include "coordinator/format.h"
#include "data/tokenizer.h"
#include "kernels/kernels.h"
#include "snapshot/interchange.h"
#include "snapshot/shard.h"

struct import_args {
    const char *out, *tokenizer, *vocab;
    bool json, help;
};

static enum shoal_status parse(int argc, char **argv, struct import_args *a,
                               struct arg_list *operands)
{
    const struct arg_option options[] = {
        {"--out", ARG_STRING, &a->out, "SHARD", "file to make"},
        {"--tokenizer", ARG_STRING, &a->tokenizer, "NAME",
         "what the model's tokens mean: bytes, gpt2 or none (default: as found)"},
        {"--vocab", ARG_STRING, &a->vocab, "PATH",
         "for gpt2: directory of the vocabulary (default: beside the model)"},
        {"--json", ARG_FLAG, &a->json, NULL, "print one line of JSON"}};
    const struct arg_spec spec = {
        .usage = "shoal import PATH --out SHARD [--tokenizer NAME] [--vocab PATH]",
        .description =
            "Make a shard of a model of another program, so that shoal eval, generate, inspect\n"
            "and export take it like an expert. PATH is one of\n\n"
            "  a directory of Hugging Face's: config.json and model.safetensors, or several files\n"
            "    and model.safetensors.index.json\n"
            "  a .safetensors file, or a .safetensors.index.json, with config.json beside it\n"
            "  a checkpoint of llm.c, version 3 or 5\n\n"
            "Models of type gpt2 and llama can be imported; float32, bfloat16 and float16 become\n"
            "float32, exactly. One that computes in another way than shoal does (other\n"
            "activations, scaled rotary positions, biases in a llama) is refused rather than\n"
            "changed. Nothing in PATH is run, and nothing is overwritten.\n\n"
            "Where a vocabulary of GPT-2's kind lies beside the model, the shard remembers where;\n"
            "other tokenizers are not known to shoal (data.tokenizer none), and such a model is\n"
            "evaluated on token shards only. The shard holds weights: it can be used, but no run\n"
            "is resumed from it.\n\n"
            "--json prints the keys out, from, arch, layers, width, heads, context, vocab,\n"
            "parameters, tokenizer and bytes (of the shard).",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_operands = 1,
        .max_operands = 1,
        .examples = "  shoal import gpt2 --out gpt2.h5\n"
                    "  shoal import gpt2_124M_bf16.bin --vocab gpt2 --out gpt2.h5\n"
                    "  shoal generate gpt2.h5 --prompt 'Once upon a time'\n"};
    SHOAL_TRY(args_parse(&spec, argc, argv, operands, &a->help));
    if (a->help) {
        args_help(&spec, stdout);
        return SHOAL_OK;
    }
    SHOAL_CHECK(a->out && a->out[0], SHOAL_EARG,
                "import: where to? give --out SHARD, a file that is not there yet");
    return SHOAL_OK;
}

/* ---- what the tokens mean -------------------------------------------------------------------- */

/* Remember a place so that it is found from any directory. */
static enum shoal_status remember(char out[SHOAL_MAX_PATH], const char *vocab)
{
    char *whole = realpath(vocab, NULL);
    SHOAL_CHECK(whole, SHOAL_EIO, "cannot read '%s': %s", vocab, strerror(errno));
    const enum shoal_status st = path_format(out, "%s", whole);
    free(whole);
    return st;
}

/* Whether a vocabulary of GPT-2's kind is there that a model with so many tokens can have. */
static enum shoal_status check_vocabulary(const char *vocab, int tokens)
{
    struct tokenizer *t = NULL;
    SHOAL_TRY(tokenizer_open("gpt2", vocab, &t));
    const int known = tokenizer_vocab(t);
    tokenizer_close(&t);
    SHOAL_CHECK(known <= tokens, SHOAL_EFORMAT,
                "the vocabulary in '%s' has %d tokens, and the model knows %d: it is of another "
                "one",
                vocab, known, tokens);
    return SHOAL_OK;
}

/* A vocabulary that was not asked for is taken only if it fits. */
static enum shoal_status look_beside(const char *path, struct config *c)
{
    char dir[SHOAL_MAX_PATH];
    if (path_is_dir(path))
        SHOAL_TRY(path_format(dir, "%s", path));
    else
        SHOAL_TRY(path_parent(dir, path));
    if (!tokenizer_has_files(dir)) return SHOAL_OK;
    if (check_vocabulary(dir, c->model.vocab) != SHOAL_OK) {
        shoal_failure_told(); /* a tokenizer of another kind, as llamas have */
        return SHOAL_OK;
    }
    strcpy(c->data.tokenizer, "gpt2");
    return remember(c->data.vocab, dir);
}

static enum shoal_status set_tokenizer(const struct import_args *a, const char *path,
                                       struct config *c)
{
    const char *name = a->tokenizer ? a->tokenizer : a->vocab ? "gpt2" : c->data.tokenizer;
    const bool known =
        strcmp(name, "bytes") == 0 || strcmp(name, "gpt2") == 0 || strcmp(name, "none") == 0;
    SHOAL_CHECK(known, SHOAL_EARG,
                "import: --tokenizer %s is not known; there are bytes, gpt2 and none", name);
    SHOAL_CHECK(!a->vocab || strcmp(name, "gpt2") == 0, SHOAL_EARG,
                "import: --vocab is for gpt2 tokens, not for --tokenizer %s; leave one out", name);
    SHOAL_CHECK(strcmp(name, "bytes") != 0 || c->model.vocab >= 256, SHOAL_EARG,
                "import: the model knows %d tokens, so they are no bytes; give --tokenizer none",
                c->model.vocab);
    memmove(c->data.tokenizer, name, strlen(name) + 1);
    if (a->vocab) {
        SHOAL_TRY(check_vocabulary(a->vocab, c->model.vocab));
        return remember(c->data.vocab, a->vocab);
    }
    const bool open = a->tokenizer ? strcmp(name, "gpt2") == 0 : strcmp(name, "bytes") != 0;
    return open ? look_beside(path, c) : SHOAL_OK;
}

/* ---- the shard ------------------------------------------------------------------------------- */

struct importing {
    struct foreign *model;
    struct config config;
    char *text; /* the configuration */
    struct param_table *table;
    struct device *dev;
    float *weights;
    int64_t bytes; /* of the shard */
};

static void importing_close(struct importing *i)
{
    foreign_close(&i->model);
    mem_free(i->text);
    param_table_destroy(&i->table);
    if (i->weights) device_free(i->dev, i->weights);
    if (i->dev) device_close(&i->dev);
}

/* The configuration as text, which must read back. */
static enum shoal_status write_config(struct importing *i)
{
    struct config again;
    SHOAL_TRY(config_text(&i->config, &i->text));
    return config_parse(&again, i->text, "the imported model's configuration");
}

static enum shoal_status write_shard(struct importing *i, const char *out)
{
    const struct gpt_shape shape = config_shape(&i->config);
    const struct shard_info info = {.run_id = "00000000-0000-0000-0000-000000000000",
                                    .worker = -1,
                                    .fitness = NAN,
                                    .parent = -1,
                                    .config = i->text};
    SHOAL_TRY(param_table_create(&shape, &i->table));
    SHOAL_TRY(device_open("auto", 0, 0, &i->dev));
    SHOAL_TRY(device_alloc(i->dev, (size_t)i->table->n_params * sizeof *i->weights,
                           "the model's weights", &i->weights));
    SHOAL_TRY(foreign_read(i->model, i->table, i->dev, i->weights));
    return shard_write_weights(out, &info, i->table, i->dev, i->weights, &i->bytes);
}

/* ---- the result ------------------------------------------------------------------------------ */

static const char *arch_name(const struct importing *i)
{
    return i->config.model.arch == ARCH_LLAMA ? "llama" : "gpt2";
}

static void print_text(const struct importing *i, const char *path, const char *out)
{
    const struct gpt_shape *s = &i->table->shape;
    char count[FORMAT_WORD];
    const bool text = strcmp(i->config.data.tokenizer, "none") != 0;
    format_count(count, (double)i->table->n_real);
    printf("%s (%s, %s, %s parameters)\n", path, foreign_kind(i->model), arch_name(i), count);
    printf("  shape       %d layers, width %d, %d heads, context %d, vocabulary %d\n", s->layers,
           s->width, s->heads, s->context, s->vocab);
    printf("  tokenizer   %s%s%s\n", i->config.data.tokenizer, i->config.data.vocab[0] ? ", " : "",
           i->config.data.vocab);
    printf("  written to  %s\n\n", out);
    if (text) printf("Try: shoal generate %s --prompt 'Once upon'\n", out);
    if (!text) printf("Try: shoal eval %s --data 'SHARDS*.bin'\n", out);
}

static enum shoal_status print_json(const struct importing *i, const char *out)
{
    const struct gpt_shape *s = &i->table->shape;
    struct json j;
    json_begin(&j);
    json_string(&j, "out", out);
    json_string(&j, "from", foreign_kind(i->model));
    json_string(&j, "arch", arch_name(i));
    json_int(&j, "layers", s->layers);
    json_int(&j, "width", s->width);
    json_int(&j, "heads", s->heads);
    json_int(&j, "context", s->context);
    json_int(&j, "vocab", s->vocab);
    json_int(&j, "parameters", i->table->n_real);
    json_string(&j, "tokenizer", i->config.data.tokenizer);
    json_int(&j, "bytes", i->bytes);
    return json_end(&j, stdout);
}

static enum shoal_status import_model(const struct import_args *a, const char *path)
{
    struct importing i = {.model = NULL};
    enum shoal_status st;
    SHOAL_GOTO(output_refuse_existing(a->out));
    SHOAL_GOTO(foreign_open(path, &i.model));
    i.config = *foreign_config(i.model);
    SHOAL_GOTO(set_tokenizer(a, path, &i.config));
    SHOAL_GOTO(write_config(&i));
    SHOAL_GOTO(write_shard(&i, a->out));
    if (a->json)
        SHOAL_GOTO(print_json(&i, a->out));
    else
        print_text(&i, path, a->out);
done:
    importing_close(&i);
    return st;
}

enum shoal_status command_import(int argc, char **argv)
{
    struct import_args a = {0};
    struct arg_list operands = {0};
    enum shoal_status st = SHOAL_OK;
    SHOAL_GOTO(parse(argc, argv, &a, &operands));
    if (!a.help) SHOAL_GOTO(import_model(&a, operands.item[0]));
done:
    args_free(&operands);
    return st;
}
