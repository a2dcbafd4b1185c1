/* Parameter table, expert initialisation, digest. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include "base/memory.h"
#include "model/fixture.h"

/* Sizes that are multiples of nothing. */
static struct gpt_shape odd(enum arch arch)
{
    struct gpt_shape s =
        arch == ARCH_GPT2 ? fixture_gpt2(3, 5, 35, 61) : fixture_llama(3, 3, 1, 18, 21, 61, false);
    s.context = 17;
    s.vocab_pad = 128;
    return s;
}

/* The table of a configuration's expert. */
static struct param_table *table_of(const char *preset, const char *experts)
{
    const char *const set[] = {preset, experts};
    struct config c;
    struct param_table *t;
    require_ok(config_load(&c, NULL, set, 2));
    const struct gpt_shape shape = config_shape(&c);
    require_ok(param_table_create(&shape, &t));
    assert_int_equal(t->n_real, param_count(&shape));
    return t;
}

/* As counted by those who released them. */
static void counts_are_the_released_models(void **state)
{
    (void)state;
    const struct {
        const char *preset;
        int64_t parameters;
    } cases[] = {{"model.preset=gpt2", 124439808},
                 {"model.preset=gpt2-medium", 354823168},
                 {"model.preset=gpt2-large", 774030080},
                 {"model.preset=gpt2-xl", 1557611200},
                 {"model.preset=tinyllama", 1100048384}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct param_table *t = table_of(cases[i].preset, "population.experts=1");
        assert_int_equal(t->n_real, cases[i].parameters);
        param_table_destroy(&t);
        assert_null(t);
    }
}

/* Experts of the paper's sizes: 81.9, 242.8 and 328.1 million with the vocabulary's padding. Their
 * widths are multiples of 64, so slabs have no gaps. */
static void cuts_have_their_sizes(void **state)
{
    (void)state;
    const struct {
        const char *preset, *experts;
        int layers;
        int64_t n_params;
    } cases[] = {{"model.preset=gpt2", "population.experts=2", 6, 81948672},
                 {"model.preset=gpt2-large", "population.experts=4", 9, 242799360},
                 {"model.preset=gpt2-xl", "population.experts=6", 8, 328054400}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct param_table *t = table_of(cases[i].preset, cases[i].experts);
        assert_int_equal(t->shape.layers, cases[i].layers);
        assert_int_equal(t->n_tensors, 4 + 12 * cases[i].layers);
        assert_int_equal(t->n_params, cases[i].n_params);
        assert_int_equal(t->n_real, t->n_params - (50304 - 50257) * t->shape.width);
        param_table_destroy(&t);
    }
}

static void assert_tensor(const struct param_table *t, enum param which, int layer,
                          const char *name, int64_t rows, int64_t cols, bool transposed)
{
    const struct param_tensor *p = param_get(t, which, layer);
    assert_string_equal(p->name, name);
    assert_int_equal(p->which, which);
    assert_int_equal(p->layer, layer);
    assert_int_equal(p->rows, rows);
    assert_int_equal(p->cols, cols);
    assert_int_equal(p->hf_transposed, transposed);
    assert_int_equal(p->matrix, rows > 1);
    assert_int_equal(p->group == GROUP_BODY,
                     strncmp(name, "h.", 2) == 0 || strncmp(name, "model.layers.", 13) == 0);
}

