/* safetensors.h - Hugging Face's file of tensors. Private to this folder.
 *
 *   8 bytes   length N of the header, little-endian
 *   N bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}, and
 *             under "__metadata__" texts; spaces may follow
 *   the rest  data, without gaps; offsets count from here */
#pragma once
#include "base/input.h"
#include "base/output.h"
#include "snapshot/number.h"
#include "snapshot/tensors.h"

enum { SAFETENSOR_RANK = 8 };

struct safetensor {
    const char *name, *dtype; /* borrowed from the header */
    int rank;
    int64_t dim[SAFETENSOR_RANK];
    int64_t begin, bytes; /* in the file */
};

struct json_object;

struct safetensors {
    char path[SHOAL_MAX_PATH];
    struct input in;
    struct json_object *header; /* owned */
    struct safetensor *tensor;  /* owned; [n], by name */
    int n;
};

/* Read and check the header: every tensor's type, shape and place agree, and together they are all
 * of the data, none twice. SHOAL_EIO, SHOAL_EFORMAT. On failure too s wants safetensors_close. */
enum shoal_status safetensors_open(struct safetensors *s, const char *path);
/* Accepts a zeroed struct whose in is INPUT_CLOSED. */
void safetensors_close(struct safetensors *s);
/* NULL: there is none. */
const struct safetensor *safetensors_find(const struct safetensors *s, const char *name);
/* Whether t can be read as float32 with this shape; SHOAL_EFORMAT says what it has instead. */
enum shoal_status safetensors_check(const struct safetensors *s, const struct safetensor *t,
                                    struct tensor_shape shape);
/* All numbers of a tensor that safetensors_check allows. */
enum shoal_status safetensors_read(const struct safetensors *s, const struct safetensor *t,
                                   float *values);

struct safetensors_writer {
    struct output out;
    enum number type;
    int64_t at; /* where the next tensor goes */
};
/* A tensor to be written. */
struct safetensor_plan {
    const char *name; /* borrowed */
    struct tensor_shape shape;
};

/* Start a file of these tensors, all of one type. On failure too w wants safetensors_abandon. */
enum shoal_status safetensors_create(struct safetensors_writer *w, const char *path,
                                     const struct safetensor_plan *plan, int n, enum number type);
/* Add the next tensor: n numbers. */
enum shoal_status safetensors_add(struct safetensors_writer *w, const float *values, int64_t n);
/* After the last. */
enum shoal_status safetensors_commit(struct safetensors_writer *w);
void safetensors_abandon(struct safetensors_writer *w);
