/* How many tokens there are is known only after the last one. All of them go to one temporary file;
 * if they fit into one shard it becomes that shard, else it is cut into equal shares. Full shards
 * and a rest would not do: a rest of a few tokens would be a shard too short to train on. */
#include "data/writer.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "data/data.h"

enum { CHUNK = 4096 };

static void put_i32(uint8_t *p, int32_t value)
{
    const uint32_t u = (uint32_t)value;
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(u >> (8 * i));
}

/* Bytes to a file that is called path. */
static enum shoal_status write_bytes(FILE *file, const char *path, const uint8_t *bytes, size_t n)
{
    SHOAL_CHECK(fwrite(bytes, 1, n, file) == n, SHOAL_EIO,
                "%s: cannot be written: %s; is there space left?", path, strerror(errno));
    return SHOAL_OK;
}

static enum shoal_status write_header(FILE *file, const char *path, int64_t n_tokens)
{
    uint8_t header[DATA_HEADER_BYTES] = {0};
    put_i32(header, DATA_MAGIC);
    put_i32(header + 4, DATA_VERSION);
    put_i32(header + 8, (int32_t)n_tokens);
    return write_bytes(file, path, header, sizeof header);
}

static enum shoal_status seek(const struct shard_writer *w, int64_t at)
{
    SHOAL_CHECK(fseeko(w->file, (off_t)at, SEEK_SET) == 0, SHOAL_EIO,
                "%s: cannot be written: %s; is there space left?", w->temp, strerror(errno));
    return SHOAL_OK;
}

/* Close a finished temporary file and put it in place. */
static enum shoal_status place(FILE *file, const char *temp, const char *path)
{
    if (fclose(file) == 0) return file_commit(temp, path);
    const int cause = errno;
    unlink(temp);
    return SHOAL_FAIL(SHOAL_EIO, "%s: cannot be written: %s; is there space left?", path,
                      strerror(cause));
}

enum shoal_status writer_begin(struct shard_writer *w, const char *dir, const char *prefix)
{
    char path[SHOAL_MAX_PATH];
    *w = (struct shard_writer){.dir = dir, .prefix = prefix};
    SHOAL_TRY(path_format(path, "%s/%s", dir, prefix)); /* no shard's own name: see cut */
    SHOAL_TRY(file_temp_name(w->temp, path));
    w->file = fopen(w->temp, "w+b");
    SHOAL_CHECK(w->file, SHOAL_EIO, "%s: cannot be created: %s", w->temp, strerror(errno));
    return write_header(w->file, w->temp, 0);
}

enum shoal_status writer_put(struct shard_writer *w, const uint16_t *tokens, int64_t n)
{
    for (int64_t begin = 0; begin < n; begin += CHUNK) {
        const int64_t part = n - begin < CHUNK ? n - begin : CHUNK;
        uint8_t bytes[2 * CHUNK];
        for (int64_t i = 0; i < part; i++) {
            bytes[2 * i] = (uint8_t)tokens[begin + i];
            bytes[2 * i + 1] = (uint8_t)(tokens[begin + i] >> 8);
        }
        SHOAL_TRY(write_bytes(w->file, w->temp, bytes, 2 * (size_t)part));
    }
    w->n_tokens += n;
    return SHOAL_OK;
}

/* The next n tokens of w's file into another. */
static enum shoal_status copy_tokens(const struct shard_writer *w, FILE *to, const char *path,
                                     int64_t n)
{
    uint8_t bytes[2 * CHUNK];
    SHOAL_TRY(write_header(to, path, n));
    while (n > 0) {
        const size_t part = 2 * (size_t)(n < CHUNK ? n : CHUNK);
        SHOAL_CHECK(fread(bytes, 1, part, w->file) == part, SHOAL_EIO,
                    "%s: cannot be read back: %s", w->temp, strerror(errno));
        SHOAL_TRY(write_bytes(to, path, bytes, part));
        n -= (int64_t)part / 2;
    }
    return SHOAL_OK;
}

static enum shoal_status cut_one(const struct shard_writer *w, const char *path, int64_t n)
{
    char temp[SHOAL_MAX_PATH];
    SHOAL_TRY(file_temp_name(temp, path));
    FILE *file = fopen(temp, "wb");
    SHOAL_CHECK(file, SHOAL_EIO, "%s: cannot be created: %s", temp, strerror(errno));
    const enum shoal_status st = copy_tokens(w, file, temp, n);
    if (st == SHOAL_OK) return place(file, temp, path);
    fclose(file);
    unlink(temp);
    return st;
}

static enum shoal_status cut(struct shard_writer *w, int n_shards)
{
    SHOAL_TRY(seek(w, DATA_HEADER_BYTES));
    for (int i = 0; i < n_shards; i++) {
        char path[SHOAL_MAX_PATH];
        SHOAL_TRY(path_format(path, "%s/%s_%06d.bin", w->dir, w->prefix, i));
        const int64_t share = w->n_tokens / n_shards, extra = w->n_tokens % n_shards;
        SHOAL_TRY(cut_one(w, path, share + (i < extra ? 1 : 0)));
    }
    writer_abandon(w);
    return SHOAL_OK;
}

static enum shoal_status place_all(struct shard_writer *w)
{
    char path[SHOAL_MAX_PATH];
    SHOAL_TRY(path_format(path, "%s/%s_%06d.bin", w->dir, w->prefix, 0));
    SHOAL_TRY(seek(w, 0));
    SHOAL_TRY(write_header(w->file, w->temp, w->n_tokens));
    FILE *file = w->file;
    w->file = NULL;
    return place(file, w->temp, path);
}

static enum shoal_status remove_stale(const struct shard_writer *w, int from)
{
    for (int i = from;; i++) {
        char path[SHOAL_MAX_PATH];
        SHOAL_TRY(path_format(path, "%s/%s_%06d.bin", w->dir, w->prefix, i));
        if (unlink(path) == 0) continue;
        SHOAL_CHECK(errno == ENOENT, SHOAL_EIO,
                    "%s: a shard of an earlier run, cannot be removed: %s", path, strerror(errno));
        return SHOAL_OK;
    }
}

enum shoal_status writer_finish(struct shard_writer *w, int64_t shard_tokens, int *n_shards)
{
    SHOAL_ASSERT(w->n_tokens > 0 && shard_tokens > 0 && shard_tokens <= INT32_MAX);
    *n_shards = (int)((w->n_tokens - 1) / shard_tokens + 1);
    SHOAL_TRY(*n_shards == 1 ? place_all(w) : cut(w, *n_shards));
    return remove_stale(w, *n_shards);
}

void writer_abandon(struct shard_writer *w)
{
    if (!w->file) return;
    fclose(w->file);
    unlink(w->temp);
    w->file = NULL;
}
