#include "fuzz/h5_edit.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "fuzz/h5_edit_impl.h"
#include "snapshot/header.h"
#include "snapshot/seal.h"

enum { EDITS = 4, MOST_BYTES = 4 << 20 };

static herr_t note_name(hid_t group, const char *name, const H5L_info_t *info, void *out)
{
    struct h5_edit *const e = out;
    (void)group;
    (void)info;
    if (e->n < EDIT_NAMES && strlen(name) < EDIT_NAME - 1) {
        e->name[e->n][0] = '/';
        strcpy(e->name[e->n++] + 1, name);
    }
    return 0;
}

static const char *any_name(const struct h5_edit *e, struct fuzz_input *in)
{
    return e->name[fuzz_take(in, 1) % (unsigned)e->n];
}

/* ---- attributes ------------------------------------------------------------------------------ */

static void any_attribute_name(char out[EDIT_NAME], hid_t object, struct fuzz_input *in)
{
    static const char *const optional[] = {"lr_scale", "losses", "judged_step", "every"};
    const unsigned which = (unsigned)fuzz_take(in, 1);
    const int n = H5Aget_num_attrs(object);
    strcpy(out, optional[which % 4]);
    if (n > 0 && which >= 4)
        (void)H5Aget_name_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, which % (unsigned)n, out,
                                 EDIT_NAME, H5P_DEFAULT);
}

static hid_t type_of_attribute(hid_t object, const char *name)
{
    const hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    if (attribute < 0) return -1;
    const hid_t type = H5Aget_type(attribute);
    (void)H5Aclose(attribute);
    return type;
}

static void edit_attribute(const struct h5_edit *e, struct fuzz_input *in)
{
    char name[EDIT_NAME];
    const char *const owner = fuzz_take(in, 1) & 3 ? "/" : any_name(e, in);
    const hid_t object = H5Oopen(e->file, owner, H5P_DEFAULT);
    if (object < 0) return;
    any_attribute_name(name, object, in);
    const unsigned what = (unsigned)fuzz_take(in, 1);
    const hid_t like = type_of_attribute(object, name);
    (void)H5Adelete(object, name);
    if (what % 8) {
        const hid_t type = edit_type(in, like);
        const hid_t space = what & 8 ? edit_space(in, false) : H5Screate(H5S_SCALAR);
        /* HDF5 holds all of an attribute in memory. */
        const bool small = H5Tget_size(type) <= 4096;
        const hid_t made =
            small ? H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT) : -1;
        if (made >= 0) edit_fill(made, type, space, in, true);
        if (made >= 0) (void)H5Aclose(made);
        if (type >= 0) (void)H5Tclose(type);
        if (space >= 0) (void)H5Sclose(space);
    }
    if (like >= 0) (void)H5Tclose(like);
    (void)H5Oclose(object);
}

/* Another configuration, with the checksum that belongs to it. */
static void edit_config(const struct h5_edit *e, struct fuzz_input *in)
{
    static const char *const own[] = {"format",  "format_version", "step",   "run_id",
                                      "created", "shoal_version",  "config", "text_checksum"};
    const struct h5 h = {.file = e->file, .path = "edited"};
    char *format = NULL, *run_id = NULL;
    int64_t step = 0;
    char *config = fuzz_text(in);
    if (h5_get_text(&h, "/", "format", &format) == SHOAL_OK &&
        h5_get_text(&h, "/", "run_id", &run_id) == SHOAL_OK &&
        h5_get_int(&h, "/", "step", &step) == SHOAL_OK) {
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
            (void)H5Adelete(e->file, own[i]);
        (void)header_write(&h, format, run_id, step, config);
    }
    free(format);
    free(run_id);
    free(config);
}

/* ---- links ----------------------------------------------------------------------------------- */

static void edit_link(const struct h5_edit *e, struct fuzz_input *in)
{
    static const char beside[] = FUZZ_SECRET_H5, above[] = "../" FUZZ_SECRET_H5;
    static const char *const outside[] = {beside, above, "/etc/passwd", "../../../../etc/passwd"};
    const char *const name = any_name(e, in);
    const char *const other = any_name(e, in);
    const unsigned kind = (unsigned)fuzz_take(in, 1) % 8;
    char longer[2 * EDIT_NAME + 8];
    (void)snprintf(longer, sizeof longer, "%s/again", name);
    /* A link to a group from inside it makes a circle. */
    if (kind == 4) (void)H5Lcreate_hard(e->file, other, e->file, longer, H5P_DEFAULT, H5P_DEFAULT);
    if (kind >= 4 && kind <= 5) return;
    (void)H5Ldelete(e->file, name, H5P_DEFAULT);
    if (kind == 1) (void)H5Lcreate_soft(other, e->file, name, H5P_DEFAULT, H5P_DEFAULT);
    if (kind == 2)
        (void)H5Lcreate_external(outside[fuzz_take(in, 1) % 4], name, e->file, name, H5P_DEFAULT,
                                 H5P_DEFAULT);
    if (kind == 3) (void)H5Lcreate_hard(e->file, other, e->file, name, H5P_DEFAULT, H5P_DEFAULT);
    if (kind == 6) {
        const hid_t type = H5Tcopy(H5T_NATIVE_INT32);
        (void)H5Tcommit2(e->file, name, type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        (void)H5Tclose(type);
    }
    if (kind == 7) {
        const hid_t group = H5Gcreate2(e->file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        if (group >= 0) (void)H5Gclose(group);
    }
}

static void edit_once(const struct h5_edit *e, struct fuzz_input *in)
{
    switch (fuzz_take(in, 1) % 8) {
    case 0:
    case 1:
    case 2:
        edit_attribute(e, in);
        break;
    case 3:
        edit_link(e, in);
        break;
    case 4:
        edit_config(e, in);
        break;
    default:
        edit_dataset(e, any_name(e, in), in);
    }
}

bool h5_edit(const char *path, struct fuzz_input *in)
{
    static struct h5_edit e;
    (void)H5dont_atexit();
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    const hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    (void)H5Pset_fclose_degree(list, H5F_CLOSE_STRONG);
    (void)H5Pset_libver_bounds(list, H5F_LIBVER_V110, H5F_LIBVER_V110);
    e.file = H5Fopen(path, H5F_ACC_RDWR, list);
    (void)H5Pclose(list);
    fuzz_must(e.file >= 0, "a file to edit");
    e.n = 0;
    (void)H5Lvisit(e.file, H5_INDEX_NAME, H5_ITER_INC, note_name, &e);
    strcpy(e.name[e.n == EDIT_NAMES ? EDIT_NAMES - 1 : e.n++], "/");
    for (int i = 0; i < EDITS && in->left > 0; i++)
        edit_once(&e, in);
    (void)H5Fclose(e.file);
    struct stat file;
    if (stat(path, &file) != 0 || file.st_size > MOST_BYTES) return false;
    fuzz_must(seal_write(path) == SHOAL_OK, "a seal");
    return true;
}
