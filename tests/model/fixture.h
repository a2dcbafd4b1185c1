/* fixture.h - a small expert with weights far from their initial values, and a batch for it. */
#pragma once
#include "model/expert.h"
#include "model/gpt.h"

struct fixture {
    struct device *dev;
    struct param_table *table;
    struct expert *expert;
    int batch, context;
    int32_t *tokens, *targets; /* (batch, context); every fifth target is -1 */
};

/* Shapes without context; vocab is padded to a multiple of 16. */
struct gpt_shape fixture_gpt2(int layers, int heads, int width, int vocab);
struct gpt_shape fixture_llama(int layers, int heads, int kv_heads, int width, int ffn, int vocab,
                               bool tied);
/* A shape with room for a few positions more than the batch has. Fails the test when anything goes
 * wrong. */
void fixture_open_shape(struct fixture *f, struct gpt_shape shape, int batch, int context);
/* The same with a GPT-2. */
void fixture_open(struct fixture *f, int layers, int heads, int width, int vocab, int batch,
                  int context);
void fixture_close(struct fixture *f);
/* A model over the whole batch with the fixture's weights loaded. */
struct gpt *fixture_gpt(const struct fixture *f, enum precision precision, bool learns);
/* The same, set up by hand. */
struct gpt *fixture_gpt_setup(const struct fixture *f, struct gpt_setup setup);
/* Fail the test with the recorded cause unless st is SHOAL_OK. */
void require_ok(enum shoal_status st);
/* |a - b| / |b|, Euclidean. */
double relative_distance(const float *a, const float *b, int64_t n);
