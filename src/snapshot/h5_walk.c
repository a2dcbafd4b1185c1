/* h5_walk.c - whatever is in a file, read without knowing what it should be. */
#include "snapshot/h5.h"

#include <stdio.h>
#include <string.h>
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
    *r = (struct reading){.dataset = -1, .type = -1, .space = -1, .dim = {1, 1}};
    SHOAL_TRY(h5_open_dataset(h, name, &r->dataset));
    SHOAL_TRY(h5_check_storage(h, name, r->dataset));
    r->type = H5Dget_type(r->dataset);
    r->space = H5Dget_space(r->dataset);
    if (r->type < 0 || r->space < 0) return h5_fail_read(h, name);
    r->rank = H5Sget_simple_extent_ndims(r->space);
    if (H5Sget_simple_extent_dims(r->space, r->dim, NULL) < 0) return h5_fail_read(h, name);
    /* Empty rows could be any number of them, and rows of none be of any length. */
    if (r->dim[0] == 0 || r->dim[1] == 0) r->dim[0] = r->dim[1] = 0;
    r->row_bytes = (size_t)r->dim[1] * H5Tget_size(r->type);
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

/* How many links lead to an open object; 0: unknown. */
static unsigned links_to(hid_t object)
{
#if H5_VERSION_GE(1, 12, 0)
    H5O_info2_t info;
    return H5Oget_info3(object, &info, H5O_INFO_BASIC) < 0 ? 0 : info.rc;
#else
    H5O_info_t info;
    return H5Oget_info(object, &info) < 0 ? 0 : info.rc;
#endif
}

/* A group that is linked to from inside it would be read for ever. */
static enum shoal_status object_type(const struct h5 *h, const char *name, H5I_type_t *type)
{
    H5L_info_t info;
    if (H5Lget_info(h->file, name, &info, H5P_DEFAULT) < 0) return h5_fail_read(h, name);
    SHOAL_CHECK(info.type == H5L_TYPE_HARD, SHOAL_EFORMAT, "%s: %s is a link to something else",
                h->path, name);
    const hid_t object = H5Oopen(h->file, name, H5P_DEFAULT);
    if (object < 0) return h5_fail_read(h, name);
    *type = H5Iget_type(object);
    const unsigned links = links_to(object);
    H5Oclose(object);
    SHOAL_CHECK(links == 1, SHOAL_EFORMAT, "%s: %s has another name in the file, %u in all",
                h->path, name, links);
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
