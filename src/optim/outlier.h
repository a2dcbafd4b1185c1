/* outlier.h - which steps are better not taken. No tensors: two numbers a step go in, a verdict
 * comes out.
 *
 * A batch of broken text, or a step too far, shows in the loss or in the gradient norm before it
 * harms the weights. What is usual is said by the last accepted steps: a figure x is an outlier
 * when x > mean + threshold * deviation over a full window (sample standard deviation; upward only,
 * and never over a window whose values are all equal). An outlier stays out of the window. Were the
 * level to rise for good, every step would be one: after window / 8 outliers in a row (at least 1)
 * the window is emptied, and steps are accepted while it fills anew. */
#pragma once
#include "config/config.h"

/* Why a step was not taken; the order is that of the tests. */
enum skip {
    SKIP_NONE,       /* it was taken */
    SKIP_NOT_FINITE, /* loss or gradient norm */
    SKIP_LOSS,       /* outliers */
    SKIP_GRAD_NORM,
    SKIP_KINDS
};

/* An accepted step. */
struct outlier_row {
    double loss, grad_norm; /* nats per token; before clipping */
};

/* What an expert remembers of its steps. Plain data; all zero: nothing yet. */
struct outlier {
    struct outlier_row row[SHOAL_MAX_SKIP_WINDOW]; /* oldest first */
    int n;                                         /* rows */
    int in_a_row;                                  /* outliers since the last accepted step */
    int64_t skipped;                               /* steps not taken so far, for any reason */
};

/* Whether to take a step, and remember it. threshold 0: only what is not finite is skipped, and the
 * window stays as it is. window: rows that make it full, 2 .. SHOAL_MAX_SKIP_WINDOW; of a longer
 * one, left by another configuration, the newest count. */
enum skip outlier_judge(struct outlier *o, double threshold, int window, struct outlier_row step);