static void names_and_shapes_are_hugging_faces_gpt2(void **state)
{
    (void)state;
    struct param_table *t;
    const struct gpt_shape shape = odd(ARCH_GPT2);
    require_ok(param_table_create(&shape, &t));
    assert_tensor(t, PARAM_WTE, 0, "wte.weight", 128, 35, false);
    assert_int_equal(param_get(t, PARAM_WTE, 0)->real_rows, 61);
    assert_tensor(t, PARAM_WPE, 0, "wpe.weight", 17, 35, false);
    assert_tensor(t, PARAM_QKV_W, 0, "h.0.attn.c_attn.weight", 105, 35, true);
    assert_tensor(t, PARAM_PROJ_W, 1, "h.1.attn.c_proj.weight", 35, 35, true);
    assert_tensor(t, PARAM_FC_W, 2, "h.2.mlp.c_fc.weight", 140, 35, true);
    assert_tensor(t, PARAM_FCPROJ_W, 2, "h.2.mlp.c_proj.weight", 35, 140, true);
    assert_tensor(t, PARAM_LN1_G, 0, "h.0.ln_1.weight", 1, 35, false);
    assert_tensor(t, PARAM_LN1_B, 1, "h.1.ln_1.bias", 1, 35, false);
    assert_tensor(t, PARAM_QKV_B, 2, "h.2.attn.c_attn.bias", 1, 105, false);
    assert_tensor(t, PARAM_PROJ_B, 0, "h.0.attn.c_proj.bias", 1, 35, false);
    assert_tensor(t, PARAM_LN2_G, 0, "h.0.ln_2.weight", 1, 35, false);
    assert_tensor(t, PARAM_LN2_B, 0, "h.0.ln_2.bias", 1, 35, false);
    assert_tensor(t, PARAM_FC_B, 1, "h.1.mlp.c_fc.bias", 1, 140, false);
    assert_tensor(t, PARAM_FCPROJ_B, 1, "h.1.mlp.c_proj.bias", 1, 35, false);
    assert_tensor(t, PARAM_LNF_G, 0, "ln_f.weight", 1, 35, false);
    assert_tensor(t, PARAM_LNF_B, 0, "ln_f.bias", 1, 35, false);
    param_table_destroy(&t);
}

static void names_and_shapes_are_hugging_faces_llama(void **state)
{
    (void)state;
    struct param_table *t;
    struct gpt_shape shape = odd(ARCH_LLAMA);
    require_ok(param_table_create(&shape, &t));
    assert_int_equal(t->n_tensors, 3 + 9 * 3);
    assert_tensor(t, PARAM_WTE, 0, "model.embed_tokens.weight", 128, 18, false);
    assert_tensor(t, PARAM_HEAD, 0, "lm_head.weight", 128, 18, false);
    assert_int_equal(param_get(t, PARAM_WTE, 0)->real_rows, 61);
    assert_int_equal(param_get(t, PARAM_HEAD, 0)->real_rows, 61);
    assert_tensor(t, PARAM_Q_W, 0, "model.layers.0.self_attn.q_proj.weight", 18, 18, false);
    assert_tensor(t, PARAM_K_W, 1, "model.layers.1.self_attn.k_proj.weight", 6, 18, false);
    assert_tensor(t, PARAM_V_W, 2, "model.layers.2.self_attn.v_proj.weight", 6, 18, false);
    assert_tensor(t, PARAM_PROJ_W, 2, "model.layers.2.self_attn.o_proj.weight", 18, 18, false);
    assert_tensor(t, PARAM_GATE_W, 0, "model.layers.0.mlp.gate_proj.weight", 21, 18, false);
    assert_tensor(t, PARAM_UP_W, 1, "model.layers.1.mlp.up_proj.weight", 21, 18, false);
    assert_tensor(t, PARAM_FCPROJ_W, 2, "model.layers.2.mlp.down_proj.weight", 18, 21, false);
    assert_tensor(t, PARAM_LN1_G, 0, "model.layers.0.input_layernorm.weight", 1, 18, false);
    assert_tensor(t, PARAM_LN2_G, 2, "model.layers.2.post_attention_layernorm.weight", 1, 18,
                  false);
    assert_tensor(t, PARAM_LNF_G, 0, "model.norm.weight", 1, 18, false);
    assert_null(param_find(t, PARAM_WPE, 0));
    assert_null(param_find(t, PARAM_QKV_B, 0));
    param_table_destroy(&t);
    shape.tied = true;
    require_ok(param_table_create(&shape, &t));
    assert_int_equal(t->n_tensors, 2 + 9 * 3);
    assert_null(param_find(t, PARAM_HEAD, 0));
    param_table_destroy(&t);
    shape.layers = 4096; /* the most there can be: names fit */
    require_ok(param_table_create(&shape, &t));
    assert_tensor(t, PARAM_LN2_G, 4095, "model.layers.4095.post_attention_layernorm.weight", 1, 18,
                  false);
    param_table_destroy(&t);
}

