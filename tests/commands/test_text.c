/* `shoal generate` and `shoal eval` with gpt2 tokens, of an expert that knows one text by heart:
 * what it writes depends on the position alone. The vocabulary is that of tests/data/small_vocab.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/memory.h"
#include "commands/commands.h"
#include "data/data.h"
#include "snapshot/shard.h"
#include "support.h"

enum { CONTEXT = 16, WIDTH = 64, MODEL_VOCAB = 300, TOKENS = 286, END = 285 };
/* Numbers in the vocabulary. */
enum {
    LOWER = 260,
    THE = 263,
    A_A = 265,
    ZERO = 188,
    ACCENT_1 = 127,
    ACCENT_2 = 102,
    NO_TOKEN = 290
};

/* What follows position 0, 1, ... */
static const int one_text[CONTEXT] = {LOWER, THE,      ACCENT_1, ACCENT_2, ZERO, A_A,
                                      END,   NO_TOKEN, LOWER,    LOWER,    END};
static const int no_end[CONTEXT] = {LOWER, LOWER, LOWER, LOWER, LOWER, LOWER, LOWER, LOWER,
                                    LOWER, LOWER, LOWER, LOWER, LOWER, LOWER, LOWER, LOWER};

struct world {
    struct scratch scratch;
    char shard[256], data[256], out[256]; /* paths */
    const int *recital;                   /* [CONTEXT] */
    int vocab;                            /* of the model */
};

/* Rows of the token embedding: signs that have little to do with one another. */
static float sign(int token, int channel)
{
    const uint32_t x = ((uint32_t)token * WIDTH + (uint32_t)channel + 1) * 2654435761u;
    return (x ^ x >> 15) * 2246822519u >> 31 ? 1.0f : -1.0f;
}

/* Nothing but embeddings: the stream is the token's plus ten times that of what follows here. */
static void write_weights(const struct param_table *t, const int *recital, float *w)
{
    float *wte = w + param_get(t, PARAM_WTE, 0)->offset;
    float *wpe = w + param_get(t, PARAM_WPE, 0)->offset;
    float *gain = w + param_get(t, PARAM_LNF_G, 0)->offset;
    for (int c = 0; c < WIDTH; c++) {
        gain[c] = 1.0f;
        for (int token = 0; token < t->shape.vocab; token++)
            wte[token * WIDTH + c] = sign(token, c);
        for (int p = 0; p < CONTEXT; p++)
            wpe[p * WIDTH + c] = 10.0f * sign(recital[p], c);
    }
}

static void write_expert(const struct world *w, const struct config *c)
{
    struct param_table *table;
    struct device *dev;
    char *text;
    float *weights;
    int64_t bytes;
    const struct gpt_shape shape = config_shape(c);
    assert_int_equal(param_table_create(&shape, &table), SHOAL_OK);
    assert_int_equal(device_open("cpu", 0, 1, &dev), SHOAL_OK);
    assert_int_equal(mem_alloc((size_t)table->n_params * sizeof *weights, "test", &weights),
                     SHOAL_OK);
    write_weights(table, w->recital, weights);
    assert_int_equal(config_text(c, &text), SHOAL_OK);
    const struct shard_info info = {.run_id = "00000000-0000-0000-0000-000000000000",
                                    .config = text};
    assert_int_equal(shard_write_weights(w->shard, &info, table, dev, weights, &bytes), SHOAL_OK);
    mem_free(text);
    mem_free(weights);
    device_close(&dev);
    param_table_destroy(&table);
}

/* train: as data.train; vocab: as data.vocab. */
static void world_make(struct world *w, const char *tokenizer, const char *train, const char *vocab)
{
    struct config c;
    config_defaults(&c);
    c.model.layers = 1;
    c.model.width = WIDTH;
    c.model.heads = 1;
    c.model.context = CONTEXT;
    c.model.vocab = w->vocab;
    c.population.experts = 1;
    strcpy(c.data.tokenizer, tokenizer);
    strcpy(c.data.train, train);
    strcpy(c.data.vocab, vocab);
    scratch_make(&w->scratch);
    strcpy(w->shard, scratch_path(&w->scratch, "expert.h5"));
    strcpy(w->data, scratch_path(&w->scratch, "val.bin"));
    strcpy(w->out, scratch_path(&w->scratch, "out"));
    write_expert(w, &c);
}

