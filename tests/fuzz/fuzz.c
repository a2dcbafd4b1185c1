#define _XOPEN_SOURCE 700 /* nftw, mkdtemp */
#include "fuzz/fuzz.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "kernels/kernels.h"

uint64_t fuzz_take(struct fuzz_input *in, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes && in->left > 0; i++, in->at++, in->left--)
        value |= (uint64_t)*in->at << 8 * i;
    return value;
}

struct fuzz_input fuzz_section(struct fuzz_input *in)
{
    const uint8_t *end = in->left ? memchr(in->at, 0, in->left) : NULL;
    const size_t length = end ? (size_t)(end - in->at) : in->left;
    const struct fuzz_input out = {in->at, length};
    in->at += length + (end != NULL);
    in->left -= length + (end != NULL);
    return out;
}

char *fuzz_text(struct fuzz_input *in)
{
    const struct fuzz_input section = fuzz_section(in);
    char *text = malloc(section.left + 1);
    fuzz_must(text != NULL, "memory for a text");
    if (section.left) memcpy(text, section.at, section.left);
    text[section.left] = 0;
    return text;
}

/* ---- files ---- */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

/* Of this process; libFuzzer's interface has no room for a context. */
static const char *directory(void);

static void remove_all(void)
{
    (void)nftw(directory(), remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *directory(void)
{
    static char dir[64];
    if (dir[0]) return dir;
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(dir, sizeof dir, "%s/shoal-fuzz-XXXXXX", parent);
    fuzz_must(mkdtemp(dir) != NULL, "a directory for files");
    fuzz_must(atexit(remove_all) == 0, "removal at the end");
    return dir;
}

const char *fuzz_path(char *out, const char *name)
{
    fuzz_must(path_format(out, "%s/%s", directory(), name) == SHOAL_OK, "a path that fits");
    return out;
}

void fuzz_file(const char *path, const void *data, size_t n)
{
    FILE *file = fopen(path, "wb");
    fuzz_must(file && fwrite(data, 1, n, file) == n && fclose(file) == 0, "room for files");
}

/* ---- what must hold ---- */

void fuzz_must(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "FINDING: expected %s; the last failure: '%s'\n", what, shoal_failure_text());
    abort();
}

bool fuzz_ok(enum shoal_status st)
{
    if (st == SHOAL_OK) return true;
    if (getenv("FUZZ_SAY")) fprintf(stderr, "refused: %s\n", shoal_failure_text());
    fuzz_must(shoal_failure_text()[0] != 0, "a refusal that says why");
    fuzz_must(st != SHOAL_ENOMEM, "no size to be believed");
    return false;
}

/* What the library forgets when it gives up on a file is not ours to free. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

struct device *fuzz_device(void)
{
    static struct device *device;
    if (!device) fuzz_must(device_open("cpu", 0, 1, &device) == SHOAL_OK, "a device");
    return device;
}
