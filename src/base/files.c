/* files.c - files appear whole or not at all: temporary name in the same directory, fsync, rename,
 * fsync of the directory. A kill at any instant leaves the old file, the new one, or a ".tmp-"
 * name that dir_sweep_temps removes. */
#define _GNU_SOURCE /* fallocate, sync_file_range */
#include "base/files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "base/memory.h"

static const char temp_prefix[] = ".tmp-";

enum shoal_status path_format(char *out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int length = vsnprintf(out, SHOAL_MAX_PATH, fmt, args);
    va_end(args);
    SHOAL_CHECK(length >= 0 && length < SHOAL_MAX_PATH, SHOAL_EARG,
                "path '%.40s...' is longer than %d bytes; use a shorter one", out,
                SHOAL_MAX_PATH - 1);
    return SHOAL_OK;
}

bool path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool path_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

enum shoal_status path_free_bytes(const char *path, int64_t *bytes)
{
    struct statvfs info;
    SHOAL_CHECK(statvfs(path, &info) == 0, SHOAL_EIO, "%s: cannot tell how much is free: %s", path,
                strerror(errno));
    const uint64_t free = (uint64_t)info.f_bavail * info.f_frsize;
    *bytes = free < INT64_MAX ? (int64_t)free : INT64_MAX;
    return SHOAL_OK;
}

enum shoal_status file_reserve(int fd, const char *path, int64_t bytes)
{
#ifdef FALLOC_FL_KEEP_SIZE
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0) return SHOAL_OK;
    SHOAL_CHECK(errno != ENOSPC && errno != EDQUOT && errno != EFBIG, SHOAL_EIO,
                "cannot write '%s': no room for its %lld bytes: %s", path, (long long)bytes,
                strerror(errno));
#else
    (void)fd;
    (void)path;
    (void)bytes;
#endif
    return SHOAL_OK;
}

void file_begin_flush(int fd)
{
#ifdef SYNC_FILE_RANGE_WRITE
    /* A hint: what could not be written will be told when it is waited for. */
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
#else
    (void)fd;
#endif
}

enum shoal_status dir_make(const char *path)
{
    char part[SHOAL_MAX_PATH];
    SHOAL_TRY(path_format(part, "%s", path));
    /* Every prefix that ends before a '/', then the whole. */
    for (char *end = part + 1; part[0]; end++) {
        const char kept = *end;
        if (kept != '/' && kept != 0) continue;
        *end = 0;
        if (mkdir(part, 0777) != 0 && !path_is_dir(part)) {
            return SHOAL_FAIL(SHOAL_EIO, "cannot make directory '%s': %s", part, strerror(errno));
        }
        if (kept == 0) return SHOAL_OK;
        *end = kept;
    }
    return SHOAL_FAIL(SHOAL_EARG, "cannot make a directory with an empty name");
}

enum shoal_status path_parent(char *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return path_format(out, ".");
    if (slash == path) return path_format(out, "/");
    return path_format(out, "%.*s", (int)(slash - path), path);
}

enum shoal_status file_temp_name(char *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    return path_format(out, "%.*s%s%s-%ld", (int)(name - path), path, temp_prefix, name,
                       (long)getpid());
}

static enum shoal_status sync_path(const char *path, int flags)
{
    const int fd = open(path, flags | O_CLOEXEC);
    SHOAL_CHECK(fd >= 0, SHOAL_EIO, "cannot open '%s' to flush it to disk: %s", path,
                strerror(errno));
    /* EINVAL: a file system that cannot flush directories, and needs not. */
    const int error = fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
    close(fd);
    SHOAL_CHECK(error == 0, SHOAL_EIO, "cannot flush '%s' to disk: %s", path, strerror(error));
    return SHOAL_OK;
}

enum shoal_status file_sync_parent(const char *path)
{
    char parent[SHOAL_MAX_PATH];
    SHOAL_TRY(path_parent(parent, path));
    return sync_path(parent, O_RDONLY | O_DIRECTORY);
}

enum shoal_status file_commit(const char *temp, const char *path)
{
    enum shoal_status st;
    SHOAL_GOTO(sync_path(temp, O_RDONLY));
    if (rename(temp, path) != 0) {
        st = SHOAL_FAIL(SHOAL_EIO, "cannot put '%s' in place: %s", path, strerror(errno));
        goto done;
    }
    return file_sync_parent(path);
done:
    unlink(temp); /* the first failure is the one to report */
    return st;
}

