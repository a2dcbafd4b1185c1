/* reference_llama.c - the parts of reference.h that only Llama has. */
#include "kernels/reference.h"
#include <complex.h>
#include <math.h>
#include <string.h>

void ref_rmsnorm(double *out, double *rstd, const double *x, const double *gain, int64_t R,
                 int64_t C, double eps)
{
    for (int64_t r = 0; r < R; r++) {
        double squares = 0.0;
        for (int64_t c = 0; c < C; c++)
            squares += x[r * C + c] * x[r * C + c];
        rstd[r] = 1.0 / sqrt(squares / (double)C + eps);
        for (int64_t c = 0; c < C; c++)
            out[r * C + c] = x[r * C + c] * rstd[r] * gain[c];
    }
}

/* d out_c / d x_e = gain_c rstd (delta_ce - x_c x_e rstd^2 / C), summed as it stands. */
void ref_rmsnorm_grad(double *dx, double *dgain, const double *dout, const double *x,
                      const double *gain, int64_t R, int64_t C, double eps)
{
    memset(dgain, 0, (size_t)C * sizeof *dgain);
    for (int64_t r = 0; r < R; r++) {
        const double *const row = x + r * C, *const d = dout + r * C;
        double squares = 0.0, pull = 0.0;
        for (int64_t c = 0; c < C; c++)
            squares += row[c] * row[c];
        const double rstd = 1.0 / sqrt(squares / (double)C + eps);
        for (int64_t c = 0; c < C; c++) {
            dgain[c] += d[c] * row[c] * rstd;
            pull += d[c] * gain[c] * row[c];
        }
        for (int64_t e = 0; e < C; e++)
            dx[r * C + e] = rstd * (d[e] * gain[e] - row[e] * pull * rstd * rstd / (double)C);
    }
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

void ref_swiglu(double *out, const double *x, int64_t R, int64_t F)
{
    for (int64_t r = 0; r < R; r++)
        for (int64_t f = 0; f < F; f++) {
            const double gate = x[r * 2 * F + f], up = x[r * 2 * F + F + f];
            out[r * F + f] = gate * sigmoid(gate) * up;
        }
}

void ref_swiglu_grad(double *dx, const double *dout, const double *x, int64_t R, int64_t F)
{
    for (int64_t r = 0; r < R; r++)
        for (int64_t f = 0; f < F; f++) {
            const double gate = x[r * 2 * F + f], up = x[r * 2 * F + F + f], d = dout[r * F + f];
            const double s = sigmoid(gate);
            dx[r * 2 * F + f] = d * up * (s + gate * s * (1.0 - s));
            dx[r * 2 * F + F + f] = d * gate * s;
        }
}

void ref_rope(double *out, const double *x, int64_t B, int64_t T, int64_t turned, int64_t still,
              int64_t HS, int64_t first, double theta)
{
    const int64_t width = (turned + still) * HS;
    memcpy(out, x, (size_t)(B * T * width) * sizeof *out);
    for (int64_t r = 0; r < B * T; r++)
        for (int64_t h = 0; h < turned; h++)
            for (int64_t i = 0; i < HS / 2; i++) {
                const double power = 2.0 * (double)i / (double)HS;
                const double angle = (double)(first + r % T) / pow(theta, power);
                const int64_t at = r * width + h * HS + i;
                const double complex z = (x[at] + x[at + HS / 2] * I) * cexp(I * angle);
                out[at] = creal(z);
                out[at + HS / 2] = cimag(z);
            }
}
