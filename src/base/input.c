/* input.c - see input.h. Reads with pread, so that an opened file has no state but its size. */
#include "base/input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One read may ask for less than it is allowed to: Linux stops at 2 GiB. */
enum { READ_BYTES = 1 << 30 };

enum shoal_status input_open(struct input *in, const char *path)
{
    struct stat info;
    *in = (struct input){-1, path, 0};
    /* Looked at first: opening a pipe would wait for a writer. */
    SHOAL_CHECK(stat(path, &info) == 0, SHOAL_EIO, "cannot read '%s': %s", path, strerror(errno));
    SHOAL_CHECK(S_ISREG(info.st_mode), SHOAL_EIO, "cannot read '%s': it is not a file", path);
    in->fd = open(path, O_RDONLY | O_CLOEXEC);
    SHOAL_CHECK(in->fd >= 0, SHOAL_EIO, "cannot read '%s': %s", path, strerror(errno));
    in->bytes = info.st_size;
    return SHOAL_OK;
}

static enum shoal_status read_all(const struct input *in, char *data, int64_t offset, int64_t bytes)
{
    while (bytes > 0) {
        const size_t part = bytes < READ_BYTES ? (size_t)bytes : READ_BYTES;
        const ssize_t got = pread(in->fd, data, part, offset);
        if (got < 0 && errno == EINTR) continue;
        SHOAL_CHECK(got >= 0, SHOAL_EIO, "cannot read '%s': %s", in->path, strerror(errno));
        SHOAL_CHECK(got > 0, SHOAL_EIO, "'%s' became shorter while it was read", in->path);
        data += got;
        offset += got;
        bytes -= got;
    }
    return SHOAL_OK;
}

enum shoal_status input_read(const struct input *in, void *data, int64_t offset, int64_t bytes)
{
    SHOAL_CHECK(offset >= 0 && bytes >= 0 && offset <= in->bytes && bytes <= in->bytes - offset,
                SHOAL_EFORMAT,
                "'%s' is truncated: it has %lld bytes, and %lld are needed from byte %lld on",
                in->path, (long long)in->bytes, (long long)bytes, (long long)offset);
    return read_all(in, data, offset, bytes);
}

void input_close(struct input *in)
{
    if (in->fd >= 0) close(in->fd); /* only read from */
    in->fd = -1;
}
