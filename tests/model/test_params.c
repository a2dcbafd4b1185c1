/* Parameter table, expert initialisation, digest. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include "base/memory.h"
#include "model/fixture.h"

static const struct gpt_shape gpt2_124m = {12, 12, 768, 1024, 50257, 50304};
static const struct gpt_shape gpt2_xl_6x8 = {8, 25, 1600, 1024, 50257, 50304};
static const struct gpt_shape odd = {3, 5, 35, 17, 61, 128};

static void counts_are_gpt2s(void **state)
{
    (void)state;
    struct param_table *t;
    assert_int_equal(param_count(&gpt2_124m), 124439808);
    require_ok(param_table_create(&gpt2_124m, &t));
    assert_int_equal(t->n_real, 124439808);
    assert_int_equal(t->n_params, 124475904);
    assert_int_equal(t->n_tensors, 4 + 12 * 12);
    param_table_destroy(&t);
    assert_null(t);
    /* width 1600 is a multiple of 64, so the slab is the padded count and has no gaps */
    require_ok(param_table_create(&gpt2_xl_6x8, &t));
    assert_int_equal(t->n_params, 328054400);
    assert_int_equal(t->n_real, 328054400 - (50304 - 50257) * 1600);
    param_table_destroy(&t);
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
    assert_int_equal(p->group == GROUP_BODY, strncmp(name, "h.", 2) == 0);
}

static void names_and_shapes_are_hugging_faces(void **state)
{
    (void)state;
    struct param_table *t;
    require_ok(param_table_create(&odd, &t));
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

static void slab_is_aligned_without_overlap_and_in_ranges(void **state)
{
    (void)state;
    struct param_table *t;
    int64_t end = 0;
    require_ok(param_table_create(&odd, &t));
    for (int i = 0; i < t->n_tensors; i++) {
        const struct param_tensor *p = &t->tensor[i];
        assert_ptr_equal(p, param_get(t, p->which, p->layer));
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

static void impossible_shapes_are_refused(void **state)
{
    (void)state;
    struct param_table *t;
    struct gpt_shape s = odd;
    s.heads = 4;
    assert_int_equal(param_table_create(&s, &t), SHOAL_ECONFIG);
    assert_non_null(strstr(shoal_failure_text(), "heads"));
    s = odd;
    s.layers = 0;
    assert_int_equal(param_table_create(&s, &t), SHOAL_ECONFIG);
    s = odd;
    s.vocab_pad = 60;
    assert_int_equal(param_table_create(&s, &t), SHOAL_ECONFIG);
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

static void initial_weights_are_gpt2s(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, 3, 5, 35, 61, 1, 14);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_gpt2s),
        cmocka_unit_test(names_and_shapes_are_hugging_faces),
        cmocka_unit_test(slab_is_aligned_without_overlap_and_in_ranges),
        cmocka_unit_test(impossible_shapes_are_refused),
        cmocka_unit_test(initial_weights_are_gpt2s),
        cmocka_unit_test(initial_weights_are_keyed_by_element),
        cmocka_unit_test(initialisation_depends_on_seed_and_stream_only),
        cmocka_unit_test(digest_sees_order_sign_and_length),
    };
    return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
