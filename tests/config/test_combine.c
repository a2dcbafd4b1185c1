/* Combinations that cannot be run, the shape of an expert, the configurations that come along, and
 * what may change on resume. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "config/config.h"
#include "support.h"

/* Each text is refused, saying so. */
static void check_refused(const char *const (*cases)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct config c;
        assert_int_equal(config_parse(&c, cases[i][0], "x.yaml"), SHOAL_ECONFIG);
        assert_failure_says("x.yaml:");
        assert_failure_says(cases[i][1]);
    }
}

static void test_refused_combinations(void **state)
{
    (void)state;
    const char *const cases[][2] = {
        {"model:\n  width: 100\n  heads: 3\n",
         "x.yaml:3: model.width 100 must be a multiple of model.heads 3; use width 102 or 2 heads"},
        {"model:\n  heads: 3\n  width: 100\n", "x.yaml:3: model.width 100"},
        {"model: {heads: 3}\n", "x.yaml:1: model.width 128"},
        {"population:\n  experts: 5\n", "x.yaml:2: model.layers 16 cannot be divided among "
                                        "population.experts 5; use 20 layers, or "
                                        "4 experts"},
        {"model: {layers: 3}\n", "use 4 layers, or 3 experts"},
        {"model: {layers: 0}\n", "set one of them"},
        {"model: {layers: 12}\npopulation:\n  layers_per_expert: 4\n",
         "x.yaml:3: model.layers 12 is not population.layers_per_expert 4 times "
         "population.experts 4 (= 16)"},
        {"model:\n  kv_heads: 2\n", "x.yaml:2: model.kv_heads 2: in model.arch gpt2 every head has "
                                    "its own keys"},
        {"model:\n  arch: gpt2\n  tied: false\n",
         "x.yaml:3: model.tied false: in model.arch gpt2 the head is the token embedding"},
        {"model: {arch: llama, kv_heads: 3}\n",
         "model.kv_heads 3 must divide model.heads 4; use 2"},
        {"model: {arch: llama, kv_heads: 8}\n",
         "model.kv_heads 8 must divide model.heads 4; use 4"},
        {"model:\n  width: 60\n",
         "x.yaml:2: model.width 60 with 4 heads makes heads of 15 numbers; bf16 is multiplied in "
         "pairs, so it must be even: use width 64, or train.precision f32"},
        {"model:\n  arch: llama\n  width: 60\ntrain: {precision: f32}\n",
         "x.yaml:3: model.width 60 with 4 heads makes heads of 15 numbers; rotary positions turn "
         "pairs, so it must be even: use width 64"},
        {"model: {vocab: 128}\n", "model.vocab 128 is too small for data.tokenizer bytes"},
        {"data: {tokenizer: gpt2}\n",
         "model.vocab 256 is too small for data.tokenizer gpt2: set model.vocab to 50257"},
        {"train:\n  micro_batch: 5\n", "x.yaml:2: train.micro_batch 5 must divide train.batch 16; "
                                       "use 4"},
        {"train:\n  micro_batch: 32\n", "train.micro_batch 32 must divide train.batch 16; use 16"},
        {"evolution:\n  every: 30\n", "x.yaml:2: evolution.judge 100 must be a multiple of "
                                      "evolution.every 30; use 120"},
        {"snapshot:\n  every: 150\n", "x.yaml:2: snapshot.every 150 must be a multiple of "
                                      "evolution.judge 100; use 200, or 0"},
        {"eval:\n  every: 250\n", "x.yaml:2: eval.every 250 must be a multiple of "
                                  "evolution.judge 100; use 300, or 0 for none"},
        {"eval: {every: 50}\n", "eval.every 50 must be a multiple of evolution.judge 100; use 100"},
        {"train:\n  skip: -1\n", "x.yaml:2: train.skip must be a number from 0"},
        {"train:\n  skip_window: 1\n",
         "x.yaml:2: train.skip_window must be a whole number from 2 to "
         "1024"},
        {"train: {skip_window: 1025}\n", "train.skip_window must be"},
        {"train: {wsd_decay: 1.5}\n", "train.wsd_decay must be a number from 0 to 1"},
        {"train: {wsd_decay: nan}\n", "train.wsd_decay must be"},
        {"eval: {windows: -3}\n", "eval.windows must be a whole number from 0"},
        {"eval: {window: 3}\n", "eval.windows"},
        {"run:\n  name: a/b\n", "x.yaml:2: run.name 'a/b' must be made of letters"},
        {"run:\n  name: ''\n", "run.name ''"},
    };
    check_refused(cases, sizeof cases / sizeof cases[0]);
}

