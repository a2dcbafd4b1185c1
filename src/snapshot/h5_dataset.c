/* h5_dataset.c - whole datasets: chunks of at most 1 MiB, Fletcher32, labelled dimensions.
 *
 * A chunk is the unit of a checksum and of the library's cache (1 MiB by default): larger ones
 * would be read whole for every row that a tool looks at. */
#include "snapshot/h5.h"

#include <stdio.h>

hid_t h5_memory_type(enum h5_kind kind)
{
    switch (kind) {
    case KIND_F32:
        return H5T_NATIVE_FLOAT;
    case KIND_F64:
        return H5T_NATIVE_DOUBLE;
    case KIND_I32:
        return H5T_NATIVE_INT32;
    case KIND_U64:
        return H5T_NATIVE_UINT64;
    case KIND_I64:
        break;
    }
    return H5T_NATIVE_INT64;
}

hid_t h5_file_type(enum h5_kind kind)
{
    switch (kind) {
    case KIND_F32:
        return H5T_IEEE_F32LE;
    case KIND_F64:
        return H5T_IEEE_F64LE;
    case KIND_I32:
        return H5T_STD_I32LE;
    case KIND_U64:
        return H5T_STD_U64LE;
    case KIND_I64:
        break;
    }
    return H5T_STD_I64LE;
}

int64_t h5_bytes(const struct h5_shape *shape, size_t item_bytes)
{
    enum { CHECKSUM_BYTES = 4, HEADER_BYTES = 512 }; /* headers: what real files have on average */
    hsize_t chunk[2] = {1, 1}, chunks = 1, items = 1;
    h5_chunk_shape(chunk, shape, item_bytes);
    for (int i = 0; i < shape->rank; i++) {
        chunks *= (shape->dim[i] + chunk[i] - 1) / chunk[i];
        items *= chunk[i];
    }
    return (int64_t)(chunks * (items * item_bytes + CHECKSUM_BYTES)) + HEADER_BYTES;
}

/* Chunked, checksummed, without time stamps; negative on failure. */
static hid_t creation_properties(const struct h5_shape *shape, size_t item_bytes)
{
    hsize_t chunk[2] = {1, 1};
    h5_chunk_shape(chunk, shape, item_bytes);
    const hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    if (list < 0) return list;
    if (H5Pset_chunk(list, shape->rank, chunk) >= 0 && H5Pset_fletcher32(list) >= 0 &&
        H5Pset_obj_track_times(list, false) >= 0)
        return list;
    H5Pclose(list);
    return -1;
}

/* The attribute that HDF5's dimension scales use (H5DSset_label), written by hand so that the
 * high-level library need not be there. */
