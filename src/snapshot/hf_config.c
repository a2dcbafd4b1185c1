/* hf_config.c - writing; what is read is in hf_config_read.c. */
#include "snapshot/hf_config.h"

#include <math.h>
#include "base/json.h"

static const double norm_eps = 1e-5; /* of src/model */
static const double init_range = 0.02;

static void write_gpt2(struct json *j, const struct gpt_shape *s)
{
    json_int(j, "n_layer", s->layers);
    json_int(j, "n_head", s->heads);
    json_int(j, "n_embd", s->width);
    json_int(j, "n_inner", s->ffn);
    json_int(j, "n_positions", s->context);
    json_int(j, "n_ctx", s->context);
    json_string(j, "activation_function", "gelu_new");
    json_number(j, "layer_norm_epsilon", norm_eps);
    json_number(j, "resid_pdrop", 0);
    json_number(j, "embd_pdrop", 0);
    json_number(j, "attn_pdrop", 0);
}

static void write_llama(struct json *j, const struct gpt_shape *s)
{
    json_int(j, "num_hidden_layers", s->layers);
    json_int(j, "num_attention_heads", s->heads);
    json_int(j, "num_key_value_heads", s->kv_heads);
    json_int(j, "head_dim", s->width / s->heads);
    json_int(j, "hidden_size", s->width);
    json_int(j, "intermediate_size", s->ffn);
    json_int(j, "max_position_embeddings", s->context);
    json_string(j, "hidden_act", "silu");
    json_number(j, "rms_norm_eps", norm_eps);
    json_number(j, "rope_theta", (double)s->rope_theta);
    json_bool(j, "attention_bias", false);
    json_bool(j, "mlp_bias", false);
}

/* null where it is not known: the default of a reader may be outside the vocabulary. */
static void write_token(struct json *j, const char *key, int token)
{
    if (token >= 0)
        json_int(j, key, token);
    else
        json_number(j, key, NAN);
}

enum shoal_status hf_config_write(const char *path, const struct gpt_shape *s, enum number type,
                                  const struct export_text *text)
{
    const bool llama = s->arch == ARCH_LLAMA;
    struct json j;
    json_begin(&j);
    json_open(&j, "architectures", '[');
    json_string(&j, NULL, llama ? "LlamaForCausalLM" : "GPT2LMHeadModel");
    json_close(&j, ']');
    json_string(&j, "model_type", llama ? "llama" : "gpt2");
    json_int(&j, "vocab_size", s->vocab);
    if (llama)
        write_llama(&j, s);
    else
        write_gpt2(&j, s);
    json_bool(&j, "tie_word_embeddings", s->tied);
    json_number(&j, "initializer_range", init_range);
    json_string(&j, "torch_dtype", type == NUMBER_F32 ? "float32" : "bfloat16");
    write_token(&j, "bos_token_id", text->end_of_text);
    write_token(&j, "eos_token_id", text->end_of_text);
    json_string(&j, HF_TOKENIZER_KEY, text->tokenizer);
    return json_save(&j, path);
}
