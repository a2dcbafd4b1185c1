/* h5_file.c - files, groups and links, and what the library says when it fails.
 *
 * HDF5 keeps a stack of errors of the last call, deepest cause last to be printed and usually the
 * only useful line ("data error detected by Fletcher32 checksum"). Its own printing is switched
 * off; the deepest text goes into our message instead. */
#include "snapshot/h5.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "snapshot/seal.h"

struct cause {
    char text[160];
    bool not_hdf5;
};

static herr_t note_cause(unsigned depth, const H5E_error2_t *error, void *out)
{
    struct cause *cause = out;
    if (error->min_num == H5E_NOTHDF5) cause->not_hdf5 = true;
    if (depth > 0 || !error->desc) return 0;
    /* System errors come as one long line; what strerror says is in quotes. */
    const char *quoted = strstr(error->desc, "error message = '");
    const char *from = quoted ? strchr(quoted, '\'') + 1 : error->desc;
    const size_t length = quoted ? strcspn(from, "'") : strcspn(from, "\n");
    snprintf(cause->text, sizeof cause->text, "%.*s", (int)length, from);
    return 0;
}

static struct cause last_cause(void)
{
    struct cause cause = {"unknown cause", false};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, note_cause, &cause);
    return cause;
}

enum shoal_status h5_fail_read(const struct h5 *h, const char *object)
{
    const struct cause cause = last_cause();
    return SHOAL_FAIL(SHOAL_EFORMAT,
                      "%s: cannot read %s: %s; the file is damaged, use another snapshot", h->path,
                      object, cause.text);
}

enum shoal_status h5_fail_write(const struct h5 *h, const char *object)
{
    const struct cause cause = last_cause();
    return SHOAL_FAIL(SHOAL_EIO, "%s: cannot write %s: %s", h->path, object, cause.text);
}

/* Before anything else is asked of the library. It would crash when the program ends with a file
 * open that could not be written, so it is not called then; we close what we open. */
