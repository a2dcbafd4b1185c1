/* check.h - shape and type checks of the kernels, with texts that name operation and argument.
 * Private to src/kernels. */
#pragma once
#include "kernels/kernels.h"

/* Types an argument may have; f32 or bf16 together are an "act". */
enum check_types { CHECK_F32 = 1, CHECK_BF16 = 2, CHECK_ACT = 3, CHECK_I32 = 4 };

/* The act type another argument must have to go with v; 0: v is no act. */
int check_type(struct view v);

/* v has data, one of the types and shape (d0, d1). A vector's n elements may lie along either
 * dimension: check it with check_count. */
enum shoal_status check_matrix(const char *op, const char *arg, struct view v, int types,
                               int64_t d0, int64_t d1);
/* v has data, one of the types and `count` elements in any shape. */
enum shoal_status check_count(const char *op, const char *arg, struct view v, int types,
                              int64_t count);
/* p is not NULL unless n is 0. */
enum shoal_status check_pointer(const char *op, const char *arg, const void *p, int64_t n);