static void assert_layout(enum arch arch)
{
    struct param_table *t;
    int64_t end = 0;
    const struct gpt_shape shape = odd(arch);
    require_ok(param_table_create(&shape, &t));
    for (int i = 0; i < t->n_tensors; i++) {
        const struct param_tensor *p = &t->tensor[i];
        assert_ptr_equal(p, param_get(t, p->which, p->layer));
        assert_int_equal(p->joined,
                         p->which == PARAM_K_W || p->which == PARAM_V_W || p->which == PARAM_UP_W);
        if (p->joined)
            assert_int_equal(p->offset, end);
        else
            assert_int_equal(p->offset % 64, 0);
        assert_true(p->offset >= end && p->offset < end + 64);
        end = p->offset + p->rows * p->cols;
        assert_int_equal(p->matrix, p->offset < t->decay_end);
        assert_int_equal(p->group == GROUP_BODY,
                         p->offset >= t->body_begin && p->offset < t->body_end);
    }
    assert_true(end <= t->n_params && t->n_params < end + 64);
    param_table_destroy(&t);
}

static void slab_is_aligned_without_overlap_and_in_ranges(void **state)
{
    (void)state;
    assert_layout(ARCH_GPT2);
    assert_layout(ARCH_LLAMA);
}

static void assert_product(const struct param_table *t, enum param_product product, int layer,
                           enum param first, int64_t rows, int64_t cols)
{
    const struct param_matrix m = param_product(t, product, layer);
    assert_int_equal(m.offset, param_get(t, first, layer)->offset);
    assert_int_equal(m.rows, rows);
    assert_int_equal(m.cols, cols);
}

static void products_are_one_matrix(void **state)
{
    (void)state;
    struct param_table *t;
    struct gpt_shape s = odd(ARCH_GPT2);
    require_ok(param_table_create(&s, &t));
    assert_product(t, PRODUCT_HEAD, 0, PARAM_WTE, 128, 35);
    assert_product(t, PRODUCT_QKV, 2, PARAM_QKV_W, 105, 35);
    assert_product(t, PRODUCT_PROJ, 1, PARAM_PROJ_W, 35, 35);
    assert_product(t, PRODUCT_FC, 0, PARAM_FC_W, 140, 35);
    assert_product(t, PRODUCT_FCPROJ, 0, PARAM_FCPROJ_W, 35, 140);
    param_table_destroy(&t);
    s = odd(ARCH_LLAMA);
    require_ok(param_table_create(&s, &t));
    assert_product(t, PRODUCT_HEAD, 0, PARAM_HEAD, 128, 18);
    assert_product(t, PRODUCT_QKV, 2, PARAM_Q_W, 18 + 2 * 6, 18);
    assert_product(t, PRODUCT_PROJ, 1, PARAM_PROJ_W, 18, 18);
    assert_product(t, PRODUCT_FC, 1, PARAM_GATE_W, 2 * 21, 18);
    assert_product(t, PRODUCT_FCPROJ, 0, PARAM_FCPROJ_W, 18, 21);
    param_table_destroy(&t);
    s.tied = true;
    require_ok(param_table_create(&s, &t));
    assert_product(t, PRODUCT_HEAD, 0, PARAM_WTE, 128, 18);
    param_table_destroy(&t);
}

