/* merge_score.c - see merge.h. */
#include "base/memory.h"
#include "commands/merge.h"
#include "data/data.h"
#include "model/gpt.h"

enum { BATCH_TOKENS = 4096 };

struct merge_score {
    struct data *data;
    struct gpt *gpt;
    int batch, context;
    int64_t sequences;
    int32_t *tokens, *targets; /* (batch, context) */
};

enum shoal_status merge_score_open(struct merge *m, const struct merge_args *a)
{
    const struct gpt_shape *shape = &m->table->shape;
    struct merge_score *s = NULL;
    if (!a->data) return SHOAL_OK;
    SHOAL_TRY(mem_alloc(sizeof *s, "held-out text", &s));
    m->score = s;
    s->context = shape->context;
    SHOAL_TRY(data_open("--data", a->data, shape->context, shape->vocab, &s->data));
    s->sequences = data_windows(s->data);
    if (a->sequences > 0 && a->sequences < s->sequences) s->sequences = a->sequences;
    SHOAL_CHECK(s->sequences > 0, SHOAL_EARG, "--data: holds no window of %d tokens",
                shape->context);
    s->batch = BATCH_TOKENS / shape->context > 0 ? BATCH_TOKENS / shape->context : 1;
    if (s->batch > s->sequences) s->batch = (int)s->sequences;
    const size_t bytes = (size_t)s->batch * (size_t)s->context * sizeof *s->tokens;
    SHOAL_TRY(mem_alloc(bytes, "tokens", &s->tokens));
    SHOAL_TRY(mem_alloc(bytes, "targets", &s->targets));
    const struct gpt_setup setup = {
        .batch = s->batch, .context = s->context, .precision = PRECISION_F32};
    return gpt_create(m->dev, m->table, setup, &s->gpt);
}

enum shoal_status merge_measure(struct merge *m, float *weights, double *loss)
{
    struct merge_score *s = m->score;
    double sum = 0.0;
    SHOAL_TRY(gpt_load(s->gpt, weights));
    for (int64_t begin = 0; begin < s->sequences; begin += s->batch) {
        const int64_t left = s->sequences - begin;
        const int n = left < s->batch ? (int)left : s->batch;
        double part = 0.0;
        for (int i = 0; i < n; i++)
            SHOAL_TRY(data_window(s->data, begin + i, s->tokens + (size_t)i * (size_t)s->context,
                                  s->targets + (size_t)i * (size_t)s->context));
        SHOAL_TRY(gpt_judge(s->gpt, s->tokens, s->targets, n, &part));
        sum += part * n;
    }
    *loss = sum / (double)s->sequences;
    return SHOAL_OK;
}

void merge_score_close(struct merge *m)
{
    struct merge_score *s = m->score;
    if (!s) return;
    mem_free(s->tokens);
    mem_free(s->targets);
    gpt_destroy(&s->gpt);
    data_close(&s->data);
    mem_free(s);
    m->score = NULL;
}
