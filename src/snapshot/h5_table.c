/* h5_table.c - tables: one compound value a row. */
#include "snapshot/h5.h"

#include "base/memory.h"

/* The compound type of a row as it lies in memory; negative on failure. */
static hid_t row_in_memory(const struct h5_columns *columns)
{
    const hid_t type = H5Tcreate(H5T_COMPOUND, columns->row_bytes);
    herr_t ok = type < 0 ? -1 : 0;
    for (int i = 0; ok >= 0 && i < columns->count; i++) {
        const struct h5_column *c = &columns->column[i];
        ok = H5Tinsert(type, c->name, c->offset, h5_memory_type(c->kind));
    }
    if (ok >= 0) return type;
    if (type >= 0) H5Tclose(type);
    return -1;
}

/* The same in the file: little-endian, no gaps; negative on failure. */
static hid_t row_in_file(const struct h5_columns *columns)
{
    size_t bytes = 0;
    for (int i = 0; i < columns->count; i++)
        bytes += H5Tget_size(h5_file_type(columns->column[i].kind));
    const hid_t type = H5Tcreate(H5T_COMPOUND, bytes);
    herr_t ok = type < 0 ? -1 : 0;
    bytes = 0;
    for (int i = 0; ok >= 0 && i < columns->count; i++) {
        const hid_t item = h5_file_type(columns->column[i].kind);
        ok = H5Tinsert(type, columns->column[i].name, bytes, item);
        bytes += H5Tget_size(item);
    }
    if (ok >= 0) return type;
    if (type >= 0) H5Tclose(type);
    return -1;
}

enum shoal_status h5_write_table(const struct h5 *h, const char *name,
                                 const struct h5_columns *columns, const void *rows, int64_t n)
{
    const struct h5_shape shape = {1, {(hsize_t)n, 0}, {"row", ""}};
    const hid_t in_file = row_in_file(columns), in_memory = row_in_memory(columns);
    const enum shoal_status st = in_file < 0 || in_memory < 0
                                     ? h5_fail_write(h, name)
                                     : h5_write_as(h, name, in_file, in_memory, &shape, rows);
    if (in_file >= 0) H5Tclose(in_file);
    if (in_memory >= 0) H5Tclose(in_memory);
    return st;
}

/* Every column there is what HDF5 does not check: it leaves missing ones as they are. */
static enum shoal_status check_columns(const struct h5 *h, const char *name, hid_t dataset,
                                       const struct h5_columns *columns)
{
    const hid_t type = H5Dget_type(dataset);
    if (type < 0) return h5_fail_read(h, name);
    const char *missing = NULL;
    if (H5Tget_class(type) != H5T_COMPOUND) missing = columns->column[0].name;
    for (int i = 0; !missing && i < columns->count; i++) {
        if (H5Tget_member_index(type, columns->column[i].name) < 0)
            missing = columns->column[i].name;
    }
    H5Tclose(type);
    SHOAL_CHECK(!missing, SHOAL_EFORMAT, "%s: table %s has no column '%s'", h->path, name, missing);
    return SHOAL_OK;
}

static enum shoal_status count_rows(const struct h5 *h, const char *name, hid_t dataset, int64_t *n)
{
    const hid_t space = H5Dget_space(dataset);
    if (space < 0) return h5_fail_read(h, name);
    const int rank = H5Sget_simple_extent_ndims(space);
    *n = H5Sget_simple_extent_npoints(space);
    H5Sclose(space);
    SHOAL_CHECK(rank == 1 && *n >= 0, SHOAL_EFORMAT, "%s: table %s is not one-dimensional", h->path,
                name);
    return SHOAL_OK;
}

enum shoal_status h5_read_table(const struct h5 *h, const char *name,
                                const struct h5_columns *columns, void *rows, int64_t *n)
{
    hid_t dataset = -1, type = -1;
    void *read = NULL;
    enum shoal_status st;
    SHOAL_GOTO(h5_open_dataset(h, name, &dataset));
    SHOAL_GOTO(check_columns(h, name, dataset, columns));
    SHOAL_GOTO(h5_check_storage(h, name, dataset));
    SHOAL_GOTO(count_rows(h, name, dataset, n));
    SHOAL_GOTO(mem_alloc((size_t)*n * columns->row_bytes, name, &read));
    type = row_in_memory(columns);
    if (type < 0 || H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, read) < 0)
        SHOAL_GOTO(h5_fail_read(h, name));
    *(void **)rows = read;
    read = NULL;
done:
    mem_free(read);
    if (type >= 0) H5Tclose(type);
    if (dataset >= 0) H5Dclose(dataset);
    return st;
}
