/* reference.c - see reference.h. */
#include "kernels/reference.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void ref_matmul(double *out, const double *x, const double *w, const double *bias, int64_t R,
                int64_t I, int64_t O)
{
    for (int64_t r = 0; r < R; r++)
        for (int64_t o = 0; o < O; o++) {
            double sum = bias ? bias[o] : 0.0;
            for (int64_t i = 0; i < I; i++)
                sum += x[r * I + i] * w[o * I + i];
            out[r * O + o] = sum;
        }
}

void ref_matmul_grad_x(double *dx, const double *dout, const double *w, int64_t R, int64_t I,
                       int64_t O)
{
    for (int64_t r = 0; r < R; r++)
        for (int64_t i = 0; i < I; i++) {
            double sum = 0.0;
            for (int64_t o = 0; o < O; o++)
                sum += dout[r * O + o] * w[o * I + i];
            dx[r * I + i] = sum;
        }
}

void ref_matmul_grad_w(double *dw, double *dbias, const double *dout, const double *x, int64_t R,
                       int64_t I, int64_t O)
{
    for (int64_t o = 0; o < O; o++) {
        dbias[o] = 0.0;
        for (int64_t r = 0; r < R; r++)
            dbias[o] += dout[r * O + o];
        for (int64_t i = 0; i < I; i++) {
            double sum = 0.0;
            for (int64_t r = 0; r < R; r++)
                sum += dout[r * O + o] * x[r * I + i];
            dw[o * I + i] = sum;
        }
    }
}

static void moments(const double *x, int64_t n, double eps, double *mean, double *rstd)
{
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += (x[i] - *mean) * (x[i] - *mean);
    *rstd = 1.0 / sqrt(squares / (double)n + eps);
}

void ref_layernorm(double *out, double *mean, double *rstd, const double *x, const double *gain,
                   const double *bias, int64_t R, int64_t C, double eps)
{
    for (int64_t r = 0; r < R; r++) {
        moments(x + r * C, C, eps, mean + r, rstd + r);
        for (int64_t c = 0; c < C; c++)
            out[r * C + c] = (x[r * C + c] - mean[r]) * rstd[r] * gain[c] + bias[c];
    }
}

void ref_layernorm_grad(double *dx, double *dgain, double *dbias, const double *dout,
                        const double *x, const double *gain, int64_t R, int64_t C, double eps)
{
    memset(dgain, 0, (size_t)C * sizeof *dgain);
    memset(dbias, 0, (size_t)C * sizeof *dbias);
    for (int64_t r = 0; r < R; r++) {
        double mean, rstd, avg_g = 0.0, avg_gh = 0.0;
        moments(x + r * C, C, eps, &mean, &rstd);
        for (int64_t c = 0; c < C; c++) {
            const double h = (x[r * C + c] - mean) * rstd, d = dout[r * C + c];
            avg_g += d * gain[c] / (double)C;
            avg_gh += d * gain[c] * h / (double)C;
            dgain[c] += d * h;
            dbias[c] += d;
        }
        for (int64_t c = 0; c < C; c++) {
            const double h = (x[r * C + c] - mean) * rstd;
            dx[r * C + c] = rstd * (dout[r * C + c] * gain[c] - avg_g - h * avg_gh);
        }
    }
}

void ref_gelu(double *out, const double *x, int64_t n)
{
    const double k = sqrt(2.0 / acos(-1.0));
    for (int64_t i = 0; i < n; i++)
        out[i] = 0.5 * x[i] * (1.0 + tanh(k * (x[i] + 0.044715 * pow(x[i], 3.0))));
}

void ref_gelu_grad(double *dx, const double *dout, const double *x, int64_t n)
{
    const double k = sqrt(2.0 / acos(-1.0));
    for (int64_t i = 0; i < n; i++) {
        const double t = tanh(k * (x[i] + 0.044715 * pow(x[i], 3.0)));
        const double dt = (1.0 - t * t) * k * (1.0 + 3.0 * 0.044715 * x[i] * x[i]);
        dx[i] = dout[i] * (0.5 * (1.0 + t) + 0.5 * x[i] * dt);
    }
}

/* Where the numbers of one head lie. */
struct head {
    int64_t T, C, HS;
    const double *q, *k, *v; /* rows are 3C apart */
};

static struct head head_of(const double *qkv, int64_t b, int64_t h, int64_t T, int64_t C,
                           int64_t NH)
{
    const int64_t HS = C / NH;
    const double *const q = qkv + b * T * 3 * C + h * HS;
    const struct head head = {T, C, HS, q, q + C, q + 2 * C};
    return head;
}

/* p[0..t] = softmax of the scores of position t; returns their log-sum-exp. */
static double probabilities(double *p, const struct head *h, int64_t t)
{
    double max = -INFINITY, sum = 0.0;
    for (int64_t s = 0; s <= t; s++) {
        p[s] = 0.0;
        for (int64_t d = 0; d < h->HS; d++)
            p[s] += h->q[t * 3 * h->C + d] * h->k[s * 3 * h->C + d] / sqrt((double)h->HS);
        max = fmax(max, p[s]);
    }
    for (int64_t s = 0; s <= t; s++)
        sum += exp(p[s] - max);
    for (int64_t s = 0; s <= t; s++)
        p[s] = exp(p[s] - max) / sum;
    return max + log(sum);
}

