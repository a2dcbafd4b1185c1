/* tensor.h - test data held twice: as a kernel sees it, and in double precision. */
#pragma once
#include "kernels/kernels.h"

struct tensor {
    struct view view; /* data owned; host memory, as the CPU backend takes it */
    double *exact;    /* the values in view.data, exactly */
    int64_t n;
};

/* Values drawn from N(0, scale); seed: any number, different for each tensor. */
struct tensor tensor_random(enum dtype dtype, int64_t d0, int64_t d1, double scale, uint32_t seed);
/* All zero. */
struct tensor tensor_zero(enum dtype dtype, int64_t d0, int64_t d1);
/* f32 values that bf16 can hold: a bias may be rounded to it. */
struct tensor tensor_random_bias(int64_t n, double scale, uint32_t seed);
/* View the same data as (d0, d1, d2). */
struct view tensor_view3(const struct tensor *t, int64_t d0, int64_t d1, int64_t d2);
void tensor_free(struct tensor *t);
double tensor_get(const struct tensor *t, int64_t i);

/* How far values may be off: |got - want| <= relative * |want| + absolute * largest |want|. */
struct tolerance {
    double relative, absolute;
};
/* For sums of products: f32 arithmetic, or rounding of the result to bf16 (8 bits). */
struct tolerance tolerance_for(enum dtype dtype);
/* Whether t is close to want; prints the first value that is not. */
bool tensor_close(const char *what, const struct tensor *t, const double *want,
                  struct tolerance tol);
/* The same for t - before, for kernels that add to what is there. */
bool tensor_added(const char *what, const struct tensor *t, const double *added,
                  struct tolerance tol);
/* double array of n zeros; free() it. Never NULL. */
double *doubles(int64_t n);
