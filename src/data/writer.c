/* Shards get equal shares instead of full ones and a rest: a rest of a few tokens would be a shard
 * too short to train on. */
#include "data/writer.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "data/data.h"

enum { PUT_CHUNK = 4096 };

static void put_i32(uint8_t *p, int32_t value)
{
    const uint32_t u = (uint32_t)value;
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(u >> (8 * i));
}

static enum shoal_status write_bytes(struct shard_writer *w, const uint8_t *bytes, size_t n)
{
    SHOAL_CHECK(fwrite(bytes, 1, n, w->file) == n, SHOAL_EIO,
                "%s: cannot be written: %s; is there space left?", w->temp, strerror(errno));
    return SHOAL_OK;
}

static enum shoal_status open_next(struct shard_writer *w)
{
    SHOAL_ASSERT(w->next < w->n_shards);
    SHOAL_TRY(path_format(w->path, "%s/%s_%06d.bin", w->dir, w->prefix, w->next));
    SHOAL_TRY(file_temp_name(w->temp, w->path));
    w->file = fopen(w->temp, "wb");
    SHOAL_CHECK(w->file != NULL, SHOAL_EIO, "%s: cannot be created: %s", w->temp, strerror(errno));
    const int64_t share = w->n_tokens / w->n_shards, extra = w->n_tokens % w->n_shards;
    w->left = share + (w->next < extra ? 1 : 0);
    w->next++;
    uint8_t header[DATA_HEADER_BYTES] = {0};
    put_i32(header, DATA_MAGIC);
    put_i32(header + 4, DATA_VERSION);
    put_i32(header + 8, (int32_t)w->left);
    return write_bytes(w, header, sizeof header);
}

static enum shoal_status close_full(struct shard_writer *w)
{
    FILE *file = w->file;
    w->file = NULL;
    if (fclose(file) != 0) {
        const int cause = errno;
        unlink(w->temp);
        return SHOAL_FAIL(SHOAL_EIO, "%s: cannot be written: %s; is there space left?", w->path,
                          strerror(cause));
    }
    return file_commit(w->temp, w->path);
}

void writer_begin(struct shard_writer *w, const char *dir, const char *prefix, int64_t n_tokens,
                  int64_t shard_tokens)
{
    SHOAL_ASSERT(n_tokens > 0 && shard_tokens > 0 && shard_tokens <= INT32_MAX);
    memset(w, 0, sizeof *w);
    w->dir = dir;
    w->prefix = prefix;
    w->n_tokens = n_tokens;
    w->n_shards = (int)((n_tokens - 1) / shard_tokens + 1);
}

enum shoal_status writer_put(struct shard_writer *w, const uint16_t *tokens, int64_t n)
{
    while (n > 0) {
        if (w->file == NULL) SHOAL_TRY(open_next(w));
        int64_t part = n < w->left ? n : w->left;
        if (part > PUT_CHUNK) part = PUT_CHUNK;
        uint8_t bytes[2 * PUT_CHUNK];
        for (int64_t i = 0; i < part; i++) {
            bytes[2 * i] = (uint8_t)tokens[i];
            bytes[2 * i + 1] = (uint8_t)(tokens[i] >> 8);
        }
        SHOAL_TRY(write_bytes(w, bytes, 2 * (size_t)part));
        tokens += part;
        n -= part;
        w->left -= part;
        if (w->left == 0) SHOAL_TRY(close_full(w));
    }
    return SHOAL_OK;
}

enum shoal_status writer_finish(struct shard_writer *w)
{
    SHOAL_ASSERT(w->file == NULL && w->next == w->n_shards);
    for (int i = w->n_shards;; i++) {
        SHOAL_TRY(path_format(w->path, "%s/%s_%06d.bin", w->dir, w->prefix, i));
        if (unlink(w->path) == 0) continue;
        SHOAL_CHECK(errno == ENOENT, SHOAL_EIO,
                    "%s: a shard of an earlier run, cannot be removed: "
                    "%s",
                    w->path, strerror(errno));
        return SHOAL_OK;
    }
}

void writer_abandon(struct shard_writer *w)
{
    if (w->file == NULL) return;
    fclose(w->file);
    unlink(w->temp);
    w->file = NULL;
}
