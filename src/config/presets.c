/* presets.c - a preset is nothing but a list of option values; what it does not name keeps its
 * default. Anything set by hand comes after it and wins. */
#include <string.h>
#include "config/assignments.h"

struct preset {
    const char *key, *name; /* "model.preset", "gpt2" */
    struct {
        const char *key, *value;
    } set[24]; /* ends at a NULL key */
};

#define GPT2_SIZE(preset_name, layer_count, channels, head_count)                                  \
    {                                                                                              \
        "model.preset", preset_name,                                                               \
        {                                                                                          \
            {"model.layers", layer_count}, {"model.width", channels}, {"model.heads", head_count}, \
                {"model.context", "1024"},                                                         \
            {                                                                                      \
                "model.vocab", "50257"                                                             \
            }                                                                                      \
        }                                                                                          \
    }

/* Released models of the Llama architecture; sizes from their config.json. */
#define LLAMA_SIZE(preset_name, layer_count, channels, head_count, kv_count, hidden, tokens,       \
                   is_tied)                                                                        \
    {                                                                                              \
        "model.preset", preset_name,                                                               \
        {                                                                                          \
            {"model.arch", "llama"}, {"model.layers", layer_count}, {"model.width", channels},     \
                {"model.heads", head_count}, {"model.kv_heads", kv_count}, {"model.ffn", hidden},  \
                {"model.context", "2048"}, {"model.vocab", tokens},                                \
            {                                                                                      \
                "model.tied", is_tied                                                              \
            }                                                                                      \
        }                                                                                          \
    }

static const struct preset presets[] = {
    /* Radford et al. 2019, table 2, with the head counts of the released models. */
    GPT2_SIZE("gpt2", "12", "768", "12"),
    GPT2_SIZE("gpt2-medium", "24", "1024", "16"),
    GPT2_SIZE("gpt2-large", "36", "1280", "20"),
    GPT2_SIZE("gpt2-xl", "48", "1600", "25"),

    /* SmolLM (2024) and TinyLlama (Zhang et al. 2024). */
    LLAMA_SIZE("smollm-135m", "30", "576", "9", "3", "1536", "49152", "true"),
    LLAMA_SIZE("tinyllama", "22", "2048", "32", "4", "5632", "32000", "false"),

    /* Independent experts; the best is kept. */
    {"evolution.preset",
     "none",
     {{"evolution.recombine", "false"},
      {"evolution.body.attractor", "none"},
      {"evolution.io.attractor", "none"}}},

    /* The recombinant competes; every expert takes a full step to the best member. */
    {"evolution.preset",
     "shoal",
     {{"evolution.recombine", "true"},
      {"evolution.body.attractor", "best"},
      {"evolution.body.social", "1"},
      {"evolution.io.attractor", "best"},
      {"evolution.io.social", "1"}}},

    /* The paper: matrices of the blocks swarm to the best expert, cross over with it and mutate;
     * embedding and head are shared. */
    {"evolution.preset",
     "eoe",
     {{"evolution.recombine", "false"},
      {"evolution.body.attractor", "best"},
      {"evolution.body.tensors", "matrices"},
      {"evolution.body.inertia", "0"},
      {"evolution.body.social", "2"},
      {"evolution.body.draw", "element"},
      {"evolution.body.law", "koifish"},
      {"evolution.body.crossover", "0.6"},
      {"evolution.body.crossover_by", "element"},
      {"evolution.body.mutation", "0.001"},
      {"evolution.body.mutation_scale", "1"},
      {"evolution.io.attractor", "mean"},
      {"evolution.io.social", "1"},
      {"evolution.io.draw", "constant"}}},

    /* What the published code does: follow the expert trained last, and never mutate. */
    {"evolution.preset",
     "koifish",
     {{"evolution.recombine", "false"},
      {"evolution.body.attractor", "last"},
      {"evolution.body.tensors", "matrices"},
      {"evolution.body.social", "2"},
      {"evolution.body.draw", "element"},
      {"evolution.body.law", "koifish"},
      {"evolution.body.crossover", "0.6"},
      {"evolution.body.crossover_by", "element"},
      {"evolution.body.moments", "keep"},
      {"evolution.io.attractor", "mean"},
      {"evolution.io.social", "1"},
      {"evolution.io.draw", "constant"}}},

    /* Population based training (Jaderberg et al. 2017), with truncation selection: after each
     * judging the worst quarter becomes copies of experts of the best quarter. */
    {"evolution.preset",
     "copy",
     {{"evolution.recombine", "false"},
      {"evolution.every", "100"},
      {"evolution.judge", "100"},
      {"evolution.top", "0.25"},
      {"evolution.inherit_lr", "true"},
      {"evolution.perturb_lr", "1.2"},
      {"evolution.body.attractor", "top"},
      {"evolution.body.social", "1"},
      {"evolution.body.moments", "inherit"},
      {"evolution.io.attractor", "top"},
      {"evolution.io.social", "1"},
      {"evolution.io.moments", "inherit"}}},

    /* LBANN's tournament (Jacobs et al. 2017): after each judging random pairs meet, and the loser
     * takes the winner's weights. */
    {"evolution.preset",
     "tournament",
     {{"evolution.recombine", "false"},
      {"evolution.every", "100"},
      {"evolution.judge", "100"},
      {"evolution.body.attractor", "pair"},
      {"evolution.body.social", "1"},
      {"evolution.io.attractor", "pair"},
      {"evolution.io.social", "1"}}},

    /* DiLoCo (Douillard et al. 2023): all experts restart from the mean, a Nesterov step beyond. */
    {"evolution.preset",
     "diloco",
     {{"evolution.recombine", "true"},
      {"evolution.every", "50"},
      {"evolution.outer.lr", "0.7"},
      {"evolution.outer.momentum", "0.9"},
      {"evolution.body.attractor", "mean"},
      {"evolution.body.social", "1"},
      {"evolution.io.attractor", "mean"},
      {"evolution.io.social", "1"}}},
};

enum shoal_status preset_apply(struct config *c, const char *key, const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        const struct preset *p = &presets[i];
        if (strcmp(p->key, key) != 0 || strcmp(p->name, name) != 0) continue;
        for (int j = 0; p->set[j].key; j++) {
            const struct option *o = option_find(p->set[j].key);
            SHOAL_ASSERT(o);
            SHOAL_TRY(option_set(c, o, p->set[j].value));
        }
    }
    return SHOAL_OK;
}
