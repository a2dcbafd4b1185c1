/* h5_attribute.c - scalar attributes of groups. */
#include "snapshot/h5.h"

#include <stdio.h>
#include <string.h>
#include "base/memory.h"

/* "attribute 'step' of /": how messages call it. */
static const char *attribute_name(char out[96], const char *group, const char *name)
{
    snprintf(out, 96, "attribute '%s' of %s", name, group);
    return out;
}

static enum shoal_status set_scalar(const struct h5 *h, const char *group, const char *name,
                                    hid_t file_type, hid_t memory_type, const void *value)
{
    char label[96];
    enum shoal_status st = SHOAL_OK;
    hid_t attribute = -1;
    const hid_t space = H5Screate(H5S_SCALAR);
    if (space >= 0)
        attribute = H5Acreate_by_name(h->file, group, name, file_type, space, H5P_DEFAULT,
                                      H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0 || H5Awrite(attribute, memory_type, value) < 0)
        st = h5_fail_write(h, attribute_name(label, group, name));
    if (attribute >= 0) H5Aclose(attribute);
    if (space >= 0) H5Sclose(space);
    return st;
}

enum shoal_status h5_set_int(const struct h5 *h, const char *group, const char *name, int64_t value)
{
    return set_scalar(h, group, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

enum shoal_status h5_set_double(const struct h5 *h, const char *group, const char *name,
                                double value)
{
    return set_scalar(h, group, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

hid_t h5_text_type(H5T_cset_t charset)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    if (type < 0) return type;
    if (H5Tset_size(type, H5T_VARIABLE) >= 0 && H5Tset_cset(type, charset) >= 0) return type;
    H5Tclose(type);
    return -1;
}

enum shoal_status h5_set_text(const struct h5 *h, const char *group, const char *name,
                              const char *text)
{
    const hid_t type = h5_text_type(H5T_CSET_UTF8);
    if (type < 0) return h5_fail_write(h, name);
    const enum shoal_status st = set_scalar(h, group, name, type, type, &text);
    H5Tclose(type);
    return st;
}

/* Whether an open attribute is one value of this class. */
static bool is_scalar(hid_t attribute, H5T_class_t class)
{
    const hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    bool ok = type >= 0 && space >= 0 && H5Tget_class(type) == class &&
              H5Sget_simple_extent_npoints(space) == 1;
    if (ok) ok = class == H5T_STRING ? H5Tis_variable_str(type) > 0 : H5Tget_size(type) <= 8;
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    return ok;
}

static enum shoal_status get_scalar(const struct h5 *h, const char *group, const char *name,
                                    H5T_class_t class, hid_t memory_type, void *value)
{
    char label[96];
    attribute_name(label, group, name);
    SHOAL_CHECK(strcmp(group, "/") == 0 || h5_exists(h, group), SHOAL_EFORMAT,
                "%s: group %s is missing", h->path, group);
    const htri_t there = H5Aexists_by_name(h->file, group, name, H5P_DEFAULT);
    if (there < 0) return h5_fail_read(h, label);
    SHOAL_CHECK(there, SHOAL_EFORMAT, "%s: %s is missing", h->path, label);
    const hid_t attribute = H5Aopen_by_name(h->file, group, name, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0) return h5_fail_read(h, label);
    enum shoal_status st = SHOAL_OK;
    if (!is_scalar(attribute, class))
        st = SHOAL_FAIL(SHOAL_EFORMAT, "%s: %s is not a single %s", h->path, label,
                        class == H5T_STRING    ? "variable-length text"
                        : class == H5T_INTEGER ? "integer"
                                               : "floating-point number");
    else if (H5Aread(attribute, memory_type, value) < 0)
        st = h5_fail_read(h, label);
    H5Aclose(attribute);
    return st;
}

enum shoal_status h5_get_int(const struct h5 *h, const char *group, const char *name,
                             int64_t *value)
{
    return get_scalar(h, group, name, H5T_INTEGER, H5T_NATIVE_INT64, value);
}

enum shoal_status h5_get_int32(const struct h5 *h, const char *group, const char *name, int low,
                               int high, int *value)
{
    int64_t wide = 0;
    SHOAL_TRY(h5_get_int(h, group, name, &wide));
    SHOAL_CHECK(wide >= low && wide <= high, SHOAL_EFORMAT,
                "%s: attribute '%s' of %s is %lld, not in %d .. %d", h->path, name, group,
                (long long)wide, low, high);
    *value = (int)wide;
    return SHOAL_OK;
}

enum shoal_status h5_get_double(const struct h5 *h, const char *group, const char *name,
                                double *value)
{
    return get_scalar(h, group, name, H5T_FLOAT, H5T_NATIVE_DOUBLE, value);
}

enum shoal_status h5_get_text(const struct h5 *h, const char *group, const char *name, char **text)
{
    const hid_t type = h5_text_type(H5T_CSET_UTF8);
    if (type < 0) return h5_fail_read(h, name);
    char *found = NULL;
    enum shoal_status st = get_scalar(h, group, name, H5T_STRING, type, &found);
    H5Tclose(type);
    if (st != SHOAL_OK) return st;
    const size_t length = found ? strlen(found) : 0;
    st = mem_alloc(length + 1, "text of an attribute", text);
    if (st == SHOAL_OK && length) memcpy(*text, found, length);
    H5free_memory(found);
    return st;
}

bool h5_has_attribute(const struct h5 *h, const char *group, const char *name)
{
    return H5Aexists_by_name(h->file, group, name, H5P_DEFAULT) > 0;
}