void ref_attention(double *out, double *stats, const double *qkv, int64_t B, int64_t T, int64_t C,
                   int64_t NH)
{
    double *const p = malloc((size_t)T * sizeof *p);
    for (int64_t i = 0; i < B * NH; i++) {
        const struct head h = head_of(qkv, i / NH, i % NH, T, C, NH);
        double *const o = out + i / NH * T * C + i % NH * h.HS;
        for (int64_t t = 0; t < T; t++) {
            stats[i * T + t] = probabilities(p, &h, t);
            for (int64_t d = 0; d < h.HS; d++) {
                o[t * C + d] = 0.0;
                for (int64_t s = 0; s <= t; s++)
                    o[t * C + d] += p[s] * h.v[s * 3 * C + d];
            }
        }
    }
    free(p);
}

/* Gradient of one position's row of scores, from p and dp = d out / d p. */
static void softmax_grad(double *dscore, const double *p, const double *dp, int64_t n)
{
    double expected = 0.0;
    for (int64_t s = 0; s < n; s++)
        expected += p[s] * dp[s];
    for (int64_t s = 0; s < n; s++)
        dscore[s] = p[s] * (dp[s] - expected);
}

/* Position t of one head: adds to dq, dk, dv (rows 3C apart); o: dout of the head. p, dp, ds: T. */
static void attention_grad_row(double *dq, double *dk, double *dv, const struct head *h,
                               const double *o, int64_t t, double *p, double *dp, double *ds)
{
    const int64_t C3 = 3 * h->C;
    (void)probabilities(p, h, t);
    for (int64_t s = 0; s <= t; s++) {
        dp[s] = 0.0;
        for (int64_t d = 0; d < h->HS; d++)
            dp[s] += o[t * h->C + d] * h->v[s * C3 + d];
    }
    softmax_grad(ds, p, dp, t + 1);
    for (int64_t s = 0; s <= t; s++)
        for (int64_t d = 0; d < h->HS; d++) {
            dq[t * C3 + d] += ds[s] * h->k[s * C3 + d] / sqrt((double)h->HS);
            dk[s * C3 + d] += ds[s] * h->q[t * C3 + d] / sqrt((double)h->HS);
            dv[s * C3 + d] += p[s] * o[t * h->C + d];
        }
}

void ref_attention_grad(double *dqkv, const double *dout, const double *qkv, int64_t B, int64_t T,
                        int64_t C, int64_t NH)
{
    double *const p = malloc((size_t)T * 3 * sizeof *p);
    memset(dqkv, 0, (size_t)(B * T * 3 * C) * sizeof *dqkv);
    for (int64_t i = 0; i < B * NH; i++) {
        const struct head h = head_of(qkv, i / NH, i % NH, T, C, NH);
        double *const dq = dqkv + (h.q - qkv);
        const double *const o = dout + i / NH * T * C + i % NH * h.HS;
        for (int64_t t = 0; t < T; t++)
            attention_grad_row(dq, dq + C, dq + 2 * C, &h, o, t, p, p + T, p + 2 * T);
    }
    free(p);
}

void ref_xent(double *losses, double *dlogits, const double *logits, const int32_t *targets,
              int64_t R, int64_t V, int64_t Vp, double scale)
{
    memset(dlogits, 0, (size_t)(R * Vp) * sizeof *dlogits);
    for (int64_t r = 0; r < R; r++) {
        const double *const row = logits + r * Vp;
        double max = -INFINITY, sum = 0.0;
        losses[r] = 0.0;
        if (targets[r] < 0) continue;
        for (int64_t v = 0; v < V; v++)
            max = fmax(max, row[v]);
        for (int64_t v = 0; v < V; v++)
            sum += exp(row[v] - max);
        losses[r] = max + log(sum) - row[targets[r]];
        for (int64_t v = 0; v < V; v++)
            dlogits[r * Vp + v] = scale * (exp(row[v] - max) / sum - (v == targets[r] ? 1.0 : 0.0));
    }
}

void ref_embed(double *out, const int32_t *tokens, const double *wte, const double *wpe, int64_t B,
               int64_t T, int64_t C)
{
    for (int64_t r = 0; r < B * T; r++)
        for (int64_t c = 0; c < C; c++)
            out[r * C + c] = wte[tokens[r] * C + c] + wpe[r % T * C + c];
}

void ref_embed_grad(double *dwte, double *dwpe, const double *dout, const int32_t *tokens,
                    int64_t B, int64_t T, int64_t C, int64_t Vp, int64_t context)
{
    memset(dwte, 0, (size_t)(Vp * C) * sizeof *dwte);
    memset(dwpe, 0, (size_t)(context * C) * sizeof *dwpe);
    for (int64_t r = 0; r < B * T; r++)
        for (int64_t c = 0; c < C; c++) {
            dwte[tokens[r] * C + c] += dout[r * C + c];
            dwpe[r % T * C + c] += dout[r * C + c];
        }
}

void ref_adamw(double *w, double *m, double *v, const double *grad, int64_t n, double lr,
               double beta1, double beta2, double eps, double decay, double grad_scale, int step)
{
    for (int64_t i = 0; i < n; i++) {
        const double g = grad[i] * grad_scale;
        m[i] = beta1 * m[i] + (1.0 - beta1) * g;
        v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
        const double m_hat = m[i] / (1.0 - pow(beta1, step));
        const double v_hat = v[i] / (1.0 - pow(beta2, step));
        w[i] -= lr * (m_hat / (sqrt(v_hat) + eps) + decay * w[i]);
    }
}