static void world_open(struct world *w, const char *tokenizer, const char *train, const char *vocab)
{
    w->recital = one_text;
    w->vocab = MODEL_VOCAB;
    world_make(w, tokenizer, train, vocab);
}

static void world_close(struct world *w)
{
    scratch_remove(&w->scratch);
}

typedef enum shoal_status (*command_fn)(int argc, char **argv);

/* Run a command, its standard output going to w->out. */
static enum shoal_status run_command(const struct world *w, command_fn command, char **argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    assert_int_equal(fflush(stdout), 0);
    const int kept = dup(STDOUT_FILENO);
    const int file = open(w->out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(kept >= 0 && file >= 0);
    assert_true(dup2(file, STDOUT_FILENO) >= 0);
    const enum shoal_status st = command(argc, argv);
    fflush(stdout);
    assert_true(dup2(kept, STDOUT_FILENO) >= 0);
    close(file);
    close(kept);
    return st;
}

static void assert_printed(const struct world *w, char **argv, const char *text, size_t n)
{
    size_t found;
    if (run_command(w, command_generate, argv) != SHOAL_OK) fail_msg("%s", shoal_failure_text());
    char *printed_text = (char *)read_bytes(w->out, &found);
    assert_int_equal(found, n);
    assert_memory_equal(printed_text, text, n);
    free(printed_text);
}

#define ASSERT_PRINTED(w, text, ...)                                                               \
    assert_printed(w, (char *[]){"generate", (w)->shard, __VA_ARGS__, NULL}, text, sizeof text - 1)

static void generate_begins_and_ends_a_text(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "gpt2", "", SMALL_VOCAB);
    /* from the end-of-text token, at position 0, to the next one, at 6 */
    ASSERT_PRINTED(&w, " lower the\xC3\xA9\0aa\n", "--temperature", "0");
    ASSERT_PRINTED(&w, " lower the\xC3\n", "--temperature", "0", "--tokens", "3");
    /* 'low', 'er' and ' lower' are three tokens: the first new one follows position 2 */
    ASSERT_PRINTED(&w, "lower lower\xC3\xA9\0aa\n", "--temperature", "0", "--prompt",
                   "lower lower");
    /* the name of the special token is text, of five tokens here */
    ASSERT_PRINTED(&w, "<|endoftext|>\0aa\n", "--temperature", "0", "--prompt", "<|endoftext|>");
    world_close(&w);
}

/* At position 7 the likeliest is a token that the expert has and the vocabulary has not. */
static void generate_writes_only_tokens_that_exist(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "gpt2", "", SMALL_VOCAB);
    char *argv[] = {"generate", w.shard, "--temperature", "0", "--prompt", "zzzzzzzz", NULL};
    assert_int_equal(run_command(&w, command_generate, argv), SHOAL_OK);
    size_t n;
    char *text = (char *)read_bytes(w.out, &n);
    assert_true(n > strlen("zzzzzzzz\n"));
    free(text);
    world_close(&w);
}

static void generate_prints_all_bytes_as_json(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "gpt2", "", SMALL_VOCAB);
    char *argv[] = {"generate", w.shard, "--temperature", "0", "--json", NULL};
    assert_int_equal(run_command(&w, command_generate, argv), SHOAL_OK);
    size_t n;
    char *text = (char *)read_bytes(w.out, &n);
    const char expected[] =
        "{\"prompt\":\"\",\"text\":\" lower the\xC3\xA9\\u0000aa\",\"tokens\":6,";
    assert_memory_equal(text, expected, sizeof expected - 1);
    free(text);
    world_close(&w);
}