static void assert_refused(struct gpt_shape s, const char *why)
{
    struct param_table *t;
    assert_int_equal(param_table_create(&s, &t), SHOAL_ECONFIG);
    assert_null(t);
    if (!strstr(shoal_failure_text(), why))
        fail_msg("'%s' does not say '%s'", shoal_failure_text(), why);
}

static void impossible_shapes_are_refused(void **state)
{
    (void)state;
    struct gpt_shape s;
    s = odd(ARCH_GPT2), s.heads = 4, assert_refused(s, "multiple of heads");
    s = odd(ARCH_GPT2), s.layers = 0, assert_refused(s, "positive");
    s = odd(ARCH_GPT2), s.ffn = 0, assert_refused(s, "ffn 0");
    s = odd(ARCH_GPT2), s.vocab_pad = 60, assert_refused(s, "padded vocabulary");
    s = odd(ARCH_GPT2), s.kv_heads = 1, assert_refused(s, "kv_heads 1");
    s = odd(ARCH_GPT2), s.tied = false, assert_refused(s, "tied");
    s = odd(ARCH_GPT2), s.arch = 2, assert_refused(s, "architecture 2");
    s = odd(ARCH_LLAMA), s.kv_heads = 2, assert_refused(s, "multiple of kv_heads");
    s = odd(ARCH_LLAMA), s.kv_heads = 0, assert_refused(s, "kv_heads 0");
    s = odd(ARCH_LLAMA), s.width = 15, assert_refused(s, "heads of 5 numbers");
    s = odd(ARCH_LLAMA), s.rope_theta = 0.0f, assert_refused(s, "rope_theta");
}

/* ---- initialisation -------------------------------------------------------------------------- */

static void assert_normal(const struct param_tensor *t, const float *x, double std)
{
    const int64_t n = t->real_rows * t->cols;
    double sum = 0.0, square = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
        square += (double)x[i] * x[i];
    }
    /* five standard errors of mean and of standard deviation */
    assert_true(fabs(sum / (double)n) < 5.0 * std / sqrt((double)n));
    assert_true(fabs(sqrt(square / (double)n) / std - 1.0) < 5.0 / sqrt(2.0 * (double)n));
}

static void assert_initial_weights(enum arch arch)
{
    struct fixture f;
    fixture_open_shape(&f, odd(arch), 1, 14);
    float *w = f.expert->weights;
    require_ok(expert_init(f.expert, 7, 0, 3));
    for (int i = 0; i < f.table->n_tensors; i++) {
        const struct param_tensor *t = &f.table->tensor[i];
        const float *x = w + t->offset;
        const bool residual = t->which == PARAM_PROJ_W || t->which == PARAM_FCPROJ_W;
        const bool gain =
            t->which == PARAM_LN1_G || t->which == PARAM_LN2_G || t->which == PARAM_LNF_G;
        if (t->matrix)
            assert_normal(t, x, residual ? 0.02 / sqrt(6.0) : 0.02);
        else
            for (int64_t j = 0; j < t->cols; j++)
                assert_true(x[j] == (gain ? 1.0f : 0.0f));
        const int64_t end = i + 1 < f.table->n_tensors ? t[1].offset : f.table->n_params;
        for (int64_t j = t->offset + t->real_rows * t->cols; j < end; j++)
            assert_true(w[j] == 0.0f);
    }
    fixture_close(&f);
}

static void initial_weights_are_gpt2s(void **state)
{
    (void)state;
    assert_initial_weights(ARCH_GPT2);
    assert_initial_weights(ARCH_LLAMA);
}

/* Element i of a tensor is a function of (seed, stream, tensor, i), far into large tensors too. */
static void initial_weights_are_keyed_by_element(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, 1, 2, 16, 9000, 1, 8);
    require_ok(expert_init(f.expert, 7, 3, 1));
    for (int64_t i = 0; i < 9000 * 16; i += 17) {
        const struct rng_key key = {.seed = 7, .stream = RNG_INIT, .expert = 3, .tensor = 0};
        const float expected = 0.02f * rng_to_normal(rng_bits(key, (uint64_t)i));
        assert_true(f.expert->weights[i] == expected);
    }
    fixture_close(&f);
}

