/* `shoal eval` and `shoal generate` on a shard of random weights, against the double-precision
 * reference of tests/model. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/memory.h"
#include "commands/commands.h"
#include "data/data.h"
#include "model/expert.h"
#include "model/fixture.h"
#include "model/reference.h"
#include "snapshot/shard.h"
#include "support.h"

enum { CONTEXT = 12, VOCAB = 256, TOKENS = 200, WINDOWS = (TOKENS - 1) / CONTEXT };

struct world {
    struct scratch scratch;
    char shard[256], data[256], out[256]; /* paths */
    uint16_t token[TOKENS];
    struct param_table *table;
    double *weights; /* what the shard holds */
};

static struct config small_config(const char *tokenizer)
{
    struct config c;
    config_defaults(&c);
    c.model.layers = 2;
    c.model.width = 32;
    c.model.heads = 2;
    c.model.context = CONTEXT;
    c.model.vocab = VOCAB;
    c.population.experts = 1;
    strcpy(c.data.tokenizer, tokenizer);
    return c;
}

static void write_data(struct world *w)
{
    int32_t header[DATA_HEADER_BYTES / 4] = {20240520, 1, TOKENS};
    unsigned char file[DATA_HEADER_BYTES + 2 * TOKENS];
    for (int i = 0; i < TOKENS; i++)
        w->token[i] = (uint16_t)((i * i * 31 + i * 7) % VOCAB);
    memcpy(file, header, sizeof header);
    memcpy(file + sizeof header, w->token, sizeof w->token);
    write_bytes(w->data, file, sizeof file);
}

/* Weights ten times GPT-2's initial ones, so that the loss is far from that of guessing. */
static void write_shard(struct world *w, const struct config *c)
{
    struct device *dev;
    struct expert *e;
    char *text;
    int64_t bytes;
    const struct gpt_shape shape = config_shape(c);
    require_ok(param_table_create(&shape, &w->table));
    require_ok(device_open("cpu", 0, 1, &dev));
    require_ok(expert_create(dev, w->table, 0, false, false, &e));
    require_ok(expert_init(e, 5, 0, 2));
    w->weights = malloc((size_t)w->table->n_params * sizeof *w->weights);
    assert_non_null(w->weights);
    for (int64_t i = 0; i < w->table->n_params; i++) {
        if (i < w->table->decay_end) e->weights[i] *= 10.0f;
        w->weights[i] = e->weights[i];
    }
    require_ok(config_text(c, &text));
    const struct shard_info info = {.run_id = "00000000-0000-0000-0000-000000000000",
                                    .step = 42,
                                    .fitness = 1.0,
                                    .config = text};
    require_ok(shard_write_weights(w->shard, &info, w->table, dev, e->weights, &bytes));
    mem_free(text);
    expert_destroy(&e);
    device_close(&dev);
}

static void world_open(struct world *w, const char *tokenizer)
{
    const struct config c = small_config(tokenizer);
    scratch_make(&w->scratch);
    strcpy(w->shard, scratch_path(&w->scratch, "expert.h5"));
    strcpy(w->data, scratch_path(&w->scratch, "val.bin"));
    strcpy(w->out, scratch_path(&w->scratch, "out"));
    write_data(w);
    write_shard(w, &c);
}

static void world_close(struct world *w)
{
    free(w->weights);
    param_table_destroy(&w->table);
    scratch_remove(&w->scratch);
}

static double reference_of(const struct world *w, int windows)
{
    int32_t tokens[WINDOWS * CONTEXT], targets[WINDOWS * CONTEXT];
    for (int i = 0; i < windows * CONTEXT; i++) {
        tokens[i] = w->token[i];
        targets[i] = w->token[i + 1];
    }
    return reference_loss(w->table, w->weights, tokens, targets, windows, CONTEXT, NULL);
}

typedef enum shoal_status (*command_fn)(int argc, char **argv);

/* Run a command with the arguments in argv (NULL-terminated, argv[0] its name), its standard output
 * going to the file `path`. */
