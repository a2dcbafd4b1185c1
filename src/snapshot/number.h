/* number.h - the floating-point types that model files hold, little-endian, and float32. Private to
 * this folder. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/input.h"
#include "base/output.h"
#include "snapshot/interchange.h"

/* Bytes of one. */
int64_t number_bytes(enum number type);
/* Of the type in safetensors' words, "F32", "BF16", "F16"; false: none of these. */
bool number_named(const char *name, enum number *type);
const char *number_name(enum number type);
/* n numbers of a file to float32: exact. out and in may not overlap. */
void number_decode(float *out, const void *in, int64_t n, enum number type);
/* n float32 to those of a file: rounded to nearest, ties to even; what is too large becomes
 * infinite, and no NaN becomes a number. */
void number_encode(void *out, const float *in, int64_t n, enum number type);
/* The same with n numbers that lie in a file from `offset` on. */
enum shoal_status numbers_read(const struct input *in, float *out, int64_t offset, int64_t n,
                               enum number type);
enum shoal_status numbers_write(const struct output *out, const float *in, int64_t offset,
                                int64_t n, enum number type);
