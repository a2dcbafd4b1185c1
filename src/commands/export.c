/* export.c - `shoal export`: one expert as a model of Hugging Face's or a checkpoint of llm.c's. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/json.h"
#include "base/output.h"
#include "commands/args.h"
#include "commands/commands.h"
#include "commands/expert_text.h"
#include "commands/loaded.h"
#include "coordinator/format.h"
#include "snapshot/interchange.h"

struct export_args {
    const char *to, *out, *dtype, *vocab;
    bool json, help;
    bool llmc;        /* what `to` says */
    enum number type; /* what `dtype` says */
};

static enum shoal_status check(struct export_args *a)
{
    SHOAL_CHECK(a->to, SHOAL_EARG, "export: to what? give --to hf or --to llmc");
    a->llmc = strcmp(a->to, "llmc") == 0;
    SHOAL_CHECK(a->llmc || strcmp(a->to, "hf") == 0, SHOAL_EARG,
                "export: --to %s is not known; there are hf (Hugging Face) and llmc (llm.c)",
                a->to);
    const bool bf16 = a->dtype && strcmp(a->dtype, "bf16") == 0;
    SHOAL_CHECK(!a->dtype || bf16 || strcmp(a->dtype, "f32") == 0, SHOAL_EARG,
                "export: --dtype %s is not known; there are f32 (default) and bf16", a->dtype);
    a->type = bf16 ? NUMBER_BF16 : NUMBER_F32;
    SHOAL_CHECK(a->out && a->out[0], SHOAL_EARG,
                "export: where to? give --out PATH, %s that is not there yet",
                a->llmc ? "a file" : "a directory");
    return SHOAL_OK;
}

static enum shoal_status parse(int argc, char **argv, struct export_args *a,
                               struct arg_list *operands)
{
    const struct arg_option options[] = {
        {"--to", ARG_STRING, &a->to, "FORMAT", "hf or llmc"},
        {"--out", ARG_STRING, &a->out, "PATH", "directory (hf) or file (llmc) to make"},
        {"--dtype", ARG_STRING, &a->dtype, "TYPE",
         "f32, bit for bit (default), or bf16, rounded to nearest"},
        {"--vocab", ARG_STRING, &a->vocab, "PATH",
         "of an expert trained on gpt2 tokens, as for shoal generate"},
        {"--json", ARG_FLAG, &a->json, NULL, "print one line of JSON"}};
    const struct arg_spec spec = {
        .usage = "shoal export SNAPSHOT --to hf|llmc --out PATH [--dtype f32|bf16]",
        .description =
            "Write one expert in the format of another program.\n\n"
            "hf    a directory for Hugging Face's transformers and whatever reads its models:\n"
            "      config.json and model.safetensors (GPT2LMHeadModel or LlamaForCausalLM), and\n"
            "      tokenizer.json where it is known what the tokens mean. The vocabulary of gpt2\n"
            "      tokens is taken from --vocab, else from where shoal generate looks for it.\n"
            "      AutoModelForCausalLM.from_pretrained(PATH) and AutoTokenizer's load it.\n"
            "llmc  a checkpoint of llm.c, version 3 (f32) or 5 (bf16). GPT-2 only.\n\n"
            "Weights only: without moments and without history. Nothing is overwritten, and PATH\n"
            "appears when all of it is written. shoal import goes the other way.\n\n"
            "SNAPSHOT is a run directory (its best expert), a snapshot index\n"
            "(RUN/snapshots/step-N.h5: its best expert) or a shard.\n\n"
            "--json prints the keys out, to, dtype, parameters, bytes (of the weights),\n"
            "tokenizer (whether its files were written), snapshot, step and expert.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_operands = 1,
        .max_operands = 1,
        .examples = "  shoal export runs/book --to hf --out book-hf\n"
                    "  shoal export runs/book/experts/0002/step-00001000.h5 --to llmc \\\n"
                    "      --out book.bin --dtype bf16\n"};
    SHOAL_TRY(args_parse(&spec, argc, argv, operands, &a->help));
    if (!a->help) return check(a);
    args_help(&spec, stdout);
    return SHOAL_OK;
}

/* ---- Hugging Face ---------------------------------------------------------------------------- */

