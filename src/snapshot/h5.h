/* h5.h - the part of HDF5 that snapshots use. Private to this folder; the only header that shows
 * hdf5.h.
 *
 * Files are written in the 1.10 format: its object headers and indices carry checksums of their
 * own, so that with Fletcher32 on every dataset a flipped bit anywhere in numbers is noticed. Any
 * library from 1.10 on reads them. The library is not thread-safe: one thread at a time. */
#pragma once
#include <hdf5.h>
#include <stdint.h>
#include "base/files.h"
#include "base/status.h"

struct h5 {
    hid_t file;                /* -1: not open */
    const char *path;          /* the name it has, or will have; borrowed */
    char temp[SHOAL_MAX_PATH]; /* the name it is being written under; "" when only read */
};
#define H5_CLOSED                                                                                  \
    {                                                                                              \
        -1, NULL, ""                                                                               \
    }

/* Open for reading, without locks: a reader never stops a writer. SHOAL_EIO: no such file.
 * SHOAL_EFORMAT: not HDF5, or damaged. */
enum shoal_status h5_open(struct h5 *h, const char *path);
/* Start a new file under a temporary name; path appears with h5_commit. */
enum shoal_status h5_create(struct h5 *h, const char *path);
/* Set room aside for `bytes`: HDF5 does not recover from a disk that is full. SHOAL_EIO: there is
 * none. */
enum shoal_status h5_reserve(struct h5 *h, int64_t bytes);
/* Close, seal (seal.h), make durable, rename. *bytes (may be NULL): size of the file. */
enum shoal_status h5_commit(struct h5 *h, int64_t *bytes);
/* Close; a file that was not committed is removed. Fine on H5_CLOSED and after h5_commit. */
void h5_close(struct h5 *h);

/* What went wrong in the HDF5 call just made, as a failure that names file and object. */
enum shoal_status h5_fail_read(const struct h5 *h, const char *object);
enum shoal_status h5_fail_write(const struct h5 *h, const char *object);

/* ---- groups and links ------------------------------------------------------------------------ */

/* An empty group, with missing parents. */
enum shoal_status h5_group(const struct h5 *h, const char *name);
/* Whether "/a/b/c" is there, in this file: every part of the way is looked at, and links to
 * something else, which may be in another file, count as nothing. */
bool h5_exists(const struct h5 *h, const char *name);
/* `name` stands for the root group of another file, given relative to this file's directory. */
enum shoal_status h5_link_file(const struct h5 *h, const char *name, const char *target);

/* Read every dataset from the root group down, a few rows at a time, so that every checksum of the
 * library's is compared. *datasets: how many there are. SHOAL_EFORMAT also for a link to something
 * else, or twice to the same. */
enum shoal_status h5_read_everything(const struct h5 *h, int64_t *datasets);
/* Number of links in a group; 0: no such group. */
int64_t h5_count_links(const struct h5 *h, const char *group);
/* Whether `name` is a link to the root group of `target`. */
bool h5_links_to(const struct h5 *h, const char *name, const char *target);

/* ---- attributes: scalars on a group ---------------------------------------------------------- */

/* Text is UTF-8 of variable length (h5py: str). */
enum shoal_status h5_set_text(const struct h5 *h, const char *group, const char *name,
                              const char *text);
enum shoal_status h5_set_int(const struct h5 *h, const char *group, const char *name,
                             int64_t value);
enum shoal_status h5_set_double(const struct h5 *h, const char *group, const char *name,
                                double value);
/* Whether a group that is there has this attribute. */
bool h5_has_attribute(const struct h5 *h, const char *group, const char *name);
/* SHOAL_EFORMAT: missing or of another kind. *text: mem_free. */
enum shoal_status h5_get_text(const struct h5 *h, const char *group, const char *name, char **text);
enum shoal_status h5_get_int(const struct h5 *h, const char *group, const char *name,
                             int64_t *value);
/* An integer that must lie in [low, high]. */
enum shoal_status h5_get_int32(const struct h5 *h, const char *group, const char *name, int low,
                               int high, int *value);