static void test_refused_evolution(void **state)
{
    (void)state;
    const char *const cases[][2] = {
        {"population: {mode: data_parallel}\nevolution:\n  preset: shoal\n",
         "x.yaml:3: population.mode data_parallel keeps all experts equal, so that evolution would "
         "move none of them"},
        {"population: {mode: data_parallel}\nevolution: {io: {attractor: mean}}\n",
         "x.yaml:2: population.mode data_parallel keeps all experts equal"},
        {"population: {mode: data_parallel}\nevolution: {recombine: true}\n",
         "x.yaml:2: evolution.recombine true: with population.mode data_parallel the mean"},
        {"population:\n  mode: data_parallel\n  init: different\n",
         "x.yaml:3: population.init different: with population.mode data_parallel"},
        {"population: {mode: parallel}\n", "population.mode must be"},
        {"evolution:\n  outer: {lr: 0.7}\n", "x.yaml:2: evolution.outer.lr 0.7 and "
                                             "evolution.outer.momentum 0 are of steps of the mean, "
                                             "and no group has it as its attractor"},
        {"evolution: {preset: diloco}\npopulation: {init: different}\n",
         "x.yaml:2: evolution.outer.lr 0.7 and evolution.outer.momentum 0.9 begin with the way "
         "from "
         "the common start"},
        {"evolution: {preset: tournament}\npopulation: {experts: 1}\n",
         "x.yaml:2: population.experts 1: the attractors top and pair compare experts"},
        {"population: {mode: data_parallel, lr_spread: 2}\n",
         "x.yaml:1: population.lr_spread 2: with population.mode data_parallel all experts take "
         "the "
         "same steps"},
        {"evolution:\n  inherit_lr: true\n",
         "x.yaml:2: evolution.inherit_lr true: a learning rate is taken from one expert"},
        {"evolution:\n  preset: tournament\n  perturb_lr: 1.1\n",
         "x.yaml:3: evolution.perturb_lr 1.1: what is perturbed is the learning rate that was "
         "taken"},
        {"population: {lr_spread: 0.5}\n", "population.lr_spread must be a number from 1 to 100"},
        {"evolution: {top: 0.6}\n", "evolution.top must be a number from 0 to 0.5"},
        {"evolution: {outer: {momentum: 1}}\n", "evolution.outer.momentum must be"},
    };
    check_refused(cases, sizeof cases / sizeof cases[0]);
}

static void test_allowed_combinations(void **state)
{
    (void)state;
    const char *const texts[] = {
        "population: {layers_per_expert: 3}\n",
        "model: {layers: 12}\npopulation: {layers_per_expert: 3}\n",
        "snapshot: {every: 0}\n",
        "eval: {every: 200, windows: 5}\n",
        "evolution: {judge: 20}\neval: {every: 20}\n",
        "train: {skip: 6, skip_window: 1024}\n",
        "train: {wsd_decay: 1}\n",
        "train: {micro_batch: 16}\n",
        "model: {vocab: 100}\ndata: {tokenizer: none}\n",
        "model: {vocab: 50257}\ndata: {tokenizer: gpt2, vocab: some/where}\n",
        "model: {vocab: 257}\ndata: {tokenizer: gpt2}\n",
        "population: {experts: 1}\n",
        "model: {kv_heads: 4, tied: true, ffn: 100}\n",
        "model: {width: 60}\ntrain: {precision: f32}\n",
        "model: {arch: llama}\n",
        "model: {arch: llama, kv_heads: 1, tied: true, ffn: 7, rope_theta: 5e5}\n",
        "model: {preset: gpt2, arch: llama}\n",
        "train: {recompute: block}\n",
        "population: {mode: data_parallel}\n",
        "population: {mode: data_parallel, experts: 1}\n",
        "population: {mode: data_parallel}\nevolution: {preset: none}\n",
        "evolution: {preset: none}\npopulation: {mode: data_parallel, init: same}\n",
        "evolution: {preset: copy, top: 0}\n",
        "evolution: {preset: tournament, io: {attractor: none}}\n",
        "evolution: {preset: diloco}\n",
        "evolution: {preset: tournament, inherit_lr: true, perturb_lr: 1.3}\n",
        "population: {lr_spread: 4}\n",
        "evolution: {preset: diloco, outer: {lr: 1, momentum: 0}}\npopulation: {init: different}\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct config c;
        assert_int_equal(config_parse(&c, texts[i], "x.yaml"), SHOAL_OK);
    }
}

