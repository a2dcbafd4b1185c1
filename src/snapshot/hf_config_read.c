/* hf_config_read.c - what our arithmetic has no option for must have the one value that it does
 * have: a model that is a little different would load and be a little wrong. */
#include "snapshot/hf_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/json_read.h"

static const double norm_eps = 1e-5; /* of src/model */

struct source {
    const char *path;
    struct json_object *root;
};

/* NULL: not there, or null. */
static struct json_object *find(const struct source *s, const char *key)
{
    return json_object_object_get(s->root, key);
}

/* fallback 0: it must be there. */
static enum shoal_status get_size(const struct source *s, const char *key, int fallback, int *out)
{
    struct json_object *value = find(s, key);
    *out = fallback;
    if (!value && fallback > 0) return SHOAL_OK;
    SHOAL_CHECK(value, SHOAL_EFORMAT, "%s: has no %s", s->path, key);
    const int64_t n = json_is_number(value) ? json_object_get_int64(value) : 0;
    SHOAL_CHECK(n > 0 && n <= INT32_MAX, SHOAL_EFORMAT, "%s: %s is '%.40s', expected a size",
                s->path, key, json_object_get_string(value));
    *out = (int)n;
    return SHOAL_OK;
}

static bool get_number(struct json_object *value, double *out)
{
    if (!json_object_is_type(value, json_type_double) && !json_is_number(value)) return false;
    *out = json_object_get_double(value);
    return isfinite(*out);
}

#define DIFFERENT "%s: %s is '%.40s', and shoal's models have %s: this model cannot be imported"

/* What must be this number where it is given; what the reader would take otherwise: fallback. */
static enum shoal_status must_number(const struct source *s, const char *key, double fallback,
                                     double wanted)
{
    struct json_object *value = find(s, key);
    double found = fallback;
    char text[32];
    if (value && !get_number(value, &found)) found = NAN;
    snprintf(text, sizeof text, "%g", wanted);
    SHOAL_CHECK(found == wanted, SHOAL_EFORMAT, DIFFERENT, s->path, key,
                value ? json_object_get_string(value) : "not given", text);
    return SHOAL_OK;
}

static enum shoal_status must_text(const struct source *s, const char *key, const char *wanted,
                                   const char *or_else)
{
    struct json_object *value = find(s, key);
    const char *text = json_text_of(value);
    SHOAL_CHECK(!value || (text && (strcmp(text, wanted) == 0 || strcmp(text, or_else) == 0)),
                SHOAL_EFORMAT, DIFFERENT, s->path, key, json_object_get_string(value), wanted);
    return SHOAL_OK;
}

static enum shoal_status must_bool(const struct source *s, const char *key, bool wanted)
{
    struct json_object *value = find(s, key);
    const bool is = json_object_is_type(value, json_type_boolean) &&
                    (bool)json_object_get_boolean(value) == wanted;
    SHOAL_CHECK(!value || is, SHOAL_EFORMAT, DIFFERENT, s->path, key, json_object_get_string(value),
                wanted ? "true" : "false");
    return SHOAL_OK;
}

static enum shoal_status get_gpt2(const struct source *s, struct foreign_model *m)
{
    int ffn = 0;
    m->arch = ARCH_GPT2;
    SHOAL_TRY(get_size(s, "n_layer", 0, &m->layers));
    SHOAL_TRY(get_size(s, "n_head", 0, &m->heads));
    SHOAL_TRY(get_size(s, "n_embd", 0, &m->width));
    SHOAL_TRY(get_size(s, "n_positions", 0, &m->context));
    if (find(s, "n_inner")) SHOAL_TRY(get_size(s, "n_inner", 0, &ffn));
    m->ffn = ffn; /* 0: as we have it too */
    SHOAL_TRY(must_text(s, "activation_function", "gelu_new", "gelu_pytorch_tanh"));
    SHOAL_TRY(must_number(s, "layer_norm_epsilon", norm_eps, norm_eps));
    SHOAL_TRY(must_bool(s, "scale_attn_weights", true));
    SHOAL_TRY(must_bool(s, "scale_attn_by_inverse_layer_idx", false));
    SHOAL_TRY(must_bool(s, "add_cross_attention", false));
    SHOAL_TRY(must_bool(s, "tie_word_embeddings", true));
    m->tied = true;
    return SHOAL_OK;
}

