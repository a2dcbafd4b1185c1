/* output.h - files written piece by piece, and directories of files, that appear whole or not at
 * all: under a temporary name first, renamed when all of it is on disk. */
#pragma once
#include <stdint.h>
#include "base/files.h"

/* SHOAL_EIO when there is something at path, even a broken link: nothing is overwritten. */
enum shoal_status output_refuse_existing(const char *path);

struct output {
    int fd;                    /* -1: not open */
    const char *path;          /* the name it will have; borrowed */
    char temp[SHOAL_MAX_PATH]; /* the name it is being written under; "": nothing to remove */
};
#define OUTPUT_CLOSED                                                                              \
    {                                                                                              \
        -1, NULL, ""                                                                               \
    }

/* Start a file of `bytes` zeros under a temporary name. SHOAL_EIO. */
enum shoal_status output_open(struct output *out, const char *path, int64_t bytes);
/* Put bytes at an offset. SHOAL_EIO. */
enum shoal_status output_write(const struct output *out, const void *data, int64_t offset,
                               int64_t bytes);
/* Make durable and rename; closed afterwards, on failure too. */
enum shoal_status output_commit(struct output *out);
/* Close; a file that was not committed is removed. Fine on OUTPUT_CLOSED and after a commit. */
void output_close(struct output *out);

/* Make an empty directory whose files are to become those of `path`; its name goes to temp, which
 * holds SHOAL_MAX_PATH bytes ("" on failure). SHOAL_EIO. */
enum shoal_status output_dir_make(char *temp, const char *path);
/* Rename it; temp is then "". On failure output_dir_remove is still to be called. */
enum shoal_status output_dir_commit(char *temp, const char *path);
/* Remove it with the files in it. Fine on "". */
void output_dir_remove(char *temp);
