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

/* Fails the test when anything goes wrong. vocab is padded to a multiple of 16. */
void fixture_open(struct fixture *f, int layers, int heads, int width, int vocab, int batch,
                  int context);
void fixture_close(struct fixture *f);
/* A model over the whole batch with the fixture's weights loaded. */
struct gpt *fixture_gpt(const struct fixture *f, enum precision precision, bool learns);
/* Fail the test with the recorded cause unless st is SHOAL_OK. */
void require_ok(enum shoal_status st);
/* |a - b| / |b|, Euclidean. */
double relative_distance(const float *a, const float *b, int64_t n);
