#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/json.h"
#include "base/memory.h"
#include "commands/args.h"
#include "commands/commands.h"
#include "data/tokenize.h"

enum { SHARD_TOKENS = 100000000, FIRST_READ = 1 << 16 };

/* Names read from a list; zero-initialised, names_free accepts that. */
struct names {
    char *text;        /* owned; the list, its newlines replaced by 0 */
    const char **item; /* owned array of pointers into text, or to operands */
    int64_t count;
};

static void names_free(struct names *names)
{
    mem_free(names->text);
    mem_free(names->item);
}

/* ---- the list of files ----------------------------------------------------------------------- */

static enum shoal_status grow(char **text, size_t *capacity, size_t length)
{
    char *bigger = NULL;
    const size_t more = *capacity == 0 ? FIRST_READ : 2 * *capacity;
    SHOAL_TRY(mem_alloc(more, "list of files", &bigger));
    if (length > 0) memcpy(bigger, *text, length);
    mem_free(*text);
    *text = bigger;
    *capacity = more;
    return SHOAL_OK;
}

/* All of a stream, 0-terminated. *text is the caller's to free even on failure. */
static enum shoal_status read_stream(FILE *file, const char *name, char **text)
{
    size_t capacity = 0, length = 0;
    do {
        if (length + 1 >= capacity) SHOAL_TRY(grow(text, &capacity, length));
        length += fread(*text + length, 1, capacity - length - 1, file);
    } while (!feof(file) && !ferror(file));
    SHOAL_CHECK(!ferror(file), SHOAL_EIO, "%s: cannot be read: %s", name, strerror(errno));
    (*text)[length] = '\0';
    return SHOAL_OK;
}

static enum shoal_status read_list(const char *path, char **text)
{
    if (path == NULL) return SHOAL_OK;
    if (strcmp(path, "-") == 0) return read_stream(stdin, "standard input", text);
    FILE *file = fopen(path, "rb");
    SHOAL_CHECK(file != NULL, SHOAL_EIO, "%s: cannot be opened: %s", path, strerror(errno));
    const enum shoal_status st = read_stream(file, path, text);
    fclose(file); /* only read from */
    return st;
}

