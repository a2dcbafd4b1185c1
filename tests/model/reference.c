/* reference.c - written from the paper, not from src/model: plain loops over one sequence. */
#include "model/reference.h"

#include <math.h>
#include <stdlib.h>

struct reference {
    const struct param_table *table;
    const double *weights;
    int context;
    double *x;      /* (T, C) residual stream */
    double *normed; /* (T, C) */
    double *qkv;    /* (T, 3C) */
    double *mixed;  /* (T, C) what the heads read */
    double *hidden; /* (4C) */
    double *score;  /* (T) */
    double *logits; /* (V) */
};

static const double *weight(const struct reference *r, enum param which, int layer)
{
    return r->weights + param_get(r->table, which, layer)->offset;
}

/* out (n_out) = w (n_out, n_in) . in + bias */
static void linear(double *out, const double *in, const double *w, const double *bias, int n_out,
                   int n_in)
{
    for (int o = 0; o < n_out; o++) {
        out[o] = bias ? bias[o] : 0.0;
        for (int i = 0; i < n_in; i++)
            out[o] += w[o * n_in + i] * in[i];
    }
}

static void norm(double *out, const double *x, const double *gain, const double *bias, int n)
{
    double mean = 0.0, variance = 0.0;
    for (int i = 0; i < n; i++)
        mean += x[i] / n;
    for (int i = 0; i < n; i++)
        variance += (x[i] - mean) * (x[i] - mean) / n;
    for (int i = 0; i < n; i++)
        out[i] = (x[i] - mean) / sqrt(variance + 1e-5) * gain[i] + bias[i];
}

static void softmax(double *x, int n)
{
    double max = x[0], sum = 0.0;
    for (int i = 1; i < n; i++)
        max = fmax(max, x[i]);
    for (int i = 0; i < n; i++)
        sum += x[i] = exp(x[i] - max);
    for (int i = 0; i < n; i++)
        x[i] /= sum;
}

/* What head h reads at position t from positions 0 .. t. */
static void attend(struct reference *r, int t, int h)
{
    const int C = r->table->shape.width, size = C / r->table->shape.heads;
    const double *q = r->qkv + t * 3 * C + h * size;
    for (int s = 0; s <= t; s++) {
        const double *k = r->qkv + s * 3 * C + C + h * size;
        r->score[s] = 0.0;
        for (int i = 0; i < size; i++)
            r->score[s] += q[i] * k[i] / sqrt(size);
    }
    softmax(r->score, t + 1);
    for (int i = 0; i < size; i++) {
        double *out = &r->mixed[t * C + h * size + i];
        *out = 0.0;
        for (int s = 0; s <= t; s++)
            *out += r->score[s] * r->qkv[s * 3 * C + 2 * C + h * size + i];
    }
}

static void attention(struct reference *r, int l)
{
    const int C = r->table->shape.width;
    for (int t = 0; t < r->context; t++) {
        norm(r->normed, r->x + t * C, weight(r, PARAM_LN1_G, l), weight(r, PARAM_LN1_B, l), C);
        linear(r->qkv + t * 3 * C, r->normed, weight(r, PARAM_QKV_W, l), weight(r, PARAM_QKV_B, l),
               3 * C, C);
    }
    for (int t = 0; t < r->context; t++) {
        for (int h = 0; h < r->table->shape.heads; h++)
            attend(r, t, h);
        linear(r->hidden, r->mixed + t * C, weight(r, PARAM_PROJ_W, l), weight(r, PARAM_PROJ_B, l),
               C, C);
        for (int i = 0; i < C; i++)
            r->x[t * C + i] += r->hidden[i];
    }
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

static void feed_forward(struct reference *r, int l)
{
    const int C = r->table->shape.width;
    for (int t = 0; t < r->context; t++) {
        double *x = r->x + t * C;
        norm(r->normed, x, weight(r, PARAM_LN2_G, l), weight(r, PARAM_LN2_B, l), C);
        linear(r->hidden, r->normed, weight(r, PARAM_FC_W, l), weight(r, PARAM_FC_B, l), 4 * C, C);
        for (int i = 0; i < 4 * C; i++)
            r->hidden[i] = gelu(r->hidden[i]);
        linear(r->normed, r->hidden, weight(r, PARAM_FCPROJ_W, l), weight(r, PARAM_FCPROJ_B, l), C,
               4 * C);
        for (int i = 0; i < C; i++)
            x[i] += r->normed[i];
    }
}

/* Loss of one sequence, summed over its targets. */
static double sequence_loss(struct reference *r, const int32_t *tokens, const int32_t *targets,
                            double *logits)
{
    const int C = r->table->shape.width, V = r->table->shape.vocab;
    const double *wte = weight(r, PARAM_WTE, 0), *wpe = weight(r, PARAM_WPE, 0);
    double loss = 0.0;
    for (int t = 0; t < r->context; t++)
        for (int i = 0; i < C; i++)
            r->x[t * C + i] = wte[tokens[t] * C + i] + wpe[t * C + i];
    for (int l = 0; l < r->table->shape.layers; l++) {
        attention(r, l);
        feed_forward(r, l);
    }
    for (int t = 0; t < r->context; t++) {
        norm(r->normed, r->x + t * C, weight(r, PARAM_LNF_G, 0), weight(r, PARAM_LNF_B, 0), C);
        linear(r->logits, r->normed, wte, NULL, V, C);
        for (int v = 0; logits && v < V; v++)
            logits[t * V + v] = r->logits[v];
        softmax(r->logits, V);
        if (targets[t] >= 0) loss -= log(r->logits[targets[t]]);
    }
    return loss;
}

double reference_loss(const struct param_table *table, const double *weights, const int32_t *tokens,
                      const int32_t *targets, int batch, int context, double *logits)
{
    const int C = table->shape.width, V = table->shape.vocab;
    const size_t n = (size_t)context * (size_t)C * 6 + (size_t)C * 5 + (size_t)(context + V);
    double *memory = malloc(n * sizeof *memory), loss = 0.0;
    int counted = 0;
    if (!memory) return NAN;
    struct reference r = {.table = table, .weights = weights, .context = context, .x = memory};
    r.qkv = r.x + context * C;
    r.mixed = r.qkv + context * 3 * C;
    r.normed = r.mixed + context * C;
    r.hidden = r.normed + C;
    r.score = r.hidden + 4 * C;
    r.logits = r.score + context;
    for (int b = 0; b < batch; b++)
        loss += sequence_loss(&r, tokens + b * context, targets + b * context,
                              logits ? logits + (size_t)b * (size_t)context * (size_t)V : NULL);
    for (int i = 0; i < batch * context; i++)
        counted += targets[i] >= 0;
    free(memory);
    return loss / counted;
}
