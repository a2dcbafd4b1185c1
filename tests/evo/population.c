#include "evo/population.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>
#include "base/memory.h"

/* A generator of its own (xorshift), so that the tests do not lean on the numbers they test. */
static float draw(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    const float u = (float)(*s >> 40) / 16777216.0f - 0.5f;
    return *s % 97 == 0 ? -0.0f : u;
}

size_t population_bytes(const struct population *p)
{
    return (size_t)p->table->n_params * sizeof(float);
}

static void fill(const struct population *p, float *slab, uint64_t seed, bool positive)
{
    uint64_t s = seed * 0x9E3779B97F4A7C15u + 1;
    for (int i = 0; i < p->table->n_tensors; i++) {
        const struct param_tensor *t = &p->table->tensor[i];
        for (int64_t j = 0; j < t->real_rows * t->cols; j++) {
            const float x = draw(&s);
            slab[t->offset + j] = positive ? fabsf(x) : x;
        }
    }
}

static float *copy_of(const struct population *p, const float *slab)
{
    float *copy;
    assert_int_equal(mem_alloc(population_bytes(p), "a test's slab", &copy), SHOAL_OK);
    if (slab) memcpy(copy, slab, population_bytes(p));
    return copy;
}

void population_make(struct population *p, int number, int threads)
{
    const struct gpt_shape shape = {.layers = 2,
                                    .heads = 2,
                                    .width = 48,
                                    .context = 10,
                                    .vocab = 100,
                                    .vocab_pad = 128,
                                    .kv_heads = 2,
                                    .ffn = 192,
                                    .tied = true};
    memset(p, 0, sizeof *p);
    assert_int_equal(device_open("cpu", 0, threads, &p->dev), SHOAL_OK);
    assert_int_equal(param_table_create(&shape, &p->table), SHOAL_OK);
    assert_int_equal(expert_create(p->dev, p->table, number, true, true, &p->e), SHOAL_OK);
    fill(p, p->e->weights, 1, false);
    fill(p, p->e->adam_m, 2, false);
    fill(p, p->e->adam_v, 3, true);
    fill(p, p->e->velocity, 4, false);
    fill(p, p->e->own_best, 5, false);
    p->e->own_best_fitness = 2.0;
    p->e->step = 100;
    p->weights = copy_of(p, p->e->weights);
    p->m = copy_of(p, p->e->adam_m);
    p->v = copy_of(p, p->e->adam_v);
    p->velocity = copy_of(p, p->e->velocity);
    p->own_best = copy_of(p, p->e->own_best);
    p->attractor = copy_of(p, NULL);
    p->attractor_m = copy_of(p, NULL);
    p->attractor_v = copy_of(p, NULL);
    fill(p, p->attractor, 6, false);
    fill(p, p->attractor_m, 7, false);
    fill(p, p->attractor_v, 8, true);
    p->rule = (struct evo_rule){.attractor = ATTRACT_BEST,
                                .tensors = SCOPE_ALL,
                                .draw = DRAW_CONSTANT,
                                .law = LAW_UNIFORM,
                                .crossover_by = DRAW_ELEMENT,
                                .moments = MOMENTS_KEEP};
    p->args = (struct evolve_args){.rule = &p->rule,
                                   .group = GROUP_BODY,
                                   .end = p->table->n_params,
                                   .attractor = p->attractor,
                                   .attractor_m = p->attractor_m,
                                   .attractor_v = p->attractor_v,
                                   .seed = 11,
                                   .round = 3,
                                   .lr = 0.01f,
                                   .beta1 = 0.9f,
                                   .beta2 = 0.95f,
                                   .eps = 1e-8f};
}

void population_free(struct population *p)
{
    float *copies[] = {p->weights,  p->m,         p->v,           p->velocity,
                       p->own_best, p->attractor, p->attractor_m, p->attractor_v};
    for (size_t i = 0; i < sizeof copies / sizeof copies[0]; i++)
        mem_free(copies[i]);
    expert_destroy(&p->e);
    param_table_destroy(&p->table);
    device_close(&p->dev);
}

void population_evolve(struct population *p)
{
    const enum param_group groups[] = {GROUP_BODY, GROUP_IO};
    for (int g = 0; g < 2; g++) {
        p->args.group = groups[g];
        assert_int_equal(evolve_group(p->e, &p->args), SHOAL_OK);
    }
}
