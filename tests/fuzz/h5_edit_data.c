/* h5_edit_data.c - types, extents, storage and numbers that no file of ours has. */
#include <stdlib.h>
#include <string.h>
#include "fuzz/h5_edit_impl.h"

/* ---- types ----------------------------------------------------------------------------------- */

static hid_t text_type(size_t bytes)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    (void)H5Tset_size(type, bytes);
    return type;
}

static hid_t sized(H5T_class_t class, size_t bytes)
{
    return H5Tcreate(class, bytes);
}

/* Columns as tables of ours have, of one type all. */
static hid_t table_type(struct fuzz_input *in)
{
    static const char *const column[] = {"step", "best",   "time_s", "best_fitness", "spread",
                                         "body", "expert", "bytes",  "xxh64",        "kind"};
    enum { COLUMNS = sizeof column / sizeof column[0] };
    const hid_t item = fuzz_take(in, 1) & 1 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64;
    const hid_t type = sized(H5T_COMPOUND, COLUMNS * 8);
    for (size_t i = 0; i < COLUMNS; i++)
        (void)H5Tinsert(type, column[i], i * 8, item);
    return type;
}

static hid_t array_type(void)
{
    const hsize_t three = 3;
    return H5Tarray_create2(H5T_NATIVE_FLOAT, 1, &three);
}

hid_t edit_type(struct fuzz_input *in, hid_t like)
{
    const hid_t plain[] = {H5T_IEEE_F32LE, H5T_IEEE_F64BE, H5T_STD_I8LE,   H5T_STD_I64LE,
                           H5T_STD_U64BE,  H5T_STD_U16LE,  H5T_STD_REF_OBJ};
    enum { PLAIN = sizeof plain / sizeof plain[0] };
    const unsigned which = (unsigned)fuzz_take(in, 1) % 24;
    if (which < PLAIN) return H5Tcopy(plain[which]);
    switch (which) {
    case PLAIN:
        return text_type(H5T_VARIABLE);
    case PLAIN + 1:
        return text_type(1 + (size_t)fuzz_take(in, 1));
    case PLAIN + 2:
        return table_type(in);
    case PLAIN + 3:
        return array_type();
    case PLAIN + 4:
        return sized(H5T_OPAQUE, 1 + (size_t)fuzz_take(in, 4) % (4 << 20));
    case PLAIN + 5:
        return H5Tvlen_create(H5T_NATIVE_INT32);
    case PLAIN + 6:
        return H5Tenum_create(H5T_NATIVE_INT32);
    default:
        return like >= 0 ? H5Tcopy(like) : H5Tcopy(H5T_STD_I64LE);
    }
}

/* ---- extents --------------------------------------------------------------------------------- */

static hsize_t any_size(struct fuzz_input *in, bool may_be_large)
{
    const hsize_t large[] = {(hsize_t)1 << 16,       (hsize_t)1 << 31, ((hsize_t)1 << 32) + 1,
                             (hsize_t)1 << 40,       (hsize_t)1 << 60, ((hsize_t)1 << 61) + 1,
                             ((hsize_t)1 << 62) / 24};
    const unsigned value = (unsigned)fuzz_take(in, 1);
    if (may_be_large && value >= 0xF0) return large[value % (sizeof large / sizeof large[0])];
    return value % 16;
}