static int64_t count_lines(const char *text)
{
    int64_t lines = 1;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

/* Cut text into its lines, leaving out empty ones. */
static void add_lines(struct names *names, char *text)
{
    while (text != NULL && *text != '\0') {
        char *end = strchr(text, '\n');
        if (end != NULL) *end++ = '\0';
        if (*text != '\0') names->item[names->count++] = text;
        text = end;
    }
}

/* Operands first, then the names in the list. */
static enum shoal_status gather_names(const struct arg_list *operands, const char *list,
                                      struct names *names)
{
    SHOAL_TRY(read_list(list, &names->text));
    const int64_t most = operands->count + (names->text == NULL ? 0 : count_lines(names->text));
    SHOAL_TRY(mem_alloc((size_t)most * sizeof *names->item, "list of files", &names->item));
    for (int i = 0; i < operands->count; i++)
        names->item[names->count++] = operands->item[i];
    add_lines(names, names->text);
    SHOAL_CHECK(names->count > 0, SHOAL_EARG,
                "no text files given: name them as operands or with --files-from LIST");
    return SHOAL_OK;
}

/* ---- the result ------------------------------------------------------------------------------ */

static enum shoal_status print_json(const struct tokenize_args *args,
                                    const struct tokenize_result *result)
{
    struct json j;
    json_begin(&j);
    json_string(&j, "tokenizer", args->tokenizer);
    json_string(&j, "out", args->out_dir);
    json_int(&j, "documents", result->documents);
    json_int(&j, "train_tokens", result->train_tokens);
    json_int(&j, "val_tokens", result->val_tokens);
    json_int(&j, "train_shards", result->train_shards);
    json_int(&j, "vocab", result->vocab);
    return json_end(&j, stdout);
}

static void print_text(const struct tokenize_args *args, const struct tokenize_result *result)
{
    printf("%" PRId64 " document%s, %" PRId64 " tokens (%s)\n", result->documents,
           result->documents == 1 ? "" : "s", result->train_tokens + result->val_tokens,
           args->tokenizer);
    printf("  train %12" PRId64 " tokens  %s/train_*.bin (%d file%s)\n", result->train_tokens,
           args->out_dir, result->train_shards, result->train_shards == 1 ? "" : "s");
    printf("  val   %12" PRId64 " tokens  %s/val_*.bin (1 file)\n", result->val_tokens,
           args->out_dir);
    if (strcmp(args->tokenizer, "bytes") == 0) return; /* needs no setting */
    printf("  the vocabulary is in %s too; to train on these tokens, set\n\n", args->out_dir);
    printf("model:\n  vocab: %d\n", result->vocab);
    printf("data:\n  train: \"%s/train_*.bin\"\n  val: \"%s/val_*.bin\"\n", args->out_dir,
           args->out_dir);
    printf("  tokenizer: %s\n  vocab: \"%s\"\n", args->tokenizer, args->out_dir);
}

/* ---- the command ----------------------------------------------------------------------------- */

struct tokenize_command {
    struct tokenize_args args;
    const char *list;
    bool json;
};

static enum shoal_status check_command(const struct tokenize_command *c)
{
    SHOAL_CHECK(c->args.tokenizer != NULL, SHOAL_EARG,
                "which tokenizer? give --tokenizer bytes, or --tokenizer gpt2 --vocab DIR");
    SHOAL_CHECK(c->args.out_dir != NULL, SHOAL_EARG, "where should the shards go? give --out DIR");
    return SHOAL_OK;
}

static enum shoal_status tokenize(struct tokenize_command *c, const struct arg_list *operands)
{
    struct names names = {0};
    struct tokenize_result result;
    enum shoal_status st;
    SHOAL_GOTO(check_command(c));
    SHOAL_GOTO(gather_names(operands, c->list, &names));
    c->args.files = names.item;
    c->args.n_files = names.count;
    SHOAL_GOTO(tokenize_files(&c->args, &result));
    if (c->json) {
        st = print_json(&c->args, &result);
    } else {
        print_text(&c->args, &result);
    }
done:
    names_free(&names);
    return st;
}

enum shoal_status command_tokenize(int argc, char **argv)
{
    struct tokenize_command c = {.args = {.val_fraction = 0.1, .shard_tokens = SHARD_TOKENS}};
    const struct arg_option options[] = {
        {"--tokenizer", ARG_STRING, &c.args.tokenizer, "NAME",
         "bytes: one token per byte; gpt2: byte pair encoding"},
        {"--vocab", ARG_STRING, &c.args.vocab, "PATH",
         "for gpt2: directory of the vocabulary, or one of its files"},
        {"--out", ARG_STRING, &c.args.out_dir, "DIR", "directory for the shards; made if missing"},
        {"--val", ARG_NUMBER, &c.args.val_fraction, "SHARE",
         "share of the text held out for validation (default 0.1)"},
        {"--shard-tokens", ARG_INT, &c.args.shard_tokens, "N",
         "most tokens in one train shard (default 100000000)"},
        {"--files-from", ARG_STRING, &c.list, "LIST",
         "read more file names from LIST, one a line; - is standard input"},
        {"--json", ARG_FLAG, &c.json, NULL, "print one line of JSON"},
    };
    const struct arg_spec spec = {
        .usage = "shoal tokenize --tokenizer NAME --out DIR [options] FILE...",
        .description =
            "Turn text files into token shards for training: DIR/train_000000.bin, ... and\n"
            "DIR/val_000000.bin. Each file is one document. Several documents: whole ones are\n"
            "held out for validation; a single one: its tail is. The same files and options\n"
            "always give the same shards. Their format is llm.c's.\n\n"
            "bytes needs nothing: token 0 precedes every document. gpt2 is GPT-2's byte pair\n"
            "encoding with the published vocabulary, to be fetched by you: vocab.json and\n"
            "merges.txt of openai-community/gpt2 on the Hugging Face hub. OpenAI's encoder.json\n"
            "and vocab.bpe do as well, and so does a tokenizer.json, also one that you trained\n"
            "(byte-level BPE with the token <|endoftext|>). That token precedes every document;\n"
            "its name inside a text is ordinary text. The vocabulary is left beside the shards,\n"
            "where shoal generate finds it. Bytes that are not UTF-8 are kept: they count as\n"
            "signs, like punctuation.",
        .options = options,
        .n_options = (int)(sizeof options / sizeof options[0]),
        .min_operands = 0,
        .max_operands = -1,
        .examples = "  shoal tokenize --tokenizer bytes --out data/book book.txt\n"
                    "  shoal tokenize --tokenizer gpt2 --vocab gpt2 --out data/book book.txt\n"
                    "  find src -name '*.c' | sort | shoal tokenize --tokenizer bytes --out "
                    "data/src --files-from -\n",
    };
    struct arg_list operands = {0};
    bool help = false;
    SHOAL_TRY(args_parse(&spec, argc, argv, &operands, &help));
    enum shoal_status st = SHOAL_OK;
    if (help) {
        args_help(&spec, stdout);
    } else {
        st = tokenize(&c, &operands);
    }
    args_free(&operands);
    return st;
}