static enum shoal_status run_command(command_fn command, char **argv, const char *path)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    assert_int_equal(fflush(stdout), 0);
    const int kept = dup(STDOUT_FILENO);
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(kept >= 0 && file >= 0);
    assert_true(dup2(file, STDOUT_FILENO) >= 0);
    const enum shoal_status st = command(argc, argv);
    fflush(stdout);
    assert_true(dup2(kept, STDOUT_FILENO) >= 0);
    close(file);
    close(kept);
    return st;
}

/* What a command printed; free it. */
static char *output_of(const struct world *w, command_fn command, char **argv)
{
    size_t n;
    require_ok(run_command(command, argv, w->out));
    return (char *)read_bytes(w->out, &n);
}

static double number_in(const char *json, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(json, quoted);
    if (!at) fail_msg("%s has no %s", json, quoted);
    return strtod(at + strlen(quoted), NULL);
}

/* ---- eval ------------------------------------------------------------------------------------ */

static void assert_eval(const struct world *w, char **argv, int windows)
{
    char *json = output_of(w, command_eval, argv);
    const double expected = reference_of(w, windows), loss = number_in(json, "loss");
    assert_true(fabs(loss / expected - 1.0) < 1e-5);
    assert_true(fabs(number_in(json, "perplexity") / exp(loss) - 1.0) < 1e-12);
    assert_true(fabs(number_in(json, "bits_per_byte") / (loss / log(2.0)) - 1.0) < 1e-12);
    assert_true(number_in(json, "sequences") == windows);
    assert_true(number_in(json, "tokens") == windows * CONTEXT);
    assert_true(number_in(json, "step") == 42);
    assert_true(number_in(json, "expert") == 0);
    assert_non_null(strstr(json, w->shard));
    assert_int_equal(strchr(json, '\n') - json, strlen(json) - 1);
    free(json);
}

static void eval_gives_the_references_loss(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "bytes");
    assert_eval(&w, (char *[]){"eval", w.shard, "--data", w.data, "--json", NULL}, WINDOWS);
    assert_eval(&w,
                (char *[]){"eval", w.shard, "--data", w.data, "--json", "--sequences", "5",
                           "--batch", "2", NULL},
                5);
    assert_eval(
        &w, (char *[]){"eval", w.shard, "--data", w.data, "--json", "--sequences", "1000", NULL},
        WINDOWS);
    world_close(&w);
}

static void eval_prints_for_people(void **state)
{
    (void)state;
    struct world w;
    double loss;
    world_open(&w, "none");
    char *text = output_of(&w, command_eval, (char *[]){"eval", w.shard, "--data", w.data, NULL});
    assert_int_equal(sscanf(strstr(text, "loss"), "loss %lf nats per token", &loss), 1);
    assert_true(fabs(loss / reference_of(&w, WINDOWS) - 1.0) < 1e-5);
    assert_non_null(strstr(text, "expert 0 at step 42"));
    assert_null(strstr(text, "bits per byte")); /* these tokens are not bytes */
    free(text);
    world_close(&w);
}

static void eval_refuses_what_it_cannot_do(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "bytes");
    assert_int_equal(run_command(command_eval, (char *[]){"eval", w.shard, NULL}, w.out),
                     SHOAL_EARG);
    assert_failure_says("--data");
    assert_int_equal(
        run_command(command_eval,
                    (char *[]){"eval", w.shard, "--data", w.data, "--sequences", "-1", NULL},
                    w.out),
        SHOAL_EARG);
    assert_int_equal(
        run_command(command_eval, (char *[]){"eval", w.data, "--data", w.data, NULL}, w.out),
        SHOAL_EFORMAT); /* a token shard is no snapshot */
    world_close(&w);
}

/* ---- generate -------------------------------------------------------------------------------- */

/* The likeliest token after `n` tokens, in double precision. */
static int32_t likeliest_after(const struct world *w, const int32_t *tokens, int n)
{
    static double logits[CONTEXT * VOCAB];
    int best = 0;
    reference_loss(w->table, w->weights, tokens, tokens, 1, n, logits);
    const double *last = logits + (n - 1) * VOCAB;
    for (int v = 1; v < VOCAB; v++)
        if (last[v] > last[best]) best = v;
    return best;
}