/* More text than the first piece of memory holds, and many times the context. */
static void generate_keeps_long_texts(void **state)
{
    (void)state;
    enum { WORDS = 800, BEFORE = sizeof "{\"prompt\":\"\",\"text\":\"" - 1 };
    struct world w = {.recital = no_end, .vocab = MODEL_VOCAB};
    world_make(&w, "gpt2", "", SMALL_VOCAB);
    char *argv[] = {"generate", w.shard, "--temperature", "0", "--tokens", "800", "--json", NULL};
    assert_int_equal(run_command(&w, command_generate, argv), SHOAL_OK);
    size_t n;
    char *text = (char *)read_bytes(w.out, &n);
    for (int i = 0; i < WORDS; i++)
        assert_memory_equal(text + BEFORE + 6 * i, " lower", 6);
    assert_memory_equal(text + BEFORE + 6 * WORDS, "\",\"tokens\":800,", 15);
    free(text);
    world_close(&w);
}

static void the_vocabulary_is_found_beside_the_shards(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "gpt2", SMALL_VOCAB "/train_*.bin", "");
    ASSERT_PRINTED(&w, " lower\n", "--temperature", "0", "--tokens", "1");
    world_close(&w);
    world_open(&w, "gpt2", "/nowhere/train_*.bin", "/nowhere");
    ASSERT_PRINTED(&w, " lower\n", "--temperature", "0", "--tokens", "1", "--vocab", SMALL_VOCAB);
    world_close(&w);
    world_open(&w, "none", "", "");
    ASSERT_PRINTED(&w, " lower\n", "--temperature", "0", "--tokens", "1", "--vocab", SMALL_VOCAB);
    world_close(&w);
}

static void assert_refused(const struct world *w, const char *vocab, enum shoal_status expected,
                           const char *text)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", vocab ? vocab : "");
    char *argv[] = {"generate", (char *)w->shard, vocab ? "--vocab" : NULL, copy, NULL};
    assert_int_equal(run_command(w, command_generate, argv), expected);
    assert_failure_says(text);
}

static void generate_says_what_is_missing(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "gpt2", "/nowhere/train_*.bin", "");
    assert_refused(&w, NULL, SHOAL_EIO,
                   "none beside its token shards, in '/nowhere': give --vocab");
    assert_failure_says("openai-community/gpt2 on the Hugging Face hub");
    assert_refused(&w, "/nowhere", SHOAL_EIO, "'/nowhere' does not exist");
    world_close(&w);
    world_open(&w, "gpt2", "", "/not/there");
    assert_refused(&w, NULL, SHOAL_EIO, "'/not/there' does not exist");
    world_close(&w);
    world_open(&w, "none", "", "");
    assert_refused(&w, NULL, SHOAL_ENOTSUP, "data.tokenizer: none");
    world_close(&w);
    world_open(&w, "bytes", "", "");
    assert_refused(&w, SMALL_VOCAB, SHOAL_EARG, "'bytes' has no vocabulary files");
    world_close(&w);
}

/* A vocabulary with more tokens than the expert. */
static void another_vocabulary_is_refused(void **state)
{
    (void)state;
    struct world w = {.recital = no_end, .vocab = TOKENS - 1};
    world_make(&w, "gpt2", "", "");
    assert_refused(&w, SMALL_VOCAB, SHOAL_EFORMAT, "knows 285 tokens, but the vocabulary has 286");
    world_close(&w);
}

/* ---- eval ------------------------------------------------------------------------------------ */

/* Two windows of the given four tokens, over and over. */
static void write_data(const struct world *w, const uint16_t token[4])
{
    enum { N = 2 * CONTEXT + 1 };
    const int32_t header[DATA_HEADER_BYTES / 4] = {DATA_MAGIC, DATA_VERSION, N};
    unsigned char file[DATA_HEADER_BYTES + 2 * N];
    memcpy(file, header, sizeof header);
    for (int i = 0; i < N; i++)
        memcpy(file + DATA_HEADER_BYTES + 2 * i, &token[i % 4], 2);
    write_bytes(w->data, file, sizeof file);
}

