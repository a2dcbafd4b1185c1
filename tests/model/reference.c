/* reference.c - written from the papers, not from src/model: plain loops over one sequence. */
#include "model/reference.h"

#include <math.h>
#include <stdlib.h>

struct reference {
    const struct param_table *table;
    const double *weights;
    int context;
    int size;                /* of a head */
    int kv;                  /* numbers of all heads of keys, and of values */
    double *x;               /* (T, C) residual stream */
    double *query;           /* (T, C) */
    double *key, *value;     /* (T, KV) */
    double *mixed;           /* (T, C) what the heads read */
    double *normed, *branch; /* (C) */
    double *hidden, *up;     /* (F) */
    double *qkv;             /* (C + 2 KV) */
    double *score;           /* (T) */
    double *logits;          /* (V) */
};

static const double *weight(const struct reference *r, enum param which, int layer)
{
    const struct param_tensor *t = param_find(r->table, which, layer);
    return t ? r->weights + t->offset : NULL;
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

/* Layer norm; without a bias RMSNorm. */
static void norm(double *out, const double *x, const double *gain, const double *bias, int n)
{
    double mean = 0.0, variance = 0.0;
    for (int i = 0; bias && i < n; i++)
        mean += x[i] / n;
    for (int i = 0; i < n; i++)
        variance += (x[i] - mean) * (x[i] - mean) / n;
    for (int i = 0; i < n; i++)
        out[i] = (x[i] - mean) / sqrt(variance + 1e-5) * gain[i] + (bias ? bias[i] : 0.0);
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

static bool is_llama(const struct reference *r)
{
    return r->table->shape.arch == ARCH_LLAMA;
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Turn one head's pairs (i, i + size / 2), each as a complex number, by t theta^(-2i / size). */
static void rotate(const struct reference *r, double *head, int t)
{
    const int half = r->size / 2;
    for (int i = 0; i < half; i++) {
        const double angle = t * pow((double)r->table->shape.rope_theta, -2.0 * i / r->size);
        const double a = head[i], b = head[i + half];
        head[i] = a * cos(angle) - b * sin(angle);
        head[i + half] = a * sin(angle) + b * cos(angle);
    }
}

/* Query, key and value of position t from r->normed. */
static void project(struct reference *r, int t, int l)
{
    const int C = r->table->shape.width, KV = r->kv;
    double *const query = r->query + t * C, *const key = r->key + t * KV;
    if (!is_llama(r)) {
        linear(r->qkv, r->normed, weight(r, PARAM_QKV_W, l), weight(r, PARAM_QKV_B, l), 3 * C, C);
        for (int i = 0; i < C; i++) {
            query[i] = r->qkv[i];
            key[i] = r->qkv[C + i];
            r->value[t * C + i] = r->qkv[2 * C + i];
        }
        return;
    }
    linear(query, r->normed, weight(r, PARAM_Q_W, l), NULL, C, C);
    linear(key, r->normed, weight(r, PARAM_K_W, l), NULL, KV, C);
    linear(r->value + t * KV, r->normed, weight(r, PARAM_V_W, l), NULL, KV, C);
    for (int h = 0; h < r->table->shape.heads; h++)
        rotate(r, query + h * r->size, t);
    for (int h = 0; h < r->table->shape.kv_heads; h++)
        rotate(r, key + h * r->size, t);
}

/* What head h reads at position t from positions 0 .. t. Neighbouring heads share keys. */
static void attend(struct reference *r, int t, int h)
{
    const int C = r->table->shape.width, KV = r->kv, size = r->size;
    const int sharing = r->table->shape.heads / r->table->shape.kv_heads;
    const double *q = r->query + t * C + h * size;
    double *out = r->mixed + t * C + h * size;
    for (int s = 0; s <= t; s++) {
        r->score[s] = 0.0;
        for (int i = 0; i < size; i++)
            r->score[s] += q[i] * r->key[s * KV + h / sharing * size + i] / sqrt(size);
    }
    softmax(r->score, t + 1);
    for (int i = 0; i < size; i++) {
        out[i] = 0.0;
        for (int s = 0; s <= t; s++)
            out[i] += r->score[s] * r->value[s * KV + h / sharing * size + i];
    }
}

static void attention(struct reference *r, int l)
{
    const int C = r->table->shape.width;
    for (int t = 0; t < r->context; t++) {
        norm(r->normed, r->x + t * C, weight(r, PARAM_LN1_G, l), weight(r, PARAM_LN1_B, l), C);
        project(r, t, l);
    }
    for (int t = 0; t < r->context; t++) {
        for (int h = 0; h < r->table->shape.heads; h++)
            attend(r, t, h);
        linear(r->branch, r->mixed + t * C, weight(r, PARAM_PROJ_W, l), weight(r, PARAM_PROJ_B, l),
               C, C);
        for (int i = 0; i < C; i++)
            r->x[t * C + i] += r->branch[i];
    }
}

/* ---- the rest -------------------------------------------------------------------------------- */

static double gelu(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

static void feed_forward(struct reference *r, int l)
{
    const int C = r->table->shape.width, F = r->table->shape.ffn;
    for (int t = 0; t < r->context; t++) {
        double *x = r->x + t * C;
        norm(r->normed, x, weight(r, PARAM_LN2_G, l), weight(r, PARAM_LN2_B, l), C);
        if (is_llama(r)) {
            linear(r->hidden, r->normed, weight(r, PARAM_GATE_W, l), NULL, F, C);
            linear(r->up, r->normed, weight(r, PARAM_UP_W, l), NULL, F, C);
            for (int i = 0; i < F; i++)
                r->hidden[i] *= r->up[i] / (1.0 + exp(-r->hidden[i]));
        } else {
            linear(r->hidden, r->normed, weight(r, PARAM_FC_W, l), weight(r, PARAM_FC_B, l), F, C);
            for (int i = 0; i < F; i++)
                r->hidden[i] = gelu(r->hidden[i]);
        }
        linear(r->branch, r->hidden, weight(r, PARAM_FCPROJ_W, l), weight(r, PARAM_FCPROJ_B, l), C,
               F);
        for (int i = 0; i < C; i++)
            x[i] += r->branch[i];
    }
}

/* Loss of one sequence, summed over its targets. */
static double sequence_loss(struct reference *r, const int32_t *tokens, const int32_t *targets,
                            double *logits)
{
    const int C = r->table->shape.width, V = r->table->shape.vocab;
    const double *wte = weight(r, PARAM_WTE, 0), *wpe = weight(r, PARAM_WPE, 0);
    const double *head = r->table->shape.tied ? wte : weight(r, PARAM_HEAD, 0);
    double loss = 0.0;
    for (int t = 0; t < r->context; t++)
        for (int i = 0; i < C; i++)
            r->x[t * C + i] = wte[tokens[t] * C + i] + (wpe ? wpe[t * C + i] : 0.0);
    for (int l = 0; l < r->table->shape.layers; l++) {
        attention(r, l);
        feed_forward(r, l);
    }
    for (int t = 0; t < r->context; t++) {
        norm(r->normed, r->x + t * C, weight(r, PARAM_LNF_G, 0), weight(r, PARAM_LNF_B, 0), C);
        linear(r->logits, r->normed, head, NULL, V, C);
        for (int v = 0; logits && v < V; v++)
            logits[t * V + v] = r->logits[v];
        softmax(r->logits, V);
        if (targets[t] >= 0) loss -= log(r->logits[targets[t]]);
    }
    return loss;
}

/* Hand out n doubles from the front of *at. */
static double *take(double **at, int n)
{
    double *const taken = *at;
    *at += n;
    return taken;
}

double reference_loss(const struct param_table *table, const double *weights, const int32_t *tokens,
                      const int32_t *targets, int batch, int context, double *logits)
{
    const struct gpt_shape *s = &table->shape;
    const int C = s->width, V = s->vocab, T = context, F = s->ffn;
    const int size = C / s->heads, KV = s->kv_heads * size;
    double *const memory =
        malloc((size_t)(T * (3 * C + 2 * KV + 1) + 3 * C + 2 * KV + 2 * F + V) * sizeof *memory);
    double *at = memory, loss = 0.0;
    int counted = 0;
    if (!memory) return NAN;
    struct reference r = {
        .table = table, .weights = weights, .context = context, .size = size, .kv = KV};
    r.x = take(&at, T * C);
    r.query = take(&at, T * C);
    r.mixed = take(&at, T * C);
    r.key = take(&at, T * KV);
    r.value = take(&at, T * KV);
    r.score = take(&at, T);
    r.normed = take(&at, C);
    r.branch = take(&at, C);
    r.qkv = take(&at, C + 2 * KV);
    r.hidden = take(&at, F);
    r.up = take(&at, F);
    r.logits = take(&at, V);
    for (int b = 0; b < batch; b++)
        loss += sequence_loss(&r, tokens + b * T, targets + b * T,
                              logits ? logits + (size_t)b * (size_t)T * (size_t)V : NULL);
    for (int i = 0; i < batch * T; i++)
        counted += targets[i] >= 0;
    free(memory);
    return loss / counted;
}
