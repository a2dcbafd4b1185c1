/* h5_edit_impl.h - the parts of h5_edit. All of them take what HDF5 refuses as done. */
#pragma once
#include <hdf5.h>
#include "fuzz/h5_edit.h"

enum { EDIT_NAMES = 256, EDIT_NAME = 128 };

/* The links that were in a file when it was opened, and its root. */
struct h5_edit {
    hid_t file;
    int n;
    char name[EDIT_NAMES][EDIT_NAME];
};

/* Any type, to be closed; that of an object where there is one. */
hid_t edit_type(struct fuzz_input *in, hid_t like);
/* Any extent, to be closed; `most` bounds its size. */
hid_t edit_space(struct fuzz_input *in, bool may_be_large);
/* Put a dataset of any kind where another one is. */
void edit_dataset(const struct h5_edit *e, const char *name, struct fuzz_input *in);
/* Write any bytes, where they are not many. write: H5Awrite or H5Dwrite by name. */
void edit_fill(hid_t object, hid_t type, hid_t space, struct fuzz_input *in, bool attribute);
