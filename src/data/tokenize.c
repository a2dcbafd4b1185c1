/* Two passes over the files: the first only asks for sizes, which fixes the split and the number of
 * tokens of every shard; the second streams the text, so memory does not grow with the corpus. */
#include "data/tokenize.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/files.h"
#include "base/memory.h"
#include "data/split.h"
#include "data/writer.h"

enum { READ_CHUNK = 1 << 16, BYTES_END_OF_TEXT = 0 };

static const double MAX_VAL_FRACTION = 0.5;

static enum shoal_status check_args(const struct tokenize_args *args)
{
    SHOAL_CHECK(strcmp(args->tokenizer, "bytes") == 0, SHOAL_EARG,
                "unknown tokenizer '%s': this version has only 'bytes'", args->tokenizer);
    SHOAL_CHECK(args->n_files > 0, SHOAL_EARG, "no text files given: name at least one");
    SHOAL_CHECK(args->val_fraction > 0 && args->val_fraction <= MAX_VAL_FRACTION, SHOAL_EARG,
                "the share of validation text must be above 0 and at most %g, not %g",
                MAX_VAL_FRACTION, args->val_fraction);
    SHOAL_CHECK(args->shard_tokens > 0 && args->shard_tokens <= INT32_MAX, SHOAL_EARG,
                "a shard holds from 1 to %d tokens, not %" PRId64, INT32_MAX, args->shard_tokens);
    return SHOAL_OK;
}

/* The bytes of doc that belong to one side. */
static int64_t side_bytes(const struct document *doc, bool val)
{
    return val ? doc->bytes - doc->train_bytes : doc->train_bytes;
}

/* Whether a side's part of doc is its beginning, which an end-of-text token precedes. */
static bool side_starts(const struct document *doc, bool val)
{
    return side_bytes(doc, val) > 0 && (!val || doc->train_bytes == 0);
}

static int64_t side_tokens(const struct document *docs, int64_t n, bool val)
{
    int64_t tokens = 0;
    for (int64_t i = 0; i < n; i++) {
        tokens += side_bytes(&docs[i], val) + (side_starts(&docs[i], val) ? 1 : 0);
    }
    return tokens;
}

/* The next n bytes of file as tokens. */
static enum shoal_status copy_bytes(const char *path, FILE *file, int64_t n, struct shard_writer *w)
{
    uint8_t bytes[READ_CHUNK];
    uint16_t tokens[READ_CHUNK];
    while (n > 0) {
        const size_t part = n < READ_CHUNK ? (size_t)n : READ_CHUNK;
        const size_t got = fread(bytes, 1, part, file);
        SHOAL_CHECK(got == part, SHOAL_EIO, "%s: %s", path,
                    ferror(file) ? strerror(errno) : "became shorter while it was read; try again");
        for (size_t i = 0; i < got; i++)
            tokens[i] = bytes[i];
        SHOAL_TRY(writer_put(w, tokens, (int64_t)got));
        n -= (int64_t)got;
    }
    return SHOAL_OK;
}

static enum shoal_status write_document(const struct document *doc, bool val,
                                        struct shard_writer *w)
{
    if (side_bytes(doc, val) == 0) return SHOAL_OK;
    if (side_starts(doc, val)) {
        const uint16_t end_of_text = BYTES_END_OF_TEXT;
        SHOAL_TRY(writer_put(w, &end_of_text, 1));
    }
    FILE *file = fopen(doc->path, "rb");
    SHOAL_CHECK(file != NULL, SHOAL_EIO, "%s: cannot be opened: %s", doc->path, strerror(errno));
    enum shoal_status st = SHOAL_OK;
    if (val && fseeko(file, (off_t)doc->train_bytes, SEEK_SET) != 0) {
        st = SHOAL_FAIL(SHOAL_EIO, "%s: cannot be positioned: %s", doc->path, strerror(errno));
    }
    if (st == SHOAL_OK) st = copy_bytes(doc->path, file, side_bytes(doc, val), w);
    fclose(file); /* only read from */
    return st;
}

static enum shoal_status write_side(const struct document *docs, int64_t n, bool val,
                                    struct shard_writer *w)
{
    enum shoal_status st = SHOAL_OK;
    for (int64_t i = 0; i < n; i++)
        SHOAL_GOTO(write_document(&docs[i], val, w));
    SHOAL_GOTO(writer_finish(w));
done:
    writer_abandon(w);
    return st;
}

static enum shoal_status write_both(const struct tokenize_args *args, const struct document *docs,
                                    struct tokenize_result *result)
{
    result->documents = args->n_files;
    result->train_tokens = side_tokens(docs, args->n_files, false);
    result->val_tokens = side_tokens(docs, args->n_files, true);
    SHOAL_CHECK(result->val_tokens <= INT32_MAX, SHOAL_EFORMAT,
                "%" PRId64 " tokens do not fit into the one val shard; use a smaller --val",
                result->val_tokens);
    SHOAL_TRY(dir_make(args->out_dir));
    SHOAL_TRY(dir_sweep_temps(args->out_dir));
    struct shard_writer w;
    writer_begin(&w, args->out_dir, "train", result->train_tokens, args->shard_tokens);
    result->train_shards = w.n_shards;
    SHOAL_TRY(write_side(docs, args->n_files, false, &w));
    writer_begin(&w, args->out_dir, "val", result->val_tokens, INT32_MAX);
    return write_side(docs, args->n_files, true, &w);
}

enum shoal_status tokenize_files(const struct tokenize_args *args, struct tokenize_result *result)
{
    memset(result, 0, sizeof *result);
    SHOAL_TRY(check_args(args));
    struct document *docs = NULL;
    enum shoal_status st;
    SHOAL_GOTO(mem_alloc((size_t)args->n_files * sizeof *docs, "list of documents", &docs));
    for (int64_t i = 0; i < args->n_files; i++)
        docs[i].path = args->files[i];
    SHOAL_GOTO(split_measure(docs, args->n_files));
    SHOAL_GOTO(split_documents(docs, args->n_files, args->val_fraction));
    SHOAL_GOTO(write_both(args, docs, result));
done:
    mem_free(docs);
    return st;
}