static herr_t library_begin(void)
{
    (void)H5dont_atexit(); /* fails from the second time on */
    return H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* How files are opened and created; negative on failure. */
static hid_t access_properties(void)
{
    const hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    if (list < 0) return list;
    herr_t ok = H5Pset_libver_bounds(list, H5F_LIBVER_V110, H5F_LIBVER_V110);
    if (ok >= 0) ok = H5Pset_fclose_degree(list, H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
    if (ok >= 0) ok = H5Pset_file_locking(list, false, true);
#endif
    if (ok >= 0) return list;
    H5Pclose(list);
    return -1;
}

enum shoal_status h5_open(struct h5 *h, const char *path)
{
    *h = (struct h5){.file = -1, .path = path};
    struct stat info;
    SHOAL_CHECK(stat(path, &info) == 0 && access(path, R_OK) == 0, SHOAL_EIO,
                "%s: no such file, or not readable", path);
    SHOAL_CHECK(S_ISREG(info.st_mode), SHOAL_EFORMAT, "%s is not a shoal snapshot: it is %s", path,
                S_ISDIR(info.st_mode) ? "a directory" : "no file");
    if (library_begin() < 0) return h5_fail_read(h, "anything");
    const hid_t list = access_properties();
    if (list < 0) return h5_fail_read(h, "anything");
    h->file = H5Fopen(path, H5F_ACC_RDONLY, list);
    const struct cause cause = last_cause();
    H5Pclose(list);
    if (h->file >= 0) return SHOAL_OK;
    SHOAL_CHECK(!cause.not_hdf5, SHOAL_EFORMAT, "%s is not a shoal snapshot: not an HDF5 file",
                path);
    return SHOAL_FAIL(SHOAL_EFORMAT,
                      "%s: cannot be opened: %s; the file is damaged, use another snapshot", path,
                      cause.text);
}

enum shoal_status h5_create(struct h5 *h, const char *path)
{
    *h = (struct h5){.file = -1, .path = path};
    char temp[SHOAL_MAX_PATH];
    SHOAL_TRY(file_temp_name(temp, path));
    if (library_begin() < 0) return h5_fail_write(h, "anything");
    const hid_t list = access_properties(), how = H5Pcreate(H5P_FILE_CREATE);
    if (list >= 0 && how >= 0 && H5Pset_userblock(how, SEAL_BYTES) >= 0)
        h->file = H5Fcreate(temp, H5F_ACC_TRUNC, how, list);
    const enum shoal_status st = h->file < 0 ? h5_fail_write(h, "a new file") : SHOAL_OK;
    if (how >= 0) H5Pclose(how);
    if (list >= 0) H5Pclose(list);
    /* From here on there is a file to remove if we fail. */
    if (st == SHOAL_OK) memcpy(h->temp, temp, sizeof temp);
    return st;
}

/* The descriptor below an open file; -1: there is none. */
static int descriptor(hid_t file)
{
    void *handle = NULL;
    return H5Fget_vfd_handle(file, H5P_DEFAULT, &handle) >= 0 && handle ? *(int *)handle : -1;
}

enum shoal_status h5_reserve(struct h5 *h, int64_t bytes)
{
    const int fd = descriptor(h->file);
    return fd < 0 ? SHOAL_OK : file_reserve(fd, h->path, bytes);
}

void h5_hurry(const struct h5 *h, int64_t bytes)
{
    enum { WORTH_BYTES = 4 << 20 };
    const int fd = bytes < WORTH_BYTES ? -1 : descriptor(h->file);
    if (fd >= 0) file_begin_flush(fd);
}

/* Close a file that is being given up. What the library cannot write it keeps open for ever, so it
 * is given the room that the file itself took; at worst the file stays open, nearly empty. */
static void give_up(hid_t file)
{
    const int fd = descriptor(file);
    if (fd >= 0 && ftruncate(fd, 0) != 0)
        log_warn("a file that was given up takes room on the disk until it is closed");
    H5Fclose(file);
}

enum shoal_status h5_commit(struct h5 *h, int64_t *bytes)
{
    struct stat info;
    /* What can fail fails here, where h5_close can still give the file up. */
    if (H5Fflush(h->file, H5F_SCOPE_LOCAL) < 0) return h5_fail_write(h, "the end of the file");
    const hid_t file = h->file;
    h->file = -1;
    if (H5Fclose(file) < 0) return h5_fail_write(h, "the end of the file");
    /* Room that was reserved and not needed goes back. */
    SHOAL_CHECK(stat(h->temp, &info) == 0 && truncate(h->temp, info.st_size) == 0, SHOAL_EIO,
                "%s: vanished while it was written", h->path);
    SHOAL_TRY(seal_write(h->temp));
    SHOAL_TRY(file_commit(h->temp, h->path));
    h->temp[0] = 0;
    SHOAL_CHECK(stat(h->path, &info) == 0, SHOAL_EIO, "%s: vanished after it was written", h->path);
    if (bytes) *bytes = info.st_size;
    return SHOAL_OK;
}

void h5_close(struct h5 *h)
{
    if (h->file >= 0 && h->temp[0])
        give_up(h->file);
    else if (h->file >= 0)
        H5Fclose(h->file);
    if (h->temp[0]) unlink(h->temp);
    h->file = -1;
    h->temp[0] = 0;
}

/* Links that make their missing parent groups; negative on failure. */
static hid_t link_properties(void)
{
    const hid_t list = H5Pcreate(H5P_LINK_CREATE);
    if (list >= 0 && H5Pset_create_intermediate_group(list, 1) < 0) {
        H5Pclose(list);
        return -1;
    }
    return list;
}

enum shoal_status h5_group(const struct h5 *h, const char *name)
{
    enum shoal_status st = SHOAL_OK;
    hid_t group = -1;
    const hid_t list = link_properties();
    if (list >= 0) group = H5Gcreate2(h->file, name, list, H5P_DEFAULT, H5P_DEFAULT);
    if (group < 0) st = h5_fail_write(h, name);
    if (group >= 0) H5Gclose(group);
    if (list >= 0) H5Pclose(list);
    return st;
}

bool h5_exists(const struct h5 *h, const char *name)
{
    char part[SHOAL_MAX_PATH];
    for (const char *end = name + 1; *end; end += *end == '/') {
        end += strcspn(end, "/");
        snprintf(part, sizeof part, "%.*s", (int)(end - name), name);
        H5L_info_t info;
        if (H5Lget_info(h->file, part, &info, H5P_DEFAULT) < 0 || info.type != H5L_TYPE_HARD)
            return false;
    }
    return true;
}

enum shoal_status h5_link_file(const struct h5 *h, const char *name, const char *target)
{
    enum shoal_status st = SHOAL_OK;
    const hid_t list = link_properties();
    if (list < 0 || H5Lcreate_external(target, "/", h->file, name, list, H5P_DEFAULT) < 0)
        st = h5_fail_write(h, name);
    if (list >= 0) H5Pclose(list);
    return st;
}
