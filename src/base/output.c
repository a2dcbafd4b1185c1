/* output.c - see output.h. */
#include "base/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE_BYTES = 1 << 30 };

enum shoal_status output_refuse_existing(const char *path)
{
    struct stat info;
    SHOAL_CHECK(path[0], SHOAL_EARG, "the output needs a name; give --out PATH");
    SHOAL_CHECK(lstat(path, &info) != 0, SHOAL_EIO,
                "'%s' is there already, and nothing is overwritten: remove it, or choose another "
                "name",
                path);
    return SHOAL_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

enum shoal_status output_open(struct output *out, const char *path, int64_t bytes)
{
    char temp[SHOAL_MAX_PATH];
    *out = (struct output){.fd = -1, .path = path};
    SHOAL_TRY(file_temp_name(temp, path));
    out->fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    SHOAL_CHECK(out->fd >= 0, SHOAL_EIO, "cannot write '%s': %s", path, strerror(errno));
    memcpy(out->temp, temp, sizeof temp);
    SHOAL_CHECK(ftruncate(out->fd, bytes) == 0, SHOAL_EIO, "cannot make '%s' of %lld bytes: %s",
                path, (long long)bytes, strerror(errno));
    return SHOAL_OK;
}

enum shoal_status output_write(const struct output *out, const void *data, int64_t offset,
                               int64_t bytes)
{
    const char *from = data;
    while (bytes > 0) {
        const size_t part = bytes < WRITE_BYTES ? (size_t)bytes : WRITE_BYTES;
        const ssize_t wrote = pwrite(out->fd, from, part, offset);
        if (wrote < 0 && errno == EINTR) continue;
        SHOAL_CHECK(wrote > 0, SHOAL_EIO, "cannot write '%s': %s", out->path,
                    wrote < 0 ? strerror(errno) : "no space");
        from += wrote;
        offset += wrote;
        bytes -= wrote;
    }
    return SHOAL_OK;
}

enum shoal_status output_commit(struct output *out)
{
    const int fd = out->fd;
    out->fd = -1;
    /* Network file systems report a full disk only here. */
    SHOAL_CHECK(close(fd) == 0, SHOAL_EIO, "cannot write '%s': %s", out->path, strerror(errno));
    const enum shoal_status st = file_commit(out->temp, out->path); /* removes it on failure */
    out->temp[0] = 0;
    return st;
}

void output_close(struct output *out)
{
    if (out->fd >= 0) close(out->fd);
    if (out->temp[0]) unlink(out->temp);
    out->fd = -1;
    out->temp[0] = 0;
}

/* ---- directories ----------------------------------------------------------------------------- */

/* Without the slashes at its end, which would make the temporary name one inside it. */
static enum shoal_status trim(char *out, const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    return path_format(out, "%.*s", (int)length, path);
}

enum shoal_status output_dir_make(char *temp, const char *path)
{
    char name[SHOAL_MAX_PATH], trimmed[SHOAL_MAX_PATH];
    temp[0] = 0;
    SHOAL_TRY(trim(trimmed, path));
    SHOAL_TRY(file_temp_name(name, trimmed));
    SHOAL_CHECK(mkdir(name, 0777) == 0, SHOAL_EIO, "cannot make directory '%s': %s", trimmed,
                strerror(errno));
    memcpy(temp, name, sizeof name);
    return SHOAL_OK;
}

enum shoal_status output_dir_commit(char *temp, const char *path)
{
    char trimmed[SHOAL_MAX_PATH];
    SHOAL_TRY(trim(trimmed, path));
    SHOAL_TRY(output_refuse_existing(trimmed)); /* an empty directory would be replaced */
    SHOAL_CHECK(rename(temp, trimmed) == 0, SHOAL_EIO, "cannot put '%s' in place: %s", trimmed,
                strerror(errno));
    temp[0] = 0;
    return file_sync_parent(trimmed);
}

void output_dir_remove(char *temp)
{
    char path[SHOAL_MAX_PATH];
    DIR *dir = temp[0] ? opendir(temp) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        const int length = snprintf(path, sizeof path, "%s/%s", temp, entry->d_name);
        if (length > 0 && length < SHOAL_MAX_PATH) unlink(path);
    }
    if (dir) closedir(dir);
    if (temp[0]) rmdir(temp);
    temp[0] = 0;
}