/* A configuration that can be run, made by hand. */
static struct config runnable(void)
{
    struct config c;
    config_defaults(&c);
    strcpy(c.data.train, "train_*.bin");
    strcpy(c.data.val, "val_*.bin");
    return c;
}

static void test_validate(void **state)
{
    (void)state;
    struct config c = runnable();
    assert_int_equal(config_validate(&c, 0), SHOAL_OK);
    assert_int_equal(config_validate(&c, 4), SHOAL_OK);
    assert_int_equal(config_validate(&c, 5), SHOAL_ECONFIG);
    assert_failure_says("5 workers but only 4 experts");
    assert_failure_says("mpirun -n 5");
    assert_failure_says("raise population.experts to 5");

    c.data.val[0] = 0;
    assert_int_equal(config_validate(&c, 1), SHOAL_ECONFIG);
    assert_failure_says("data.val is not set");
    assert_failure_says("shoal tokenize");
    c.data.train[0] = 0;
    assert_int_equal(config_validate(&c, 1), SHOAL_ECONFIG);
    assert_failure_says("data.train is not set");
}

/* Values that no text could have set. */
static void test_validate_checks_ranges(void **state)
{
    (void)state;
    struct config c = runnable();
    c.model.heads = 0;
    assert_int_equal(config_validate(&c, 0), SHOAL_ECONFIG);
    assert_failure_says("model.heads must be a whole number from 1");
    c = runnable();
    c.evolution.io.attractor = 17;
    assert_int_equal(config_validate(&c, 0), SHOAL_ECONFIG);
    assert_failure_says("evolution.io.attractor must be one of none, best, mean, last, top, pair, "
                        "found '17'");
    c = runnable();
    c.evolution.body.social = -1;
    assert_int_equal(config_validate(&c, 0), SHOAL_ECONFIG);
    assert_failure_says("evolution.body.social");
    c = runnable();
    c.train.lr = (double)NAN;
    assert_int_equal(config_validate(&c, 0), SHOAL_ECONFIG);
    assert_failure_says("train.lr");
}

static void test_shape(void **state)
{
    (void)state;
    const char *const set[] = {"model.preset=gpt2-xl", "population.experts=6"};
    struct config c;
    assert_int_equal(config_load(&c, NULL, set, 2), SHOAL_OK);
    struct gpt_shape s = config_shape(&c);
    assert_int_equal(s.layers, 8);
    assert_int_equal(s.heads, 25);
    assert_int_equal(s.width, 1600);
    assert_int_equal(s.context, 1024);
    assert_int_equal(s.vocab, 50257);
    assert_int_equal(s.vocab_pad, 50304);

    const char *const outright[] = {"population.layers_per_expert=3", "population.experts=7"};
    assert_int_equal(config_load(&c, NULL, outright, 2), SHOAL_OK);
    assert_int_equal(c.model.layers, 0);
    s = config_shape(&c);
    assert_int_equal(s.layers, 3);
    assert_int_equal(s.vocab_pad, 256);
}

/* What the configuration leaves open is as the architecture has it. */
static void test_shape_defaults(void **state)
{
    (void)state;
    struct config c = runnable();
    struct gpt_shape s = config_shape(&c);
    assert_int_equal(s.arch, ARCH_GPT2);
    assert_int_equal(s.kv_heads, 4);
    assert_int_equal(s.ffn, 512);
    assert_true(s.tied);
    c.model.arch = ARCH_LLAMA;
    s = config_shape(&c);
    assert_int_equal(s.arch, ARCH_LLAMA);
    assert_int_equal(s.kv_heads, 4);
    assert_int_equal(s.ffn, 384); /* 8/3 * 128 = 341.3, rounded up to a multiple of 64 */
    assert_false(s.tied);
    assert_true(s.rope_theta == 10000.0f);
    c.model.width = 192;
    assert_int_equal(config_shape(&c).ffn, 512); /* 8/3 * 192, a multiple already */
    c.model.width = 65536;
    assert_int_equal(config_shape(&c).ffn, 174784); /* 174762.7 */
    c.model.kv_heads = 2;
    c.model.ffn = 100;
    c.model.tied = TIED_TRUE;
    c.model.rope_theta = 5e5;
    s = config_shape(&c);
    assert_int_equal(s.kv_heads, 2);
    assert_int_equal(s.ffn, 100);
    assert_true(s.tied);
    assert_true(s.rope_theta == 500000.0f);
}