/* The number behind a key of the JSON that eval prints; NAN: there is no such key. */
static double eval_number(const struct world *w, const char *vocab_option, const char *key)
{
    char *argv[] = {"eval",
                    (char *)w->shard,
                    "--data",
                    (char *)w->data,
                    "--json",
                    (char *)vocab_option,
                    (char *)SMALL_VOCAB,
                    NULL};
    if (run_command(w, command_eval, argv) != SHOAL_OK) fail_msg("%s", shoal_failure_text());
    size_t n;
    char quoted[64], *text = (char *)read_bytes(w->out, &n);
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(text, quoted);
    const double value = at ? strtod(at + strlen(quoted), NULL) : NAN;
    free(text);
    return value;
}

/* Of four targets ' lower' has six bytes, ' the' four, 'aa' two; the end of text is no text. */
static void eval_counts_bytes_of_text(void **state)
{
    (void)state;
    struct world w;
    const uint16_t tokens[] = {END, LOWER, THE, A_A};
    world_open(&w, "gpt2", "", "");
    write_data(&w, tokens);
    const double loss = eval_number(&w, "--vocab", "loss");
    const double bits = eval_number(&w, "--vocab", "bits_per_byte");
    assert_true(fabs(bits / (loss / log(2.0) * 4.0 / 12.0) - 1.0) < 1e-9);
    assert_true(isnan(eval_number(&w, NULL, "bits_per_byte"))); /* no vocabulary */
    world_close(&w);
    world_open(&w, "gpt2", SMALL_VOCAB "/train_*.bin", "");
    write_data(&w, tokens);
    assert_true(fabs(eval_number(&w, NULL, "bits_per_byte") / bits - 1.0) < 1e-9);
    world_close(&w);
}

static void eval_refuses_tokens_without_meaning(void **state)
{
    (void)state;
    struct world w;
    const uint16_t tokens[] = {END, LOWER, NO_TOKEN, A_A};
    world_open(&w, "gpt2", "", SMALL_VOCAB);
    write_data(&w, tokens);
    char *argv[] = {"eval", w.shard, "--data", w.data, NULL};
    assert_int_equal(run_command(&w, command_eval, argv), SHOAL_EFORMAT);
    assert_failure_says("has token 290, but the expert's tokenizer 'gpt2' knows 286");
    world_close(&w);
}

static void help_tells_where_the_vocabulary_is_looked_for(void **state)
{
    (void)state;
    struct world w;
    size_t n;
    scratch_make(&w.scratch);
    strcpy(w.out, scratch_path(&w.scratch, "out"));
    assert_int_equal(run_command(&w, command_generate, (char *[]){"generate", "--help", NULL}),
                     SHOAL_OK);
    char *text = (char *)read_bytes(w.out, &n);
    assert_non_null(strstr(text, "--vocab PATH"));
    assert_non_null(strstr(text, "data.vocab says, else beside the run's token shards"));
    free(text);
    assert_int_equal(run_command(&w, command_eval, (char *[]){"eval", "--help", NULL}), SHOAL_OK);
    text = (char *)read_bytes(w.out, &n);
    assert_non_null(strstr(text, "--vocab PATH"));
    free(text);
    scratch_remove(&w.scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generate_begins_and_ends_a_text),
        cmocka_unit_test(generate_writes_only_tokens_that_exist),
        cmocka_unit_test(generate_prints_all_bytes_as_json),
        cmocka_unit_test(generate_keeps_long_texts),
        cmocka_unit_test(the_vocabulary_is_found_beside_the_shards),
        cmocka_unit_test(generate_says_what_is_missing),
        cmocka_unit_test(another_vocabulary_is_refused),
        cmocka_unit_test(eval_counts_bytes_of_text),
        cmocka_unit_test(eval_refuses_tokens_without_meaning),
        cmocka_unit_test(help_tells_where_the_vocabulary_is_looked_for),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
