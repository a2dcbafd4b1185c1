/* h5_storage.c - what a dataset may be, before anything of it is read. HDF5 lets a file name other
 * files as the storage of its datasets, claim more numbers than it has, and ask for filters that
 * blow a few bytes up to gigabytes. Ours do none of that. */
#include "snapshot/h5.h"

#include <sys/stat.h>

enum { MOST_RANK = 2, NUMBER_BYTES = 8, LONGEST_NAME = 4096 };

static bool is_number(hid_t type)
{
    const H5T_class_t class = H5Tget_class(type);
    return (class == H5T_INTEGER || class == H5T_FLOAT) && H5Tget_size(type) <= NUMBER_BYTES;
}

/* A number, a name of fixed length, or a row of numbers. */
static bool holds_numbers(hid_t type)
{
    if (H5Tget_class(type) == H5T_STRING)
        return H5Tis_variable_str(type) == 0 && H5Tget_size(type) <= LONGEST_NAME;
    if (H5Tget_class(type) != H5T_COMPOUND) return is_number(type);
    bool all = H5Tget_nmembers(type) > 0;
    for (int i = 0; all && i < H5Tget_nmembers(type); i++) {
        const hid_t member = H5Tget_member_type(type, (unsigned)i);
        all = member >= 0 && is_number(member);
        if (member >= 0) H5Tclose(member);
    }
    return all;
}

/* Bytes of all numbers; beyond `most` some number that is larger than that. */
static hsize_t bytes_of(int rank, const hsize_t dim[MOST_RANK], hsize_t item, hsize_t most)
{
    hsize_t bytes = item;
    for (int i = 0; i < rank; i++)
        if (dim[i] == 0) return 0;
    for (int i = 0; i < rank; i++) {
        if (bytes > most / dim[i]) return most + 1;
        bytes *= dim[i];
    }
    return bytes;
}

/* Every number is stored, and the file is large enough for all that is. */
static enum shoal_status check_room(const struct h5 *h, const char *name, hid_t dataset, hid_t type,
                                    hid_t space)
{
    struct stat info;
    hsize_t dim[MOST_RANK] = {0, 0};
    const int rank = H5Sget_simple_extent_ndims(space);
    SHOAL_CHECK(rank == 1 || rank == MOST_RANK, SHOAL_EFORMAT, "%s: %s has %d dimensions", h->path,
                name, rank);
    if (H5Sget_simple_extent_dims(space, dim, NULL) < 0) return h5_fail_read(h, name);
    SHOAL_CHECK(stat(h->path, &info) == 0, SHOAL_EIO, "%s: vanished while it was read", h->path);
    const hsize_t stored = H5Dget_storage_size(dataset), most = (hsize_t)info.st_size;
    const hsize_t bytes = bytes_of(rank, dim, H5Tget_size(type), most);
    SHOAL_CHECK(bytes <= stored && stored <= most, SHOAL_EFORMAT,
                "%s: %s has more numbers than the file has room for; the file is damaged, use "
                "another snapshot",
                h->path, name);
    return SHOAL_OK;
}

/* In this file, as it is in memory but for checksums. */
static bool stored_plainly(hid_t how)
{
    bool plain = H5Pget_layout(how) != H5D_VIRTUAL && H5Pget_external_count(how) == 0;
    const int filters = H5Pget_nfilters(how);
    for (int i = 0; plain && i < filters; i++) {
        unsigned flags, config;
        size_t values = 0;
        plain = H5Pget_filter2(how, (unsigned)i, &flags, &values, NULL, 0, NULL, &config) ==
                H5Z_FILTER_FLETCHER32;
    }
    return plain && filters >= 0;
}

enum shoal_status h5_check_storage(const struct h5 *h, const char *name, hid_t dataset)
{
    const hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
    const hid_t how = H5Dget_create_plist(dataset);
    enum shoal_status st = SHOAL_OK;
    if (type < 0 || space < 0 || how < 0)
        st = h5_fail_read(h, name);
    else if (!holds_numbers(type))
        st = SHOAL_FAIL(SHOAL_EFORMAT, "%s: %s holds something else than numbers and names",
                        h->path, name);
    else if (!stored_plainly(how))
        st = SHOAL_FAIL(SHOAL_EFORMAT,
                        "%s: %s is compressed or stored outside the file, as no file of shoal's is",
                        h->path, name);
    else
        st = check_room(h, name, dataset, type, space);
    if (how >= 0) H5Pclose(how);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return st;
}