/* Greedy text by the rule in generate's help: a full context starts again with its last half. */
static void greedy(const struct world *w, const char *prompt, int tokens, char *text)
{
    int32_t window[CONTEXT + 1];
    int n = 0;
    for (; prompt[n]; n++)
        window[n] = (unsigned char)prompt[n];
    if (n == 0) window[n++] = 0;
    for (int i = 0; i < tokens; i++) {
        const int32_t next = likeliest_after(w, window, n);
        if (next == 0) break;
        *text++ = (char)next;
        if (n == CONTEXT) {
            n = CONTEXT / 2;
            memmove(window, window + CONTEXT - n, (size_t)n * sizeof *window);
        }
        window[n++] = next;
    }
    *text = '\0';
}

static void assert_greedy(struct world *w, char *prompt)
{
    enum { N = 40 };
    char text[N + 1], expected[N + 64];
    greedy(w, prompt, N, text);
    assert_true(strlen(text) > CONTEXT); /* the rule about full contexts is put to the test */
    snprintf(expected, sizeof expected, "%s%s\n", prompt, text);
    char *found = output_of(w, command_generate,
                            (char *[]){"generate", w->shard, "--prompt", prompt, "--tokens", "40",
                                       "--temperature", "0", NULL});
    assert_string_equal(found, expected);
    free(found);
}

static void generate_follows_the_reference(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "bytes");
    assert_greedy(&w, "struct ");
    assert_greedy(&w, "");
    world_close(&w);
}

static char *sample(struct world *w, char *seed)
{
    return output_of(w, command_generate,
                     (char *[]){"generate", w->shard, "--prompt", "a", "--tokens", "60", "--seed",
                                seed, "--top-k", "50", NULL});
}

static void generate_repeats_with_the_same_seed(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "bytes");
    char *first = sample(&w, "3"), *again = sample(&w, "3"), *other = sample(&w, "4");
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    free(first);
    free(again);
    free(other);
    world_close(&w);
}

static void generate_prints_json(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "bytes");
    char *json = output_of(&w, command_generate,
                           (char *[]){"generate", w.shard, "--prompt", "say \"hi\"", "--tokens",
                                      "3", "--temperature", "0", "--json", NULL});
    assert_non_null(strstr(json, "{\"prompt\":\"say \\\"hi\\\"\",\"text\":\""));
    assert_true(number_in(json, "tokens") == 3);
    assert_true(number_in(json, "tokens_per_s") > 0.0);
    free(json);
    world_close(&w);
}

static void assert_refused(struct world *w, char *option, char *value, enum shoal_status expected,
                           const char *text)
{
    assert_int_equal(run_command(command_generate,
                                 (char *[]){"generate", w->shard, option, value, NULL}, w->out),
                     expected);
    assert_failure_says(text);
}

static void generate_refuses_what_it_cannot_do(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "bytes");
    assert_refused(&w, "--temperature", "-1", SHOAL_EARG, "--temperature");
    assert_refused(&w, "--tokens", "-1", SHOAL_EARG, "--tokens");
    assert_refused(&w, "--top-k", "-1", SHOAL_EARG, "--top-k");
    world_close(&w);
    world_open(&w, "none");
    assert_refused(&w, "--tokens", "5", SHOAL_ENOTSUP, "trained on bytes");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eval_gives_the_references_loss),
        cmocka_unit_test(eval_prints_for_people),
        cmocka_unit_test(eval_refuses_what_it_cannot_do),
        cmocka_unit_test(generate_follows_the_reference),
        cmocka_unit_test(generate_repeats_with_the_same_seed),
        cmocka_unit_test(generate_prints_json),
        cmocka_unit_test(generate_refuses_what_it_cannot_do),
    };
    return cmocka_run_group_tests_name("use", tests, NULL, NULL);
}