static uint64_t digest_of(const struct fixture *f)
{
    uint64_t digest;
    require_ok(slab_digest(f->dev, f->expert->weights, f->table->n_params, &digest));
    return digest;
}

static void initialisation_depends_on_seed_and_stream_only(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, 2, 2, 16, 300, 1, 8);
    require_ok(expert_init(f.expert, 7, 0, 2));
    const uint64_t first = digest_of(&f);
    require_ok(expert_init(f.expert, 7, 1, 2));
    assert_true(digest_of(&f) != first);
    require_ok(expert_init(f.expert, 8, 0, 2));
    assert_true(digest_of(&f) != first);
    require_ok(expert_init(f.expert, 7, 0, 2));
    assert_true(digest_of(&f) == first);
    fixture_close(&f);
}

static void digest_sees_order_sign_and_length(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t a, b;
    fixture_open(&f, 1, 1, 4, 9, 1, 2);
    float x[] = {1.0f, 2.0f, 0.0f, 0.0f};
    require_ok(slab_digest(f.dev, x, 4, &a));
    require_ok(slab_digest(f.dev, x, 3, &b));
    assert_true(a != b);
    x[2] = -0.0f;
    require_ok(slab_digest(f.dev, x, 4, &b));
    assert_true(a != b);
    const float swapped[] = {2.0f, 1.0f, 0.0f, 0.0f};
    require_ok(slab_digest(f.dev, swapped, 4, &b));
    assert_true(a != b);
    fixture_close(&f);
}

/* Parts begin at tensors, follow each other, and none is larger than its share and one tensor. */
static void fragments_cut_at_tensors(void **state)
{
    (void)state;
    const enum arch archs[] = {ARCH_GPT2, ARCH_LLAMA};
    for (int a = 0; a < 2; a++) {
        struct param_table *t;
        const struct gpt_shape shape = odd(archs[a]);
        require_ok(param_table_create(&shape, &t));
        int64_t largest = 0;
        for (int i = 0; i < t->n_tensors; i++) {
            const int64_t n = t->tensor[i].rows * t->tensor[i].cols;
            if (n > largest) largest = n;
        }
        for (int fragments = 1; fragments < 2 * t->n_tensors; fragments++) {
            assert_int_equal(param_fragment(t, 0, fragments), 0);
            assert_int_equal(param_fragment(t, fragments, fragments), t->n_params);
            for (int i = 0; i < fragments; i++) {
                const int64_t from = param_fragment(t, i, fragments);
                const int64_t to = param_fragment(t, i + 1, fragments);
                bool at_tensor = from == t->n_params;
                for (int k = 0; k < t->n_tensors; k++)
                    at_tensor = at_tensor || t->tensor[k].offset == from;
                assert_true(at_tensor && from <= to);
                assert_true(to - from <= t->n_params / fragments + largest + 64);
            }
        }
        param_table_destroy(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_the_released_models),
        cmocka_unit_test(cuts_have_their_sizes),
        cmocka_unit_test(names_and_shapes_are_hugging_faces_gpt2),
        cmocka_unit_test(names_and_shapes_are_hugging_faces_llama),
        cmocka_unit_test(slab_is_aligned_without_overlap_and_in_ranges),
        cmocka_unit_test(products_are_one_matrix),
        cmocka_unit_test(impossible_shapes_are_refused),
        cmocka_unit_test(initial_weights_are_gpt2s),
        cmocka_unit_test(initial_weights_are_keyed_by_element),
        cmocka_unit_test(initialisation_depends_on_seed_and_stream_only),
        cmocka_unit_test(digest_sees_order_sign_and_length),
        cmocka_unit_test(fragments_cut_at_tensors),
    };
    return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
