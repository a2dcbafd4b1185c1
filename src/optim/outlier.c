/* outlier.c - mean and deviation are taken anew at every step, oldest row first: running sums would
 * be faster, but would end in other bits after a restart, and two passes over a window cost less
 * than a thousandth of the smallest step. */
#include "optim/outlier.h"

#include <math.h>
#include <string.h>

/* One figure of a row. */
static double figure(const struct outlier_row *row, enum skip which)
{
    return which == SKIP_LOSS ? row->loss : row->grad_norm;
}

static bool is_outlier(const struct outlier *o, double threshold, enum skip which, double x)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < o->n; i++)
        sum += figure(&o->row[i], which);
    const double mean = sum / o->n;
    for (int i = 0; i < o->n; i++) {
        const double d = figure(&o->row[i], which) - mean;
        squares += d * d;
    }
    const double deviation = sqrt(squares / (o->n - 1));
    return deviation > 0 && x - mean > threshold * deviation;
}

/* Keep the newest rows. */
static void shorten(struct outlier *o, int rows)
{
    if (o->n <= rows) return;
    memmove(o->row, o->row + o->n - rows, (size_t)rows * sizeof *o->row);
    o->n = rows;
}

static enum skip verdict(const struct outlier *o, double threshold, int window,
                         const struct outlier_row *step)
{
    if (!isfinite(step->loss) || !isfinite(step->grad_norm)) return SKIP_NOT_FINITE;
    if (threshold <= 0 || o->n < window) return SKIP_NONE;
    if (is_outlier(o, threshold, SKIP_LOSS, step->loss)) return SKIP_LOSS;
    if (is_outlier(o, threshold, SKIP_GRAD_NORM, step->grad_norm)) return SKIP_GRAD_NORM;
    return SKIP_NONE;
}

enum skip outlier_judge(struct outlier *o, double threshold, int window, struct outlier_row step)
{
    const int most_in_a_row = window / 8 > 1 ? window / 8 : 1;
    if (threshold > 0) shorten(o, window);
    const enum skip why = verdict(o, threshold, window, &step);
    if (why != SKIP_NONE) o->skipped++;
    if (why == SKIP_NOT_FINITE || threshold <= 0) return why;
    if (why == SKIP_NONE) {
        shorten(o, window - 1);
        o->row[o->n++] = step;
        o->in_a_row = 0;
    } else if (++o->in_a_row >= most_in_a_row) {
        o->n = 0;
        o->in_a_row = 0;
    }
    return why;
}