/* The base of the rotary positions: once beside everything else, today in an object of its own. */
static enum shoal_status get_rope(const struct source *s, struct foreign_model *m)
{
    static const char *const places[] = {"rope_parameters", "rope_scaling"};
    struct json_object *theta = find(s, "rope_theta");
    for (int i = 0; i < 2; i++) {
        struct json_object *rope = find(s, places[i]);
        if (!rope) continue;
        char place[SHOAL_MAX_PATH];
        SHOAL_TRY(path_format(place, "%s: %s", s->path, places[i]));
        const struct source inner = {place, rope};
        SHOAL_CHECK(json_object_is_type(rope, json_type_object), SHOAL_EFORMAT,
                    "%s: %s is not an object", s->path, places[i]);
        SHOAL_TRY(must_text(&inner, "rope_type", "default", "default"));
        SHOAL_TRY(must_text(&inner, "type", "default", "default"));
        SHOAL_TRY(must_number(&inner, "partial_rotary_factor", 1, 1));
        if (!theta) theta = find(&inner, "rope_theta");
    }
    m->rope_theta = 10000;
    SHOAL_CHECK(!theta || get_number(theta, &m->rope_theta), SHOAL_EFORMAT,
                "%s: rope_theta is not a number", s->path);
    return SHOAL_OK;
}

static enum shoal_status get_llama(const struct source *s, struct foreign_model *m)
{
    int head = 0;
    m->arch = ARCH_LLAMA;
    SHOAL_TRY(get_size(s, "num_hidden_layers", 0, &m->layers));
    SHOAL_TRY(get_size(s, "num_attention_heads", 0, &m->heads));
    SHOAL_TRY(get_size(s, "num_key_value_heads", m->heads, &m->kv_heads));
    SHOAL_TRY(get_size(s, "hidden_size", 0, &m->width));
    SHOAL_TRY(get_size(s, "intermediate_size", 0, &m->ffn));
    SHOAL_TRY(get_size(s, "max_position_embeddings", 0, &m->context));
    SHOAL_TRY(get_size(s, "head_dim", m->width / m->heads + (m->width < m->heads), &head));
    SHOAL_CHECK((int64_t)head * m->heads == m->width, SHOAL_EFORMAT,
                "%s: head_dim: %d heads of %d numbers are not hidden_size %d, as they are in "
                "shoal's models: "
                "this model cannot be imported",
                s->path, m->heads, head, m->width);
    SHOAL_TRY(must_text(s, "hidden_act", "silu", "swish"));
    SHOAL_TRY(must_number(s, "rms_norm_eps", 1e-6, norm_eps));
    SHOAL_TRY(must_bool(s, "attention_bias", false));
    SHOAL_TRY(must_bool(s, "mlp_bias", false));
    struct json_object *tied = find(s, "tie_word_embeddings");
    SHOAL_CHECK(!tied || json_object_is_type(tied, json_type_boolean), SHOAL_EFORMAT,
                "%s: tie_word_embeddings is neither true nor false", s->path);
    m->tied = json_object_get_boolean(tied);
    return get_rope(s, m);
}

/* What an export of ours says; "none" of others. */
static const char *tokenizer_of(const struct source *s, int vocab)
{
    const char *name = json_text_of(find(s, HF_TOKENIZER_KEY));
    if (name && strcmp(name, "bytes") == 0 && vocab >= 256) return "bytes";
    if (name && strcmp(name, "gpt2") == 0 && vocab > 256) return "gpt2";
    return "none";
}

static enum shoal_status get_model(const struct source *s, struct foreign_model *m)
{
    const char *type = json_text_of(find(s, "model_type"));
    *m = (struct foreign_model){.layers = 0};
    SHOAL_CHECK(type, SHOAL_EFORMAT, "%s: has no model_type; is it the config.json of a model?",
                s->path);
    SHOAL_TRY(get_size(s, "vocab_size", 0, &m->vocab));
    m->tokenizer = tokenizer_of(s, m->vocab);
    if (strcmp(type, "gpt2") == 0) return get_gpt2(s, m);
    if (strcmp(type, "llama") == 0) return get_llama(s, m);
    return SHOAL_FAIL(SHOAL_EFORMAT,
                      "%s: model_type is '%.40s'; models of type gpt2 and llama can be imported",
                      s->path, type);
}

enum shoal_status hf_config_read(const char *path, struct config *out)
{
    struct source s = {path, NULL};
    struct foreign_model m;
    enum shoal_status st;
    SHOAL_CHECK(path_exists(path), SHOAL_EIO,
                "'%s' is missing: the sizes of a model are in config.json, beside its tensors",
                path);
    SHOAL_GOTO(json_read(path, "a config.json", "that describes a model", &s.root));
    SHOAL_GOTO(get_model(&s, &m));
    SHOAL_GOTO(foreign_config_make(out, path, &m));
done:
    json_object_put(s.root);
    return st;
}
