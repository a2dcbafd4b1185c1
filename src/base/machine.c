/* machine.c - see machine.h. Files of /proc have no size to ask for, so they are read line by line.
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/machine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/files.h"

enum { LINE = 2 * SHOAL_MAX_PATH };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The number after `key` in a file of lines "key  12345 kB", in bytes; 0: not there. */
static int64_t kilobytes_of(const char *path, const char *key)
{
    char line[LINE];
    int64_t kilobytes = 0;
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while (kilobytes == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0) kilobytes = strtoll(line + strlen(key), NULL, 10);
    (void)fclose(file); /* only read */
    return kilobytes * 1024;
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* What a file holds, if it is a number; INT64_MAX: no file, or "max". */
static int64_t limit_in(const char *path)
{
    char text[64] = "";
    FILE *file = fopen(path, "r");
    if (!file) return INT64_MAX;
    const bool got = fgets(text, sizeof text, file) != NULL;
    (void)fclose(file); /* only read */
    const int64_t bytes = got ? strtoll(text, NULL, 10) : 0;
    return bytes > 0 ? bytes : INT64_MAX;
}

/* The lowest limit in the group "/a/b" and those above it: "/a", and the root "". */
static int64_t limit_above(const char *root, const char *group, const char *file)
{
    int64_t lowest = INT64_MAX;
    for (size_t length = strlen(group);;) {
        char path[LINE];
        while (length > 0 && group[length - 1] == '/')
            length--;
        const int n = snprintf(path, sizeof path, "%s%.*s/%s", root, (int)length, group, file);
        if (n < (int)sizeof path) lowest = least(lowest, limit_in(path));
        if (length == 0) return lowest;
        while (length > 0 && group[length - 1] != '/')
            length--;
    }
}

/* Of one line "number:controllers:group"; version 2 names no controllers. */
static int64_t limit_of_line(char *line, const char *root)
{
    char below[SHOAL_MAX_PATH];
    char *controllers = strchr(line, ':'), *group = NULL;
    if (controllers) group = strchr(++controllers, ':');
    if (!group) return INT64_MAX;
    *group++ = 0;
    if (controllers[0] == 0) return limit_above(root, group, "memory.max");
    if (!strstr(controllers, "memory")) return INT64_MAX;
    if (snprintf(below, sizeof below, "%s/memory", root) >= (int)sizeof below) return INT64_MAX;
    return limit_above(below, group, "memory.limit_in_bytes");
}

int64_t machine_limit_bytes(const char *membership, const char *root)
{
    int64_t lowest = INT64_MAX;
    for (const char *at = membership; *at;) {
        char line[LINE];
        const size_t length = strcspn(at, "\n");
        if (length < sizeof line) {
            memcpy(line, at, length);
            line[length] = 0;
            lowest = least(lowest, limit_of_line(line, root));
        }
        at += length + (at[length] == '\n');
    }
    return lowest;
}

/* ---- this machine ---------------------------------------------------------------------------- */

int64_t machine_memory_bytes(void)
{
    char membership[8192] = "";
    const int64_t all = kilobytes_of("/proc/meminfo", "MemTotal:");
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file) return all;
    const size_t n = fread(membership, 1, sizeof membership - 1, file);
    (void)fclose(file); /* only read */
    membership[n] = 0;
    return least(all, machine_limit_bytes(membership, "/sys/fs/cgroup"));
}

int64_t machine_free_bytes(void)
{
    return least(kilobytes_of("/proc/meminfo", "MemAvailable:"), machine_memory_bytes());
}

int machine_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    /* More cores than the set holds: the call fails. */
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return CPU_COUNT(&set);
}

int64_t process_bytes(void)
{
    return kilobytes_of("/proc/self/status", "VmRSS:");
}

int64_t process_peak_bytes(void)
{
    return kilobytes_of("/proc/self/status", "VmHWM:");
}
