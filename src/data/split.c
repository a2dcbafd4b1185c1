/* Documents are held out whole, so that no text is half seen: judging then measures what was
 * learnt, not what was remembered. The draw depends only on a document's number and the count of
 * documents, so the same list of files always splits the same way. */
#include "data/split.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "data/permute.h"

enum { MIN_SIDE_BYTES = 2 }; /* one token to see and one to predict */

static enum shoal_status measure(struct document *doc)
{
    struct stat info;
    SHOAL_CHECK(stat(doc->path, &info) == 0, SHOAL_EIO, "%s: cannot be read: %s", doc->path,
                strerror(errno));
    SHOAL_CHECK(!S_ISDIR(info.st_mode), SHOAL_EIO,
                "%s: is a directory; name the files in it, for instance with 'find %s -type f | "
                "sort | shoal tokenize --files-from - ...'",
                doc->path, doc->path);
    SHOAL_CHECK(S_ISREG(info.st_mode), SHOAL_EIO,
                "%s: is not a regular file; write its text to one first", doc->path);
    SHOAL_CHECK(access(doc->path, R_OK) == 0, SHOAL_EIO, "%s: cannot be read: %s", doc->path,
                strerror(errno));
    SHOAL_CHECK(info.st_size > 0, SHOAL_EFORMAT, "%s: is empty; give files with text in them",
                doc->path);
    doc->bytes = (int64_t)info.st_size;
    return SHOAL_OK;
}

enum shoal_status split_measure(struct document *docs, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        SHOAL_TRY(measure(&docs[i]));
    return SHOAL_OK;
}

static enum shoal_status check_side(int64_t bytes, const char *side)
{
    SHOAL_CHECK(bytes >= MIN_SIDE_BYTES, SHOAL_EFORMAT,
                "too little text to split: %" PRId64
                " bytes are left for the %s shard; use more text or another --val",
                bytes, side);
    return SHOAL_OK;
}

static enum shoal_status split_tail(struct document *doc, double val_fraction)
{
    const int64_t val_bytes = (int64_t)((double)doc->bytes * val_fraction);
    doc->train_bytes = doc->bytes - val_bytes;
    SHOAL_TRY(check_side(doc->train_bytes, "train"));
    return check_side(val_bytes, "val");
}

static int64_t smallest(const struct document *docs, int64_t n)
{
    int64_t found = 0;
    for (int64_t i = 1; i < n; i++) {
        if (docs[i].bytes < docs[found].bytes) found = i;
    }
    return found;
}

static enum shoal_status split_whole(struct document *docs, int64_t n, double val_fraction)
{
    int64_t total = 0, held_out = 0;
    for (int64_t i = 0; i < n; i++) {
        docs[i].train_bytes = docs[i].bytes;
        total += docs[i].bytes;
    }
    const int64_t target = (int64_t)((double)total * val_fraction);
    const struct rng_key key = {0, RNG_DATA, 0, 0, 0};
    for (int64_t i = 0; i < n && held_out < target; i++) {
        struct document *doc = &docs[permute((uint64_t)i, (uint64_t)n, key)];
        if (held_out + doc->bytes > target) continue; /* one that would take too much */
        doc->train_bytes = 0;
        held_out += doc->bytes;
    }
    if (held_out == 0) {
        struct document *doc = &docs[smallest(docs, n)];
        doc->train_bytes = 0;
        held_out = doc->bytes;
    }
    SHOAL_TRY(check_side(total - held_out, "train"));
    return check_side(held_out, "val");
}

enum shoal_status split_documents(struct document *docs, int64_t n, double val_fraction)
{
    SHOAL_ASSERT(n > 0);
    if (n == 1) return split_tail(docs, val_fraction);
    return split_whole(docs, n, val_fraction);
}

/* Bytes at the beginning of s that continue a character. */
static int64_t continuation(const unsigned char *s, size_t n)
{
    size_t i = 0;
    while (i < n && (s[i] & 0xC0) == 0x80)
        i++;
    return (int64_t)i;
}

enum shoal_status split_at_character(struct document *doc)
{
    enum { LONGEST = 4, REST = LONGEST - 1 };
    if (doc->train_bytes == 0 || doc->bytes - doc->train_bytes < LONGEST + MIN_SIDE_BYTES)
        return SHOAL_OK;
    FILE *file = fopen(doc->path, "rb");
    SHOAL_CHECK(file, SHOAL_EIO, "%s: cannot be opened: %s", doc->path, strerror(errno));
    unsigned char next[LONGEST];
    const bool read = fseeko(file, (off_t)doc->train_bytes, SEEK_SET) == 0 &&
                      fread(next, 1, LONGEST, file) == LONGEST;
    fclose(file); /* only read from */
    SHOAL_CHECK(read, SHOAL_EIO, "%s: cannot be read: %s", doc->path, strerror(errno));
    const int64_t rest = continuation(next, LONGEST);
    if (rest <= REST) doc->train_bytes += rest;
    return SHOAL_OK;
}
