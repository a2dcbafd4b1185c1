/* Reading YAML and --set: what is taken, what is refused and how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "config/config.h"
#include "support.h"

static void test_defaults(void **state)
{
    (void)state;
    struct config c, loaded;
    config_defaults(&c);
    assert_string_equal(c.run.out, "runs/run");
    assert_int_equal(c.run.steps, 1000);
    assert_int_equal(c.population.experts, 4);
    assert_true(c.train.lr == 1e-3);
    assert_true(c.train.eps == 1e-8);
    assert_int_equal(c.train.precision, PRECISION_BF16);
    assert_string_equal(c.evolution.preset, "shoal");
    assert_true(c.evolution.recombine);
    assert_int_equal(c.evolution.io.attractor, ATTRACT_BEST);
    assert_true(c.evolution.body.social == 1.0f);
    assert_int_equal(c.evolution.body.crossover_by, DRAW_ELEMENT);
    assert_int_equal(config_load(&loaded, NULL, NULL, 0), SHOAL_OK);
    assert_memory_equal(&loaded, &c, sizeof c);
}

static void test_file_and_overrides(void **state)
{
    (void)state;
    struct scratch s;
    scratch_make(&s);
    const char *path = scratch_path(&s, "x.yaml");
    write_text(path, "# a comment\n"
                     "run: {name: first, steps: 20}\n"
                     "train:\n"
                     "  lr: 3e-4\n"
                     "  precision: \"f32\"\n"
                     "  schedule: wsd\n"
                     "evolution:\n"
                     "  recombine: false\n"
                     "  body:\n"
                     "    inertia: 0.25\n"
                     "model.width: 64\n"
                     "data:\n"
                     "threads: 3\n");
    const char *const set[] = {"run.steps=30", "run.steps=40", "data.val=a=b"};
    struct config c;
    assert_int_equal(config_load(&c, path, set, 3), SHOAL_OK);
    scratch_remove(&s);
    assert_string_equal(c.run.name, "first");
    assert_string_equal(c.run.out, "runs/first");
    assert_int_equal(c.run.steps, 40);
    assert_true(c.train.lr == 3e-4);
    assert_int_equal(c.train.precision, PRECISION_F32);
    assert_int_equal(c.train.schedule, SCHEDULE_WSD);
    assert_false(c.evolution.recombine);
    assert_true(c.evolution.body.inertia == 0.25f);
    assert_true(c.evolution.io.inertia == 0.0f);
    assert_int_equal(c.model.width, 64);
    assert_string_equal(c.data.val, "a=b");
    assert_int_equal(c.threads, 3);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct config c;
    assert_int_equal(config_load(&c, "/nonexistent/x.yaml", NULL, 0), SHOAL_EIO);
    assert_failure_says("/nonexistent/x.yaml");
}

static void test_nothing_is_all_defaults(void **state)
{
    (void)state;
    const char *const texts[] = {"", "# nothing\n", "---\n", "---\n...\n", "train:\n  # lr: 3\n"};
    struct config c, defaults;
    config_defaults(&defaults);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(config_parse(&c, texts[i], "x.yaml"), SHOAL_OK);
        assert_memory_equal(&c, &defaults, sizeof c);
    }
}

/* A file, and what its refusal says. */
static const char *const refused_yaml[][2] = {
    {"run:\n  steps: 1\ntrain:\n  lrr: 3\n",
     "x.yaml:4: unknown key 'train.lrr'; did you mean 'train.lr'?"},
    {"lr: 3\n", "x.yaml:1: unknown key 'lr'; did you mean 'train.lr'?"},
    {"model:\n  lr: 3\n", "x.yaml:2: unknown key 'model.lr'; did you mean 'train.lr'?"},
    {"evolution:\n  body:\n    socail: 1\n", "did you mean 'evolution.body.social'?"},
    {"train:\n  lr:\n    peak: 3\n", "x.yaml:3: unknown key 'train.lr.peak'"},
    {"train: 3\n", "x.yaml:1: 'train' is a group of options"},
    {"\ntrain:\n  batch: abc\n",
     "x.yaml:3: train.batch must be a whole number from 1 to 65536, found 'abc'"},
    {"train: {batch: 0}\n", "x.yaml:1: train.batch must be a whole number from 1 to 65536"},
    {"train: {batch: 1.5}\n", "found '1.5'"},
    {"train: {batch: 65537}\n", "found '65537'"},
    {"train: {batch: 99999999999999999999}\n", "found '99999999999999999999'"},
    {"train: {batch: }\n", "train.batch must be a whole number from 1 to 65536, found ''"},
    {"train: {lr: nan}\n", "train.lr must be a number from 0 to 10, found 'nan'"},
    {"train: {lr: 1e999}\n", "found '1e999'"},
    {"train: {lr: 0x1}\n", "found '0x1'"},
    {"train: {lr: -1}\n", "found '-1'"},
    {"train: {beta1: 1}\n", "train.beta1 must be a number from 0 to below 1, found '1'"},
    {"evolution: {body: {inertia: 0.99999999999}}\n", "from 0 to below 1"},
    {"train: {precision: fp8}\n", "train.precision must be one of f32, bf16, found 'fp8'"},
    {"model: {preset: gpt5}\n", "model.preset must be empty or one of gpt2, gpt2-medium"},
    {"model: {arch: bert}\n", "model.arch must be one of gpt2, llama, found 'bert'"},
    {"model: {tied: maybe}\n", "model.tied must be one of auto, true, false, found 'maybe'"},
    {"train: {recompute: all}\n", "train.recompute must be one of none, mlp, block, found 'all'"},
    {"model: {rope_theta: 0}\n", "model.rope_theta must be a number from 1"},
    {"evolution: {preset: best}\n", "x.yaml:1: evolution.preset must be one of shoal, none"},
    {"evolution: {body: {crossover_by: expert}}\n",
     "must be one of tensor, row, element, found 'expert'"},
    {"evolution: {recombine: maybe}\n", "must be true or false, found 'maybe'"},
    {"evolution: {delay: -1}\n", "evolution.delay must be a whole number from 0 to 1000000000, "
                                 "found '-1'"},
    {"evolution: {every: 0}\n", "evolution.every must be auto or a whole number from 1 to "
                                "1000000000, found '0'"},
    {"run: {name: \"a\\nb\"}\n", "run.name must be UTF-8 text"},
    {"run: {name: 0123456789012345678901234567890123456789012345678901234567890123}\n",
     "at most 63 bytes"},
    {"run:\n  seed: 1\n  steps: 2\n  seed: 3\n",
     "x.yaml:4: run.seed is set a second time; the first is in line 2"},
    {"run: {seed: 1}\nrun.seed: 2\n", "x.yaml:2: run.seed is set a second time"},
    {"run:\n  steps: [1, 2]\n", "x.yaml:2: run.steps must be one value, not a list"},
    {"- a\n- b\n", "x.yaml:1: expected 'key: value' lines"},
    {"just text\n", "x.yaml:1: expected 'key: value' lines"},
    {"run: &here\n  steps: 1\n", "x.yaml:1: anchors are not supported: &here"},
    {"run:\n  steps: &n 1\n", "x.yaml:2: anchors are not supported: &n"},
    {"run:\n  steps: *n\n", "x.yaml:2: run.steps must be written out; aliases"},
    {"? [a, b]\n: c\n", "x.yaml:1: a key must be a plain word"},
    {"run:\n  steps: 1\n   seed: 2\n", "x.yaml:3: not valid YAML"},
    {"run:\n\tsteps: 1\n", "x.yaml:2: not valid YAML"},
    {"run: {name: \xFF}\n", "not valid YAML"},
    {"run: {name: \"a\\0b\"}\n", "zero byte"},
    {"run: {\"seed\\0b\": 7}\n", "x.yaml:1: a key holds a zero byte: seed"},
    {"run: {steps: 1}\n---\nrun: {steps: 2}\n", "x.yaml:2: a second document"},
    {"run: {steps: 1\n", "not valid YAML"},
};

