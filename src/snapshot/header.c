/* header.c - what every file says about itself.
 *
 * HDF5 keeps variable-length text in the one place that has no checksum, so the texts get one of
 * their own: 64-bit FNV-1a (Fowler, Noll, Vo) over run_id, created, shoal_version and config, each
 * with its terminating zero. */
#include "snapshot/header.h"

#include <string.h>
#include "base/clock.h"
#include "base/memory.h"

static const char *const checked[] = {"run_id", "created", "shoal_version", "config"};
enum { CHECKED = sizeof checked / sizeof checked[0] };

static int64_t text_checksum(const char *const text[CHECKED])
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < CHECKED; i++) {
        for (size_t at = 0; at <= strlen(text[i]); at++)
            hash = (hash ^ (unsigned char)text[i][at]) * 0x100000001b3u;
    }
    int64_t out;
    memcpy(&out, &hash, sizeof out);
    return out;
}

enum shoal_status header_write(const struct h5 *h, const char *format, const char *run_id,
                               int64_t step, const char *config)
{
    char now[32];
    clock_iso8601(now);
    const char *const text[CHECKED] = {run_id, now, SHOAL_VERSION, config};
    SHOAL_CHECK(strlen(run_id) < RUN_ID_BYTES, SHOAL_EARG, "run id '%.60s' is longer than %d bytes",
                run_id, RUN_ID_BYTES - 1);
    SHOAL_TRY(h5_set_text(h, "/", "format", format));
    SHOAL_TRY(h5_set_int(h, "/", "format_version", FORMAT_VERSION));
    SHOAL_TRY(h5_set_int(h, "/", "step", step));
    for (int i = 0; i < CHECKED; i++)
        SHOAL_TRY(h5_set_text(h, "/", checked[i], text[i]));
    return h5_set_int(h, "/", "text_checksum", text_checksum(text));
}

/* The text of 'format', which anything but our own files lacks. */
static enum shoal_status read_format(const struct h5 *h, char **format)
{
    SHOAL_CHECK(H5Aexists(h->file, "format") > 0, SHOAL_EFORMAT,
                "%s is not a shoal snapshot: an HDF5 file without the attribute 'format'", h->path);
    return h5_get_text(h, "/", "format", format);
}

static enum shoal_status check_format(const struct h5 *h, const char *expected)
{
    char *format = NULL;
    int64_t version = 0;
    enum shoal_status st;
    SHOAL_GOTO(read_format(h, &format));
    if (strcmp(format, expected) != 0)
        SHOAL_GOTO(SHOAL_FAIL(SHOAL_EFORMAT, "%s has the format '%.40s', expected '%s'", h->path,
                              format, expected));
    SHOAL_GOTO(h5_get_int(h, "/", "format_version", &version));
    if (version != FORMAT_VERSION)
        st = SHOAL_FAIL(SHOAL_EFORMAT,
                        "%s has format version %lld, this program reads %d; use another shoal",
                        h->path, (long long)version, FORMAT_VERSION);
done:
    mem_free(format);
    return st;
}

/* All the texts, which must be as they were written. text[]: mem_free, on failure too. */
static enum shoal_status read_texts(const struct h5 *h, char *text[CHECKED])
{
    int64_t checksum = 0;
    for (int i = 0; i < CHECKED; i++)
        SHOAL_TRY(h5_get_text(h, "/", checked[i], &text[i]));
    SHOAL_TRY(h5_get_int(h, "/", "text_checksum", &checksum));
    SHOAL_CHECK(checksum == text_checksum((const char *const *)text) &&
                    strlen(text[0]) < RUN_ID_BYTES,
                SHOAL_EFORMAT,
                "%s: the text attributes do not match their checksum; the file is damaged, use "
                "another snapshot",
                h->path);
    return SHOAL_OK;
}

enum shoal_status header_read(const struct h5 *h, const char *format, char *run_id, int64_t *step,
                              char **config)
{
    char *text[CHECKED] = {NULL};
    enum shoal_status st;
    SHOAL_GOTO(check_format(h, format));
    SHOAL_GOTO(h5_get_int(h, "/", "step", step));
    if (*step < 0)
        SHOAL_GOTO(SHOAL_FAIL(SHOAL_EFORMAT, "%s is of step %lld; the file is damaged", h->path,
                              (long long)*step));
    SHOAL_GOTO(read_texts(h, text));
    memcpy(run_id, text[0], strlen(text[0]) + 1);
    *config = text[CHECKED - 1];
    text[CHECKED - 1] = NULL;
done:
    for (int i = 0; i < CHECKED; i++)
        mem_free(text[i]);
    return st;
}

enum shoal_status header_is_index(const struct h5 *h, bool *is_index)
{
    char *format = NULL;
    SHOAL_TRY(read_format(h, &format));
    *is_index = strcmp(format, INDEX_FORMAT) == 0;
    const bool known = *is_index || strcmp(format, SHARD_FORMAT) == 0;
    mem_free(format);
    SHOAL_CHECK(known, SHOAL_EFORMAT,
                "%s is not a shoal snapshot: its format is neither '%s' nor '%s'", h->path,
                SHARD_FORMAT, INDEX_FORMAT);
    return SHOAL_OK;
}