/* What tells transformers how to use tokenizer.json. */
static enum shoal_status write_tokenizer_config(const char *dir, const struct tokenizer *t,
                                                int context)
{
    static const char end_of_text[] = "<|endoftext|>";
    char path[SHOAL_MAX_PATH];
    struct json j;
    SHOAL_TRY(path_format(path, "%s/tokenizer_config.json", dir));
    json_begin(&j);
    json_string(&j, "tokenizer_class", "PreTrainedTokenizerFast");
    if (strcmp(tokenizer_name(t), "gpt2") == 0) {
        json_string(&j, "bos_token", end_of_text);
        json_string(&j, "eos_token", end_of_text);
    }
    json_int(&j, "model_max_length", context);
    return json_save(&j, path);
}

/* t: NULL where it is not known what the tokens mean. */
static enum shoal_status write_dir(const char *dir, const struct loaded *l, enum number type,
                                   const struct tokenizer *t)
{
    const struct export_text text = {.tokenizer = t ? tokenizer_name(t) : l->config.data.tokenizer,
                                     .end_of_text = t ? tokenizer_end_of_text(t) : -1};
    SHOAL_TRY(hf_write(dir, l->table, l->dev, l->weights, type, &text));
    if (!t) return SHOAL_OK;
    SHOAL_TRY(tokenizer_export(t, dir));
    return write_tokenizer_config(dir, t, l->table->shape.context);
}

static enum shoal_status export_hf(const struct export_args *a, const struct loaded *l,
                                   const struct tokenizer *t)
{
    char temp[SHOAL_MAX_PATH];
    enum shoal_status st;
    SHOAL_GOTO(output_dir_make(temp, a->out));
    SHOAL_GOTO(write_dir(temp, l, a->type, t));
    SHOAL_GOTO(output_dir_commit(temp, a->out));
done:
    output_dir_remove(temp);
    return st;
}

/* ---- the result ------------------------------------------------------------------------------ */

static void print_text(const struct export_args *a, const struct loaded *l, bool with_tokenizer)
{
    char name[FORMAT_WORD], bytes[FORMAT_WORD];
    printf("%s at step %" PRId64 " (%s)\n", loaded_name(l, name, sizeof name), l->info.step,
           l->shard);
    format_bytes(bytes, (double)export_bytes(l->table, a->type));
    printf("  written to  %s (%s, %s, %s)\n", a->out, a->llmc ? "llm.c" : "Hugging Face",
           a->type == NUMBER_BF16 ? "bf16" : "f32", bytes);
    if (a->llmc || with_tokenizer || strcmp(l->config.data.tokenizer, "gpt2") != 0) return;
    printf("  without its tokenizer, whose vocabulary was not found; give --vocab DIR\n");
}

static enum shoal_status print_json(const struct export_args *a, const struct loaded *l,
                                    bool with_tokenizer)
{
    struct json j;
    json_begin(&j);
    json_string(&j, "out", a->out);
    json_string(&j, "to", a->to);
    json_string(&j, "dtype", a->type == NUMBER_BF16 ? "bf16" : "f32");
    json_int(&j, "parameters", l->table->n_real);
    json_int(&j, "bytes", export_bytes(l->table, a->type));
    json_bool(&j, "tokenizer", with_tokenizer);
    json_string(&j, "snapshot", l->shard);
    json_int(&j, "step", l->info.step);
    json_int(&j, "expert", l->info.expert);
    return json_end(&j, stdout);
}

static enum shoal_status export_expert(const struct export_args *a, const char *snapshot)
{
    enum shoal_status st;
    struct loaded l;
    struct tokenizer *t = NULL;
    SHOAL_TRY(output_refuse_existing(a->out));
    SHOAL_TRY(loaded_open(snapshot, &l));
    if (a->llmc) {
        SHOAL_GOTO(llmc_write(a->out, l.table, l.dev, l.weights, a->type));
    } else {
        if (a->vocab || expert_text_known(&l)) SHOAL_GOTO(expert_text_open(&l, a->vocab, &t));
        SHOAL_GOTO(export_hf(a, &l, t));
    }
    const bool with_tokenizer = t != NULL;
    if (a->json)
        SHOAL_GOTO(print_json(a, &l, with_tokenizer));
    else
        print_text(a, &l, with_tokenizer);
done:
    tokenizer_close(&t);
    loaded_close(&l);
    return st;
}

enum shoal_status command_export(int argc, char **argv)
{
    struct export_args a = {0};
    struct arg_list operands = {0};
    enum shoal_status st = SHOAL_OK;
    SHOAL_GOTO(parse(argc, argv, &a, &operands));
    if (!a.help) SHOAL_GOTO(export_expert(&a, operands.item[0]));
done:
    args_free(&operands);
    return st;
}