hid_t edit_space(struct fuzz_input *in, bool may_be_large)
{
    enum { RANKS = 4 };
    hsize_t dim[RANKS], most[RANKS];
    const unsigned kind = (unsigned)fuzz_take(in, 1) % 8;
    if (kind == 0) return H5Screate(H5S_SCALAR);
    if (kind == 1) return H5Screate(H5S_NULL);
    const int rank = kind < 4 ? 1 : kind < 7 ? 2 : RANKS;
    for (int i = 0; i < rank; i++) {
        dim[i] = any_size(in, may_be_large);
        most[i] = kind & 1 ? H5S_UNLIMITED : dim[i];
    }
    return H5Screate_simple(rank, dim, most);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void write_to(hid_t object, hid_t type, const void *bytes, bool attribute)
{
    if (attribute)
        (void)H5Awrite(object, type, bytes);
    else
        (void)H5Dwrite(object, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes);
}

/* How many there are, beyond `most` some number that is larger; HDF5's own count overflows. */
static hsize_t count_items(hid_t space, hsize_t most)
{
    hsize_t dim[4] = {0}, count = H5Sget_simple_extent_type(space) == H5S_NULL ? 0 : 1;
    const int rank = H5Sget_simple_extent_dims(space, dim, NULL);
    for (int i = 0; i < rank; i++)
        if (dim[i] == 0) return 0;
    for (int i = 0; i < rank; i++) {
        if (count > most / dim[i]) return most + 1;
        count *= dim[i];
    }
    return count;
}

void edit_fill(hid_t object, hid_t type, hid_t space, struct fuzz_input *in, bool attribute)
{
    enum { MOST = 1 << 14, MOST_ITEMS = 1 << 9 }; /* a chunk each takes some 50 KiB */
    const hsize_t count = count_items(space, MOST_ITEMS);
    const size_t item = H5Tget_size(type);
    if (count == 0 || count > MOST_ITEMS || item == 0 || count > MOST / item) return;
    unsigned char *bytes = calloc(count, item);
    fuzz_must(bytes != NULL, "memory");
    char *text = NULL;
    /* What has pointers in it gets one text, or stays empty. */
    if (H5Tis_variable_str(type) > 0) {
        text = fuzz_text(in);
        memcpy(bytes, &text, sizeof text);
    } else if (H5Tdetect_class(type, H5T_VLEN) <= 0) {
        for (size_t i = 0; i < count * item; i++)
            bytes[i] = (unsigned char)fuzz_take(in, 1);
    }
    write_to(object, type, bytes, attribute);
    free(text);
    free(bytes);
}

/* ---- storage --------------------------------------------------------------------------------- */

static void add_filter(hid_t how, unsigned which)
{
    if (which == 1) (void)H5Pset_deflate(how, 9);
    if (which == 2) (void)H5Pset_shuffle(how);
    if (which >= 3) (void)H5Pset_fletcher32(how);
}

static void map_virtually(hid_t how, hid_t space)
{
    const hid_t all = H5Scopy(space);
    (void)H5Pset_virtual(how, all, FUZZ_SECRET_H5, "/params/wte/weight", all);
    (void)H5Sclose(all);
}

static hid_t any_storage(struct fuzz_input *in, hid_t type, hid_t space)
{
    const hid_t how = H5Pcreate(H5P_DATASET_CREATE);
    const unsigned kind = (unsigned)fuzz_take(in, 1) % 8;
    hsize_t chunk[4];
    const int rank = H5Sget_simple_extent_ndims(space);
    if (kind == 0) (void)H5Pset_layout(how, H5D_COMPACT);
    if (kind == 1) (void)H5Pset_external(how, FUZZ_SECRET_BYTES, 0, H5F_UNLIMITED);
    if (kind == 2) map_virtually(how, space);
    if (kind < 4 || rank < 1) return how;
    /* Chunks are made in memory: not too large. */
    const unsigned most = H5Tget_size(type) > 256 ? 1 : 16;
    for (int i = 0; i < rank; i++)
        chunk[i] = 1 + fuzz_take(in, 1) % most;
    (void)H5Pset_chunk(how, rank, chunk);
    add_filter(how, (unsigned)fuzz_take(in, 1) % 8);
    return how;
}

/* The extent of what was there, or any. */
static hid_t space_like(struct fuzz_input *in, hid_t like)
{
    const bool same = fuzz_take(in, 1) & 1;
    const hid_t space = same && like >= 0 ? H5Dget_space(like) : -1;
    return space >= 0 ? space : edit_space(in, true);
}

void edit_dataset(const struct h5_edit *e, const char *name, struct fuzz_input *in)
{
    const hid_t like = H5Dopen2(e->file, name, H5P_DEFAULT);
    const hid_t like_type = like >= 0 ? H5Dget_type(like) : -1;
    const hid_t type = edit_type(in, like_type), space = space_like(in, like);
    const hid_t how = any_storage(in, type, space);
    if (like >= 0) (void)H5Dclose(like);
    (void)H5Ldelete(e->file, name, H5P_DEFAULT);
    const hid_t set = H5Dcreate2(e->file, name, type, space, H5P_DEFAULT, how, H5P_DEFAULT);
    /* What is mapped to another file would be written there, at any cost. */
    if (set >= 0 && H5Pget_layout(how) != H5D_VIRTUAL) edit_fill(set, type, space, in, false);
    if (set >= 0) (void)H5Dclose(set);
    if (like_type >= 0) (void)H5Tclose(like_type);
    if (type >= 0) (void)H5Tclose(type);
    if (space >= 0) (void)H5Sclose(space);
    (void)H5Pclose(how);
}