static herr_t label_dimensions(hid_t dataset, const struct h5_shape *shape)
{
    const hsize_t count = (hsize_t)shape->rank;
    hid_t type = h5_text_type(H5T_CSET_ASCII), space = H5Screate_simple(1, &count, NULL),
          label = -1;
    herr_t ok = -1;
    if (type >= 0 && space >= 0)
        label = H5Acreate2(dataset, "DIMENSION_LABELS", type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (label >= 0) ok = H5Awrite(label, type, shape->label);
    if (label >= 0) H5Aclose(label);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return ok;
}

/* The numbers of a new dataset. */
static enum shoal_status write_all(const struct h5 *h, const char *name, hid_t dataset,
                                   hid_t file_type, hid_t memory_type, const struct h5_shape *shape,
                                   const void *data)
{
    if (H5Tequal(file_type, memory_type) > 0)
        return h5_write_chunks(h, name, dataset, shape, H5Tget_size(file_type), data);
    const herr_t ok = H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
    return ok < 0 ? h5_fail_write(h, name) : SHOAL_OK;
}

enum shoal_status h5_write_as(const struct h5 *h, const char *name, hid_t file_type,
                              hid_t memory_type, const struct h5_shape *shape, const void *data)
{
    const hsize_t most[2] = {shape->dim[0] ? shape->dim[0] : H5S_UNLIMITED, shape->dim[1]};
    enum shoal_status st = SHOAL_OK;
    hid_t dataset = -1, links = H5Pcreate(H5P_LINK_CREATE);
    const hid_t space = H5Screate_simple(shape->rank, shape->dim, most);
    const hid_t how = creation_properties(shape, H5Tget_size(file_type));
    if (links >= 0 && space >= 0 && how >= 0 && H5Pset_create_intermediate_group(links, 1) >= 0)
        dataset = H5Dcreate2(h->file, name, file_type, space, links, how, H5P_DEFAULT);
    if (dataset < 0 || label_dimensions(dataset, shape) < 0)
        st = h5_fail_write(h, name);
    else
        st = write_all(h, name, dataset, file_type, memory_type, shape, data);
    /* Closing writes what the chunk cache holds. */
    if (dataset >= 0 && H5Dclose(dataset) < 0 && st == SHOAL_OK) st = h5_fail_write(h, name);
    if (how >= 0) H5Pclose(how);
    if (space >= 0) H5Sclose(space);
    if (links >= 0) H5Pclose(links);
    if (st == SHOAL_OK) h5_hurry(h, h5_bytes(shape, H5Tget_size(file_type)));
    return st;
}

enum shoal_status h5_write(const struct h5 *h, const char *name, enum h5_kind kind,
                           const struct h5_shape *shape, const void *data)
{
    return h5_write_as(h, name, h5_file_type(kind), h5_memory_type(kind), shape, data);
}

enum shoal_status h5_write_words(const struct h5 *h, const char *name, const char *label,
                                 const char *words, int64_t n, size_t bytes)
{
    const struct h5_shape shape = {1, {(hsize_t)n, 0}, {label, ""}};
    const hid_t type = H5Tcopy(H5T_C_S1);
    enum shoal_status st;
    if (type >= 0 && H5Tset_size(type, bytes) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0)
        st = h5_write_as(h, name, type, type, &shape, words);
    else
        st = h5_fail_write(h, name);
    if (type >= 0) H5Tclose(type);
    return st;
}

enum shoal_status h5_open_dataset(const struct h5 *h, const char *name, hid_t *out)
{
    SHOAL_CHECK(h5_exists(h, name), SHOAL_EFORMAT, "%s: dataset %s is missing", h->path, name);
    *out = H5Dopen2(h->file, name, H5P_DEFAULT);
    return *out < 0 ? h5_fail_read(h, name) : SHOAL_OK;
}

/* "(4, 8)" into out; a rank other than 1 or 2 is said in words. */
static const char *shape_text(char out[64], int rank, const hsize_t *dim)
{
    if (rank == 1)
        snprintf(out, 64, "(%llu)", (unsigned long long)dim[0]);
    else if (rank == 2)
        snprintf(out, 64, "(%llu, %llu)", (unsigned long long)dim[0], (unsigned long long)dim[1]);
    else
        snprintf(out, 64, "%d dimensions", rank);
    return out;
}

static enum shoal_status check_shape(const struct h5 *h, const char *name, hid_t dataset,
                                     const struct h5_shape *want)
{
    const hid_t space = H5Dget_space(dataset);
    if (space < 0) return h5_fail_read(h, name);
    hsize_t dim[2] = {0, 0};
    const int rank = H5Sget_simple_extent_ndims(space);
    const bool readable =
        rank >= 0 && (rank > 2 || H5Sget_simple_extent_dims(space, dim, NULL) >= 0);
    H5Sclose(space);
    if (!readable) return h5_fail_read(h, name);
    bool same = rank == want->rank;
    for (int i = 0; same && i < rank; i++)
        same = dim[i] == want->dim[i];
    char found[64], expected[64];
    SHOAL_CHECK(same, SHOAL_EFORMAT, "%s: %s has shape %s, expected %s", h->path, name,
                shape_text(found, rank, dim), shape_text(expected, want->rank, want->dim));
    return SHOAL_OK;
}

static enum shoal_status check_kind(const struct h5 *h, const char *name, hid_t dataset,
                                    enum h5_kind kind)
{
    const hid_t type = H5Dget_type(dataset);
    if (type < 0) return h5_fail_read(h, name);
    const bool same = H5Tget_class(type) == H5Tget_class(h5_file_type(kind));
    H5Tclose(type);
    SHOAL_CHECK(same, SHOAL_EFORMAT, "%s: %s does not hold %s", h->path, name,
                kind == KIND_F32 || kind == KIND_F64 ? "floating-point numbers" : "integers");
    return SHOAL_OK;
}

enum shoal_status h5_check(const struct h5 *h, const char *name, enum h5_kind kind,
                           const struct h5_shape *shape)
{
    hid_t dataset = -1;
    enum shoal_status st;
    SHOAL_GOTO(h5_open_dataset(h, name, &dataset));
    SHOAL_GOTO(check_shape(h, name, dataset, shape));
    SHOAL_GOTO(check_kind(h, name, dataset, kind));
    SHOAL_GOTO(h5_check_storage(h, name, dataset));
done:
    if (dataset >= 0) H5Dclose(dataset);
    return st;
}

enum shoal_status h5_read(const struct h5 *h, const char *name, enum h5_kind kind,
                          const struct h5_shape *shape, void *data)
{
    hid_t dataset = -1;
    enum shoal_status st;
    SHOAL_GOTO(h5_open_dataset(h, name, &dataset));
    SHOAL_GOTO(check_shape(h, name, dataset, shape));
    SHOAL_GOTO(check_kind(h, name, dataset, kind));
    SHOAL_GOTO(h5_check_storage(h, name, dataset));
    if (H5Dread(dataset, h5_memory_type(kind), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        st = h5_fail_read(h, name);
done:
    if (dataset >= 0) H5Dclose(dataset);
    return st;
}
