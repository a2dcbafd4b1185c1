/* h5_walk.c - whatever is in a file, read without knowing what it should be. */
#include "snapshot/h5.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/memory.h"

/* Groups lie five deep in our files. */
enum { DEEPEST = 12, PART_BYTES = 4 << 20 };

/* ---- one dataset ----------------------------------------------------------------------------- */

/* An open dataset, to be read `rows` of its first dimension at a time. */
struct reading {
    hid_t dataset, type, space;
    int rank;
    hsize_t dim[2], rows;
    size_t row_bytes;
};

static void reading_end(struct reading *r)
{
    if (r->space >= 0) H5Sclose(r->space);
    if (r->type >= 0) H5Tclose(r->type);
    if (r->dataset >= 0) H5Dclose(r->dataset);
}

static enum shoal_status reading_begin(const struct h5 *h, const char *name, struct reading *r)
{
    struct stat info;
    *r = (struct reading){
        .dataset = H5Dopen2(h->file, name, H5P_DEFAULT), .type = -1, .space = -1, .dim = {1, 1}};
    if (r->dataset < 0) return h5_fail_read(h, name);
    r->type = H5Dget_type(r->dataset);
    r->space = H5Dget_space(r->dataset);
    if (r->type < 0 || r->space < 0) return h5_fail_read(h, name);
    r->rank = H5Sget_simple_extent_ndims(r->space);
    SHOAL_CHECK(r->rank == 1 || r->rank == 2, SHOAL_EFORMAT, "%s: %s has %d dimensions", h->path,
                name, r->rank);
    if (H5Sget_simple_extent_dims(r->space, r->dim, NULL) < 0) return h5_fail_read(h, name);
    /* A row takes at least as much room in the file. */
    const size_t item = H5Tget_size(r->type);
    SHOAL_CHECK(stat(h->path, &info) == 0, SHOAL_EIO, "%s: vanished while it was read", h->path);
    SHOAL_CHECK(item > 0 && (r->dim[0] == 0 || r->dim[1] <= (hsize_t)info.st_size / item),
                SHOAL_EFORMAT, "%s: %s has more numbers than the file has room for", h->path, name);
    r->row_bytes = (size_t)r->dim[1] * item;
    r->rows = r->row_bytes < PART_BYTES && r->row_bytes > 0 ? PART_BYTES / r->row_bytes : 1;
    if (r->rows > r->dim[0]) r->rows = r->dim[0];
    return SHOAL_OK;
}

static enum shoal_status read_rows(const struct h5 *h, const char *name, const struct reading *r,
                                   hsize_t at, void *into)
{
    const hsize_t left = r->dim[0] - at;
    const hsize_t begin[2] = {at, 0}, count[2] = {left < r->rows ? left : r->rows, r->dim[1]};
    const hid_t memory = H5Screate_simple(r->rank, count, NULL);
    enum shoal_status st = SHOAL_OK;
    if (memory < 0 || H5Sselect_hyperslab(r->space, H5S_SELECT_SET, begin, NULL, count, NULL) < 0 ||
        H5Dread(r->dataset, r->type, memory, r->space, H5P_DEFAULT, into) < 0)
        st = h5_fail_read(h, name);
    if (memory >= 0) H5Sclose(memory);
    return st;
}

static enum shoal_status read_dataset(const struct h5 *h, const char *name)
{
    struct reading r;
    void *part = NULL;
    enum shoal_status st;
    SHOAL_GOTO(reading_begin(h, name, &r));
    SHOAL_GOTO(mem_alloc((size_t)r.rows * r.row_bytes, name, &part));
    for (hsize_t at = 0; at < r.dim[0]; at += r.rows)
        SHOAL_GOTO(read_rows(h, name, &r, at, part));
done:
    mem_free(part);
    reading_end(&r);
    return st;
}

/* ---- all of them ----------------------------------------------------------------------------- */

int64_t h5_count_links(const struct h5 *h, const char *group)
{
    H5G_info_t info;
    if (strcmp(group, "/") != 0 && !h5_exists(h, group)) return 0;
    return H5Gget_info_by_name(h->file, group, &info, H5P_DEFAULT) < 0 ? 0 : (int64_t)info.nlinks;
}

static enum shoal_status link_name(const struct h5 *h, const char *group, int64_t i, char *out)
{
    char name[SHOAL_MAX_PATH];
    const ssize_t length = H5Lget_name_by_idx(h->file, group, H5_INDEX_NAME, H5_ITER_INC,
                                              (hsize_t)i, name, sizeof name, H5P_DEFAULT);
    if (length < 0) return h5_fail_read(h, group);
    return path_format(out, "%s/%s", strcmp(group, "/") == 0 ? "" : group, name);
}

static enum shoal_status object_type(const struct h5 *h, const char *name, H5I_type_t *type)
{
    H5L_info_t info;
    if (H5Lget_info(h->file, name, &info, H5P_DEFAULT) < 0) return h5_fail_read(h, name);
    SHOAL_CHECK(info.type == H5L_TYPE_HARD, SHOAL_EFORMAT, "%s: %s is a link to something else",
                h->path, name);
    const hid_t object = H5Oopen(h->file, name, H5P_DEFAULT);
    if (object < 0) return h5_fail_read(h, name);
    *type = H5Iget_type(object);
    H5Oclose(object);
    return SHOAL_OK;
}

static enum shoal_status read_group(const struct h5 *h, const char *group, int depth,
                                    int64_t *datasets)
{
    const int64_t links = h5_count_links(h, group);
    char name[SHOAL_MAX_PATH];
    SHOAL_CHECK(depth < DEEPEST, SHOAL_EFORMAT, "%s: %s lies too deep", h->path, group);
    for (int64_t i = 0; i < links; i++) {
        H5I_type_t type = H5I_BADID;
        SHOAL_TRY(link_name(h, group, i, name));
        SHOAL_TRY(object_type(h, name, &type));
        if (type == H5I_GROUP) SHOAL_TRY(read_group(h, name, depth + 1, datasets));
        if (type != H5I_DATASET) continue;
        SHOAL_TRY(read_dataset(h, name));
        ++*datasets;
    }
    return SHOAL_OK;
}

enum shoal_status h5_read_everything(const struct h5 *h, int64_t *datasets)
{
    *datasets = 0;
    return read_group(h, "/", 0, datasets);
}

bool h5_links_to(const struct h5 *h, const char *name, const char *target)
{
    char value[2 * SHOAL_MAX_PATH];
    const char *file = NULL, *object = NULL;
    H5L_info_t info;
    return H5Lget_info(h->file, name, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_EXTERNAL &&
           info.u.val_size <= sizeof value &&
           H5Lget_val(h->file, name, value, sizeof value, H5P_DEFAULT) >= 0 &&
           H5Lunpack_elink_val(value, info.u.val_size, NULL, &file, &object) >= 0 &&
           strcmp(file, target) == 0 && strcmp(object, "/") == 0;
}