static void test_refused_yaml(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused_yaml / sizeof refused_yaml[0]; i++) {
        struct config c;
        assert_int_equal(config_parse(&c, refused_yaml[i][0], "x.yaml"), SHOAL_ECONFIG);
        assert_failure_says("x.yaml:");
        assert_failure_says(refused_yaml[i][1]);
    }
}

static void test_deep_nesting_ends(void **state)
{
    (void)state;
    enum { LEVELS = 3000 };
    char text[3 * LEVELS + 1];
    for (int i = 0; i < LEVELS; i++)
        memcpy(text + 3 * i, "{a:", 3);
    text[3 * LEVELS] = 0;
    struct config c;
    assert_int_equal(config_parse(&c, text, "x.yaml"), SHOAL_ECONFIG);
}

static void test_refused_overrides(void **state)
{
    (void)state;
    const char *const cases[][2] = {
        {"train.lrr=3", "--set train.lrr=3: unknown key 'train.lrr'; did you mean 'train.lr'?"},
        {"train.batch=abc",
         "--set train.batch=abc: train.batch must be a whole number from 1 to 65536, found 'abc'"},
        {"train.batch", "--set train.batch: expected KEY=VALUE"},
        {"=3", "--set =3: unknown key ''"},
        {"train=3", "--set train=3: 'train' is a group"},
        {"run.name=\xFF", "run.name must be UTF-8 text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config c;
        assert_int_equal(config_load(&c, NULL, &cases[i][0], 1), SHOAL_ECONFIG);
        assert_failure_says(cases[i][1]);
    }
}

static void test_model_presets(void **state)
{
    (void)state;
    const struct {
        const char *set;
        int layers, width, heads;
    } cases[] = {{"model.preset=gpt2", 12, 768, 12},
                 {"model.preset=gpt2-medium", 24, 1024, 16},
                 {"model.preset=gpt2-large", 36, 1280, 20},
                 {"model.preset=gpt2-xl", 48, 1600, 25}};
    for (int i = 0; i < 4; i++) {
        struct config c;
        assert_int_equal(config_load(&c, NULL, &cases[i].set, 1), SHOAL_OK);
        assert_int_equal(c.model.layers, cases[i].layers);
        assert_int_equal(c.model.width, cases[i].width);
        assert_int_equal(c.model.heads, cases[i].heads);
        assert_int_equal(c.model.context, 1024);
        assert_int_equal(c.model.vocab, 50257);
        assert_int_equal(c.model.arch, ARCH_GPT2);
    }
}

static void test_llama_presets(void **state)
{
    (void)state;
    const struct {
        const char *set;
        int layers, width, heads, kv_heads, ffn, vocab, tied;
    } cases[] = {{"model.preset=smollm-135m", 30, 576, 9, 3, 1536, 49152, TIED_TRUE},
                 {"model.preset=tinyllama", 22, 2048, 32, 4, 5632, 32000, TIED_FALSE}};
    for (int i = 0; i < 2; i++) {
        const char *const set[] = {cases[i].set, "population.experts=1"};
        struct config c;
        assert_int_equal(config_load(&c, NULL, set, 2), SHOAL_OK);
        assert_int_equal(c.model.arch, ARCH_LLAMA);
        assert_int_equal(c.model.layers, cases[i].layers);
        assert_int_equal(c.model.width, cases[i].width);
        assert_int_equal(c.model.heads, cases[i].heads);
        assert_int_equal(c.model.kv_heads, cases[i].kv_heads);
        assert_int_equal(c.model.ffn, cases[i].ffn);
        assert_int_equal(c.model.vocab, cases[i].vocab);
        assert_int_equal(c.model.tied, cases[i].tied);
        assert_int_equal(c.model.context, 2048);
        assert_true(c.model.rope_theta == 10000);
    }
}

static void test_explicit_keys_beat_presets(void **state)
{
    (void)state;
    struct scratch s;
    scratch_make(&s);
    const char *path = scratch_path(&s, "x.yaml");
    write_text(path, "model: {context: 64, preset: gpt2-xl}\nevolution: {preset: none}\n");
    /* The last preset counts, wherever the key stands. */
    const char *const set[] = {"evolution.body.social=1.5", "model.preset=gpt2",
                               "evolution.preset=eoe"};
    struct config c;
    assert_int_equal(config_load(&c, path, set, 3), SHOAL_OK);
    scratch_remove(&s);
    assert_int_equal(c.model.layers, 12);
    assert_int_equal(c.model.context, 64);
    assert_string_equal(c.evolution.preset, "eoe");
    assert_int_equal(c.evolution.body.attractor, ATTRACT_BEST);
    assert_true(c.evolution.body.social == 1.5f);
    assert_true(c.evolution.body.crossover == 0.6f);
    assert_int_equal(c.evolution.io.attractor, ATTRACT_MEAN);
}

static void load_evolution(struct config *c, const char *set)
{
    assert_int_equal(config_load(c, NULL, &set, 1), SHOAL_OK);
}

static void test_evolution_presets(void **state)
{
    (void)state;
    struct config c, defaults;
    config_defaults(&defaults);
    load_evolution(&c, "evolution.preset=shoal");
    assert_memory_equal(&c, &defaults, sizeof c);

    load_evolution(&c, "evolution.preset=none");
    assert_false(c.evolution.recombine);
    assert_int_equal(c.evolution.body.attractor, ATTRACT_NONE);
    assert_int_equal(c.evolution.io.attractor, ATTRACT_NONE);

    const char *const papers[] = {"evolution.preset=eoe", "evolution.preset=koifish"};
    for (int i = 0; i < 2; i++) {
        load_evolution(&c, papers[i]);
        const struct evo_rule *body = &c.evolution.body, *io = &c.evolution.io;
        assert_false(c.evolution.recombine);
        assert_int_equal(body->attractor, i == 0 ? ATTRACT_BEST : ATTRACT_LAST);
        assert_int_equal(body->tensors, SCOPE_MATRICES);
        assert_true(body->inertia == 0.0f && body->social == 2.0f);
        assert_int_equal(body->draw, DRAW_ELEMENT);
        assert_int_equal(body->law, LAW_KOIFISH);
        assert_true(body->crossover == 0.6f);
        assert_int_equal(body->crossover_by, DRAW_ELEMENT);
        assert_true(body->mutation == (i == 0 ? 0.001f : 0.0f));
        assert_int_equal(body->moments, MOMENTS_KEEP);
        assert_int_equal(io->attractor, ATTRACT_MEAN);
        assert_true(io->social == 1.0f);
        assert_int_equal(io->draw, DRAW_CONSTANT);
        assert_true(io->crossover == 0.0f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),          cmocka_unit_test(test_file_and_overrides),
        cmocka_unit_test(test_missing_file),      cmocka_unit_test(test_nothing_is_all_defaults),
        cmocka_unit_test(test_refused_yaml),      cmocka_unit_test(test_deep_nesting_ends),
        cmocka_unit_test(test_refused_overrides), cmocka_unit_test(test_model_presets),
        cmocka_unit_test(test_llama_presets),     cmocka_unit_test(test_explicit_keys_beat_presets),
        cmocka_unit_test(test_evolution_presets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
