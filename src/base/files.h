/* files.h - files appear whole or not at all. Paths are at most SHOAL_MAX_PATH - 1 bytes. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

enum { SHOAL_MAX_PATH = 1024 };

/* snprintf into a path buffer of SHOAL_MAX_PATH bytes. SHOAL_EARG when it does not fit. */
enum shoal_status path_format(char *out, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The directory a path lies in; "." where it has no '/'. out holds SHOAL_MAX_PATH bytes. */
enum shoal_status path_parent(char *out, const char *path);
bool path_exists(const char *path);
bool path_is_dir(const char *path);
/* Bytes that may still be written where path lies. SHOAL_EIO. */
enum shoal_status path_free_bytes(const char *path, int64_t *bytes);
/* Ask that what was written to an open file be on its way to the disk, so that less is left to wait
 * for. Does not wait; a hint, where the system takes it. */
void file_begin_flush(int fd);
/* Set room aside for an open file that will grow to `bytes`, where its file system can: later
 * writes then do not find the disk full. Its size stays. SHOAL_EIO: there is no room. */
enum shoal_status file_reserve(int fd, const char *path, int64_t bytes);
/* Make a directory and its missing parents; an existing directory is fine. SHOAL_EIO. */
enum shoal_status dir_make(const char *path);
/* The temporary name to write `path` under: same directory, ".tmp-<name>-<pid>". */
enum shoal_status file_temp_name(char *out, const char *path);
/* Put a finished temporary file in place: fsync it, rename it over path, fsync the directory.
 * On failure path is as it was and temp is removed. */
enum shoal_status file_commit(const char *temp, const char *path);
/* Flush the directory that path lies in to disk, so that a rename in it lasts. SHOAL_EIO. */
enum shoal_status file_sync_parent(const char *path);
/* Write bytes to path through a temporary name and file_commit. */
enum shoal_status file_write(const char *path, const void *data, size_t bytes);
/* Whole file into memory plus a terminating 0 (not counted in *bytes); free with mem_free. */
enum shoal_status file_read(const char *path, char **data, size_t *bytes);
/* Point the symbolic link `path` at `target`, atomically (temporary link + rename). */
enum shoal_status link_replace(const char *path, const char *target);
/* Remove the leftovers (".tmp-*") of killed writers from a directory; a missing one is fine. */
enum shoal_status dir_sweep_temps(const char *path);
