/* h5_edit.h - files that HDF5 itself finds in order, but that shoal would not write: what a fuzzer
 * that changes bytes hardly ever makes, as the library's checksums refuse all else. */
#pragma once
#include "fuzz/fuzz.h"

/* Names of what hostile files may point at, beside the file edited. They must never be read. */
#define FUZZ_SECRET_H5    "secret.h5"
#define FUZZ_SECRET_BYTES "secret.bin"

/* Open the file at path and do to it what the input says: attributes, datasets and links are
 * removed and replaced by others of any type, shape, storage, filter and target. Then seal it
 * again. false: it became so large that reading it would be all that is tried. */
bool h5_edit(const char *path, struct fuzz_input *in);
