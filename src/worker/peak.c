/* peak.c - products of 256 x 256 matrices give a first figure in about a millisecond; if the time
 * allows, products of 768 x 768 follow, whose shapes are those of real models. */
#include "worker/peak.h"

#include <math.h>
#include "base/clock.h"
#include "base/memory.h"

enum { SMALL = 256, LARGE = 768 };
static const double most_s = 0.05, small_s = 0.001, share_of_run = 0.01;

/* A product of two n x n matrices. */
struct product {
    struct device *dev;
    int64_t n;
    struct view out, a, b;
};

static double product_flops(int64_t n)
{
    return 2.0 * (double)n * (double)n * (double)n;
}

/* Numbers in [-1, 1): a matrix of zeros might be multiplied faster. */
static enum shoal_status fill(struct device *dev, struct view to)
{
    const int64_t n = view_count(to);
    float *host = NULL, *exact = NULL;
    enum shoal_status st;
    SHOAL_GOTO(mem_alloc((size_t)n * sizeof *host, "a matrix", &host));
    SHOAL_GOTO(device_alloc(dev, (size_t)n * sizeof *exact, "a matrix", &exact));
    for (int64_t i = 0; i < n; i++)
        host[i] = (float)((uint32_t)i * 2654435761u >> 8) * 0x1p-23f - 1.0f;
    SHOAL_GOTO(device_upload(dev, exact, host, (size_t)n * sizeof *host));
    SHOAL_GOTO(kernel_convert(dev, to, view_make(exact, DTYPE_F32, to.dim[0], to.dim[1])));
    SHOAL_GOTO(device_sync(dev));
done:
    if (exact) device_free(dev, exact);
    mem_free(host);
    return st;
}

static void product_close(struct product *p)
{
    struct view *const each[] = {&p->out, &p->a, &p->b};
    for (int i = 0; i < 3; i++)
        if (each[i]->data) device_free(p->dev, each[i]->data);
}

/* On failure p still wants product_close. */
static enum shoal_status product_open(struct product *p, enum dtype type)
{
    struct view *const each[] = {&p->out, &p->a, &p->b};
    for (int i = 0; i < 3; i++) {
        *each[i] = view_make(NULL, type, p->n, p->n);
        SHOAL_TRY(device_alloc(p->dev, (size_t)(p->n * p->n) * dtype_bytes(type), "a matrix",
                               &each[i]->data));
    }
    SHOAL_TRY(fill(p->dev, p->a));
    return fill(p->dev, p->b);
}

static enum shoal_status multiply(const struct product *p, double *seconds)
{
    const struct view no_bias = {0};
    const double start_s = clock_now_s();
    SHOAL_TRY(kernel_matmul(p->dev, p->out, p->a, p->b, no_bias));
    SHOAL_TRY(device_sync(p->dev));
    *seconds = clock_now_s() - start_s;
    return SHOAL_OK;
}

/* The best of as many products as fit into budget_s, but at least one, after one that does not
 * count because the first may be slower. */
static enum shoal_status measure(struct product *p, enum dtype type, double budget_s, double *rate)
{
    const double end_s = clock_now_s() + budget_s;
    double seconds = 0, best_s = INFINITY;
    enum shoal_status st;
    SHOAL_GOTO(product_open(p, type));
    SHOAL_GOTO(multiply(p, &seconds));
    do {
        SHOAL_GOTO(multiply(p, &seconds));
        if (seconds < best_s) best_s = seconds;
    } while (clock_now_s() < end_s);
    *rate = product_flops(p->n) / best_s;
done:
    product_close(p);
    return st;
}

enum shoal_status peak_measure(struct device *dev, enum precision precision, double run_flops,
                               double *flops_per_s)
{
    const enum dtype type = precision == PRECISION_BF16 ? DTYPE_BF16 : DTYPE_F32;
    struct product small = {.dev = dev, .n = SMALL}, large = {.dev = dev, .n = LARGE};
    double rate = 0;
    SHOAL_TRY(measure(&small, type, small_s, flops_per_s));
    const double budget_s = fmin(most_s, share_of_run * run_flops / *flops_per_s);
    /* The uncounted product, one that counts, and the filling, which takes about as long. */
    if (3.0 * product_flops(LARGE) / *flops_per_s > budget_s) return SHOAL_OK;
    SHOAL_TRY(measure(&large, type, budget_s, &rate));
    *flops_per_s = fmax(*flops_per_s, rate);
    return SHOAL_OK;
}
