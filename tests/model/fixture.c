#include "model/fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "base/memory.h"

enum { WEIGHTS = 1, TOKENS = 2, TABLE_ROOM = 3 };

void require_ok(enum shoal_status st)
{
    if (st != SHOAL_OK) fail_msg("%s\n%s", shoal_failure_text(), shoal_failure_trace());
}

/* Large enough that attention is far from uniform and every term of a gradient matters. */
static void fill_weights(const struct fixture *f)
{
    for (int i = 0; i < f->table->n_tensors; i++) {
        const struct param_tensor *t = &f->table->tensor[i];
        const struct rng_key key = {.seed = WEIGHTS, .stream = RNG_INIT, .tensor = (uint32_t)i};
        const float scale = t->matrix ? 1.2f / sqrtf((float)t->cols) : 0.2f;
        for (int64_t j = 0; j < t->real_rows * t->cols; j++)
            f->expert->weights[t->offset + j] = (t->init == PARAM_ONE ? 1.0f : 0.0f) +
                                                scale * rng_to_normal(rng_bits(key, (uint64_t)j));
    }
}

static void fill_batch(const struct fixture *f)
{
    const struct rng_key key = {.seed = TOKENS, .stream = RNG_DATA};
    for (int b = 0; b < f->batch; b++)
        for (int t = 0; t < f->context; t++) {
            const int i = b * f->context + t;
            const uint32_t vocab = (uint32_t)f->table->shape.vocab;
            f->tokens[i] = (int32_t)(rng_bits(key, 2 * (uint64_t)i) % vocab);
            f->targets[i] = t % 5 == 3 ? -1 : (int32_t)(rng_bits(key, 2 * (uint64_t)i + 1) % vocab);
        }
}

struct gpt_shape fixture_gpt2(int layers, int heads, int width, int vocab)
{
    return (struct gpt_shape){.layers = layers,
                              .heads = heads,
                              .width = width,
                              .vocab = vocab,
                              .vocab_pad = (vocab + 15) / 16 * 16,
                              .arch = ARCH_GPT2,
                              .kv_heads = heads,
                              .ffn = 4 * width,
                              .tied = true};
}

struct gpt_shape fixture_llama(int layers, int heads, int kv_heads, int width, int ffn, int vocab,
                               bool tied)
{
    struct gpt_shape s = fixture_gpt2(layers, heads, width, vocab);
    s.arch = ARCH_LLAMA;
    s.kv_heads = kv_heads;
    s.ffn = ffn;
    s.tied = tied;
    s.rope_theta = 1000.0f;
    return s;
}

void fixture_open_shape(struct fixture *f, struct gpt_shape shape, int batch, int context)
{
    const size_t n = (size_t)batch * (size_t)context;
    shape.context = context + TABLE_ROOM;
    *f = (struct fixture){.batch = batch, .context = context};
    require_ok(device_open("cpu", 0, 1, &f->dev));
    assert_true(device_is_host(f->dev));
    require_ok(param_table_create(&shape, &f->table));
    require_ok(expert_create(f->dev, f->table, 0, false, false, &f->expert));
    require_ok(mem_alloc(n * sizeof *f->tokens, "tokens", &f->tokens));
    require_ok(mem_alloc(n * sizeof *f->targets, "targets", &f->targets));
    fill_weights(f);
    fill_batch(f);
}

void fixture_open(struct fixture *f, int layers, int heads, int width, int vocab, int batch,
                  int context)
{
    fixture_open_shape(f, fixture_gpt2(layers, heads, width, vocab), batch, context);
}

void fixture_close(struct fixture *f)
{
    mem_free(f->tokens);
    mem_free(f->targets);
    expert_destroy(&f->expert);
    param_table_destroy(&f->table);
    device_close(&f->dev);
}

struct gpt *fixture_gpt_setup(const struct fixture *f, struct gpt_setup setup)
{
    struct gpt *g = NULL;
    require_ok(gpt_create(f->dev, f->table, setup, &g));
    require_ok(gpt_load(g, f->expert->weights));
    return g;
}

struct gpt *fixture_gpt(const struct fixture *f, enum precision precision, bool learns)
{
    const struct gpt_setup setup = {
        .batch = f->batch, .context = f->context, .precision = precision, .learns = learns};
    return fixture_gpt_setup(f, setup);
}

double relative_distance(const float *a, const float *b, int64_t n)
{
    double distance = 0.0, size = 0.0;
    for (int64_t i = 0; i < n; i++) {
        distance += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return sqrt(distance / size);
}