/* Every configuration that comes with the program can be run as it is. */
static void test_configs_folder(void **state)
{
    (void)state;
    DIR *dir = opendir(CONFIGS_DIR);
    assert_non_null(dir);
    int found = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".yaml") != 0) continue;
        char path[SHOAL_MAX_PATH];
        assert_int_equal(path_format(path, "%s/%s", CONFIGS_DIR, entry->d_name), SHOAL_OK);
        struct config c;
        if (config_load(&c, path, NULL, 0) != SHOAL_OK || config_validate(&c, 1) != SHOAL_OK) {
            fail_msg("%s", shoal_failure_text());
        }
        /* A file is named after its run. */
        assert_int_equal(strlen(c.run.name), dot - entry->d_name);
        assert_memory_equal(c.run.name, entry->d_name, strlen(c.run.name));
        found++;
    }
    closedir(dir);
    assert_true(found >= 5);
}

static void test_paper_sizes(void **state)
{
    (void)state;
    const struct {
        const char *file;
        int experts, layers, width;
    } cases[] = {{"gpt2-124m-2x6", 2, 6, 768},
                 {"gpt2-774m-4x9", 4, 9, 1280},
                 {"gpt2-1558m-6x8", 6, 8, 1600}};
    for (int i = 0; i < 3; i++) {
        char path[SHOAL_MAX_PATH];
        assert_int_equal(path_format(path, "%s/%s.yaml", CONFIGS_DIR, cases[i].file), SHOAL_OK);
        struct config c;
        assert_int_equal(config_load(&c, path, NULL, 0), SHOAL_OK);
        assert_int_equal(c.population.experts, cases[i].experts);
        assert_int_equal(config_shape(&c).layers, cases[i].layers);
        assert_int_equal(config_shape(&c).width, cases[i].width);
        assert_int_equal(c.train.batch, 80);
    }
}

static void test_resume(void **state)
{
    (void)state;
    const struct config then = runnable();
    struct config now = then;
    assert_int_equal(config_check_resume(&now, &then), SHOAL_OK);
    now.run.steps = 5;
    now.run.minutes = 2;
    now.run.log = 3;
    strcpy(now.run.out, "elsewhere");
    strcpy(now.data.vocab, "moved");
    now.train.wsd_decay = 0.5;
    now.train.skip = 6;
    now.train.skip_window = 64;
    now.train.recompute = RECOMPUTE_BLOCK;
    now.eval.every = 300;
    now.eval.windows = 7;
    now.snapshot.every = 200;
    now.snapshot.keep = 9;
    strcpy(now.device, "cpu");
    strcpy(now.transport, "mpi");
    now.threads = 7;
    assert_int_equal(config_check_resume(&now, &then), SHOAL_OK);

    now.model.width = 64;
    assert_int_equal(config_check_resume(&now, &then), SHOAL_ECONFIG);
    assert_failure_says("model.width is '64' now but was '128'");
    now.train.lr = 0.5;
    now.evolution.io.social = 2;
    assert_int_equal(config_check_resume(&now, &then), SHOAL_ECONFIG);
    assert_failure_says("model.width is '64' now but was '128' when the run started (and 2 more");
}

static void test_same_on_all_ranks(void **state)
{
    (void)state;
    const struct config a = runnable();
    struct config b = a;
    char how[256] = "";
    strcpy(b.run.out, "elsewhere");
    strcpy(b.data.vocab, "moved");
    b.run.log = 7;
    b.threads = 3;
    assert_true(config_same(&a, &b, how, sizeof how));
    assert_string_equal(how, "");
    b.train.lr = nextafter(b.train.lr, 1);
    assert_false(config_same(&a, &b, how, sizeof how));
    b = a;
    b.eval.every += 100; /* an evaluation may need all workers */
    assert_false(config_same(&b, &a, how, sizeof how));
    assert_string_equal(how, "eval.every is '100', on rank 0 '0'");
    b.run.steps++;
    assert_false(config_same(&a, &b, how, sizeof how));
    assert_non_null(strstr(how, "run.steps is "));
    assert_non_null(strstr(how, " (and 1 more options differ)"));
    b = a;
    strcpy(b.data.train, b.data.val);
    assert_false(config_same(&a, &b, how, 20));
    assert_int_equal(strlen(how), 19);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_combinations),
        cmocka_unit_test(test_refused_evolution),
        cmocka_unit_test(test_allowed_combinations),
        cmocka_unit_test(test_validate),
        cmocka_unit_test(test_validate_checks_ranges),
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_shape_defaults),
        cmocka_unit_test(test_configs_folder),
        cmocka_unit_test(test_paper_sizes),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_same_on_all_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