static enum shoal_status write_all(int fd, const char *path, const char *data, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t wrote = write(fd, data, bytes);
        if (wrote < 0 && errno == EINTR) continue;
        SHOAL_CHECK(wrote > 0, SHOAL_EIO, "cannot write '%s': %s", path,
                    wrote < 0 ? strerror(errno) : "no space");
        data += wrote;
        bytes -= (size_t)wrote;
    }
    return SHOAL_OK;
}

enum shoal_status file_write(const char *path, const void *data, size_t bytes)
{
    char temp[SHOAL_MAX_PATH];
    SHOAL_TRY(file_temp_name(temp, path));
    const int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    SHOAL_CHECK(fd >= 0, SHOAL_EIO, "cannot write '%s': %s", path, strerror(errno));
    enum shoal_status st = write_all(fd, path, data, bytes);
    /* Network file systems report a full disk only here. */
    if (close(fd) != 0 && st == SHOAL_OK) {
        st = SHOAL_FAIL(SHOAL_EIO, "cannot write '%s': %s", path, strerror(errno));
    }
    if (st == SHOAL_OK) return file_commit(temp, path);
    unlink(temp);
    return st;
}

static enum shoal_status read_all(int fd, const char *path, char *data, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t got = read(fd, data, bytes);
        if (got < 0 && errno == EINTR) continue;
        SHOAL_CHECK(got >= 0, SHOAL_EIO, "cannot read '%s': %s", path, strerror(errno));
        SHOAL_CHECK(got > 0, SHOAL_EIO, "'%s' became shorter while it was read", path);
        data += got;
        bytes -= (size_t)got;
    }
    return SHOAL_OK;
}

static enum shoal_status read_open_file(int fd, const char *path, char **data, size_t *bytes)
{
    struct stat info;
    SHOAL_CHECK(fstat(fd, &info) == 0, SHOAL_EIO, "cannot read '%s': %s", path, strerror(errno));
    SHOAL_CHECK(S_ISREG(info.st_mode), SHOAL_EIO, "'%s' is not a file", path);
    SHOAL_CHECK((uintmax_t)info.st_size < SIZE_MAX, SHOAL_EIO, "'%s' is too large", path);
    const size_t size = (size_t)info.st_size;
    char *text;
    SHOAL_TRY(mem_alloc(size + 1, path, &text));
    const enum shoal_status st = read_all(fd, path, text, size);
    if (st != SHOAL_OK) {
        mem_free(text);
        return st;
    }
    *data = text;
    *bytes = size;
    return SHOAL_OK;
}

enum shoal_status file_read(const char *path, char **data, size_t *bytes)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would make it wait */
    SHOAL_CHECK(fd >= 0, SHOAL_EIO, "cannot read '%s': %s", path, strerror(errno));
    const enum shoal_status st = read_open_file(fd, path, data, bytes);
    close(fd);
    return st;
}

enum shoal_status link_replace(const char *path, const char *target)
{
    char temp[SHOAL_MAX_PATH];
    SHOAL_TRY(file_temp_name(temp, path));
    unlink(temp); /* a leftover of the same process number */
    SHOAL_CHECK(symlink(target, temp) == 0, SHOAL_EIO, "cannot make link '%s': %s", path,
                strerror(errno));
    if (rename(temp, path) != 0) {
        const int error = errno;
        unlink(temp);
        return SHOAL_FAIL(SHOAL_EIO, "cannot put link '%s' in place: %s", path, strerror(error));
    }
    return file_sync_parent(path);
}

enum shoal_status dir_sweep_temps(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir && errno == ENOENT) return SHOAL_OK;
    SHOAL_CHECK(dir, SHOAL_EIO, "cannot read directory '%s': %s", path, strerror(errno));
    enum shoal_status st = SHOAL_OK;
    for (struct dirent *entry; st == SHOAL_OK && (entry = readdir(dir)) != NULL;) {
        if (strncmp(entry->d_name, temp_prefix, sizeof temp_prefix - 1) != 0) continue;
        char temp[SHOAL_MAX_PATH];
        st = path_format(temp, "%s/%s", path, entry->d_name);
        if (st == SHOAL_OK && unlink(temp) != 0 && errno != ENOENT) {
            st = SHOAL_FAIL(SHOAL_EIO, "cannot remove '%s': %s", temp, strerror(errno));
        }
    }
    closedir(dir);
    return st;
}
