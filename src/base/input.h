/* input.h - reading parts of a file whose sizes and offsets nobody vouches for. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

struct input {
    int fd;           /* -1: not open */
    const char *path; /* borrowed */
    int64_t bytes;    /* of the file */
};
#define INPUT_CLOSED                                                                               \
    {                                                                                              \
        -1, NULL, 0                                                                                \
    }

/* SHOAL_EIO: no such file, or not a file. Starts from any content of *in. */
enum shoal_status input_open(struct input *in, const char *path);
/* Bytes offset .. offset + bytes - 1. SHOAL_EFORMAT: the file does not have them. */
enum shoal_status input_read(const struct input *in, void *data, int64_t offset, int64_t bytes);
/* Fine on INPUT_CLOSED. */
void input_close(struct input *in);