enum shoal_status h5_get_double(const struct h5 *h, const char *group, const char *name,
                                double *value);

/* ---- datasets: chunked, Fletcher32, dimensions labelled -------------------------------------- */

enum h5_kind { KIND_F32, KIND_F64, KIND_I32, KIND_I64, KIND_U64 };
struct h5_shape {
    int rank;             /* 1 or 2 */
    hsize_t dim[2];       /* a first dimension of 0 makes a dataset that can grow */
    const char *label[2]; /* what the dimensions are */
};

/* Write a whole dataset; missing groups on the way are made. */
enum shoal_status h5_write(const struct h5 *h, const char *name, enum h5_kind kind,
                           const struct h5_shape *shape, const void *data);
/* n words in fields of `bytes` each, which end with a 0: fixed-length UTF-8 (h5py: .asstr()). */
enum shoal_status h5_write_words(const struct h5 *h, const char *name, const char *label,
                                 const char *words, int64_t n, size_t bytes);
/* Bytes that h5_write takes in a file for items of item_bytes: whole chunks with their checksums,
 * and the dataset's header, which is an estimate. */
int64_t h5_bytes(const struct h5_shape *shape, size_t item_bytes);
/* Read a whole dataset that must have this shape. SHOAL_EFORMAT: missing, other kind or shape, or
 * a checksum does not match. */
enum shoal_status h5_read(const struct h5 *h, const char *name, enum h5_kind kind,
                          const struct h5_shape *shape, void *data);

/* Whether a dataset is there and has this kind and shape; its numbers are not read. */
enum shoal_status h5_check(const struct h5 *h, const char *name, enum h5_kind kind,
                           const struct h5_shape *shape);

/* Tables are 1-D datasets of a compound type: numpy structured arrays, pandas data frames. */
struct h5_column {
    const char *name;
    enum h5_kind kind;
    size_t offset; /* in the struct of a row */
};
struct h5_columns {
    const struct h5_column *column;
    int count;
    size_t row_bytes; /* sizeof the struct of a row */
};

enum shoal_status h5_write_table(const struct h5 *h, const char *name,
                                 const struct h5_columns *columns, const void *rows, int64_t n);
/* All rows, which take about as much memory as room in the file; *rows: mem_free. */
enum shoal_status h5_read_table(const struct h5 *h, const char *name,
                                const struct h5_columns *columns, void *rows, int64_t *n);

/* ---- shared by the files of this module ------------------------------------------------------ */

hid_t h5_memory_type(enum h5_kind kind); /* constants of the library, not to be closed */
hid_t h5_file_type(enum h5_kind kind);
/* A variable-length string type, to be closed; negative on failure. */
hid_t h5_text_type(H5T_cset_t charset);
/* Create and fill a dataset of any type: what h5_write and h5_write_table share. */
enum shoal_status h5_write_as(const struct h5 *h, const char *name, hid_t file_type,
                              hid_t memory_type, const struct h5_shape *shape, const void *data);
/* Whole rows up to 1 MiB, or parts of a row that is longer, as equal as can be; the whole thing if
 * smaller. */
void h5_chunk_shape(hsize_t chunk[2], const struct h5_shape *shape, size_t item_bytes);
/* Fill a new dataset with items that are in memory as they are in the file. */
enum shoal_status h5_write_chunks(const struct h5 *h, const char *name, hid_t dataset,
                                  const struct h5_shape *shape, size_t item_bytes,
                                  const void *data);
/* The checksum of the library's filter. */
uint32_t h5_fletcher32(const void *data, size_t bytes);
/* After so many bytes: let the system begin to bring them to disk, where that is worth a call. */
void h5_hurry(const struct h5 *h, int64_t bytes);
/* Open a dataset that must be there. */
enum shoal_status h5_open_dataset(const struct h5 *h, const char *name, hid_t *out);
/* Numbers in one or two dimensions, stored as they are in this file and all there: whoever
 * allocates by the shape of a dataset has looked here first. SHOAL_EFORMAT. */
enum shoal_status h5_check_storage(const struct h5 *h, const char *name, hid_t dataset);
