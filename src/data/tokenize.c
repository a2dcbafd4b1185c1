/* The sizes of the files fix which text trains and which judges; then every file is read once, a
 * chunk at a time, and its tokens go to the writer of their side. A chunk may end inside of a word:
 * what the tokenizer leaves over is moved to the front, and the chunk grows only where a single
 * word does not fit into it. */
#include "data/tokenize.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/files.h"
#include "base/memory.h"
#include "data/split.h"
#include "data/tokenizer.h"
#include "data/writer.h"

enum {
    FIRST_CHUNK = 1 << 18,
    MIN_SIDE_TOKENS = 2 /* one to see and one to predict */
};

static const double MAX_VAL_FRACTION = 0.5;

struct run {
    struct tokenizer *tokenizer;
    struct document *docs; /* owned */
    int64_t n_docs;
    struct shard_writer train, val;
    char *text; /* owned; `capacity` bytes of the document being read */
    size_t capacity;
    struct token_list tokens; /* of a chunk */
};

static enum shoal_status check_args(const struct tokenize_args *args)
{
    SHOAL_CHECK(args->n_files > 0, SHOAL_EARG, "no text files given: name at least one");
    SHOAL_CHECK(args->val_fraction > 0 && args->val_fraction <= MAX_VAL_FRACTION, SHOAL_EARG,
                "the share of validation text must be above 0 and at most %g, not %g",
                MAX_VAL_FRACTION, args->val_fraction);
    SHOAL_CHECK(args->shard_tokens > 0 && args->shard_tokens <= INT32_MAX, SHOAL_EARG,
                "a shard holds from 1 to %d tokens, not %" PRId64, INT32_MAX, args->shard_tokens);
    return SHOAL_OK;
}

/* ---- one document ---------------------------------------------------------------------------- */

static enum shoal_status grow(struct run *r, const char *path, size_t length)
{
    SHOAL_CHECK(r->capacity < TOKENIZER_MAX_WORD, SHOAL_EFORMAT,
                "%s: has a word of %d bytes or more, without a change between letters, digits, "
                "signs and white space; is it text?",
                path, TOKENIZER_MAX_WORD);
    char *larger;
    SHOAL_TRY(mem_alloc(2 * r->capacity, "text", &larger));
    memcpy(larger, r->text, length);
    mem_free(r->text);
    r->text = larger;
    r->capacity *= 2;
    return SHOAL_OK;
}

/* Encode the text at hand and move what is left over to the front; *length: bytes of it. */
static enum shoal_status encode_chunk(struct run *r, size_t *length, bool last,
                                      struct shard_writer *w)
{
    size_t used;
    r->tokens.count = 0;
    SHOAL_TRY(tokenizer_encode(r->tokenizer, &r->tokens, &used, r->text, *length, last));
    SHOAL_TRY(writer_put(w, r->tokens.token, (int64_t)r->tokens.count));
    *length -= used;
    memmove(r->text, r->text + used, *length);
    return SHOAL_OK;
}

/* The next n bytes of file as tokens. */
static enum shoal_status encode_bytes(struct run *r, const char *path, FILE *file, int64_t n,
                                      struct shard_writer *w)
{
    size_t length = 0; /* of text read and not yet encoded */
    while (n > 0) {
        if (length == r->capacity) SHOAL_TRY(grow(r, path, length));
        const size_t room = r->capacity - length;
        const size_t part = n < (int64_t)room ? (size_t)n : room;
        SHOAL_CHECK(fread(r->text + length, 1, part, file) == part, SHOAL_EIO, "%s: %s", path,
                    ferror(file) ? strerror(errno) : "became shorter while it was read; try again");
        n -= (int64_t)part;
        length += part;
        SHOAL_TRY(encode_chunk(r, &length, n == 0, w));
    }
    return SHOAL_OK;
}

static enum shoal_status encode_document(struct run *r, const struct document *doc)
{
    FILE *file = fopen(doc->path, "rb");
    SHOAL_CHECK(file, SHOAL_EIO, "%s: cannot be opened: %s", doc->path, strerror(errno));
    const uint16_t end_of_text = (uint16_t)tokenizer_end_of_text(r->tokenizer);
    enum shoal_status st;
    SHOAL_GOTO(writer_put(doc->train_bytes > 0 ? &r->train : &r->val, &end_of_text, 1));
    SHOAL_GOTO(encode_bytes(r, doc->path, file, doc->train_bytes, &r->train));
    SHOAL_GOTO(encode_bytes(r, doc->path, file, doc->bytes - doc->train_bytes, &r->val));
done:
    fclose(file); /* only read from */
    return st;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static enum shoal_status prepare(struct run *r, const struct tokenize_args *args)
{
    SHOAL_TRY(tokenizer_open(args->tokenizer, args->vocab, &r->tokenizer));
    SHOAL_TRY(mem_alloc((size_t)args->n_files * sizeof *r->docs, "list of documents", &r->docs));
    r->n_docs = args->n_files;
    for (int64_t i = 0; i < r->n_docs; i++)
        r->docs[i].path = args->files[i];
    SHOAL_TRY(split_measure(r->docs, r->n_docs));
    SHOAL_TRY(split_documents(r->docs, r->n_docs, args->val_fraction));
    if (r->n_docs == 1 && strcmp(args->tokenizer, "bytes") != 0)
        SHOAL_TRY(split_at_character(&r->docs[0]));
    r->capacity = FIRST_CHUNK;
    return mem_alloc(r->capacity, "text", &r->text);
}

static enum shoal_status check_side(int64_t tokens, const char *side)
{
    SHOAL_CHECK(tokens >= MIN_SIDE_TOKENS, SHOAL_EFORMAT,
                "too little text to split: it leaves %" PRId64
                " tokens for the %s shard; use more text or another --val",
                tokens, side);
    return SHOAL_OK;
}

/* Whether the vocabulary was read from the output directory, so that it is there already. */
static bool has_vocabulary(const struct tokenize_args *args)
{
    struct stat from, to;
    return args->vocab && stat(args->vocab, &from) == 0 && stat(args->out_dir, &to) == 0 &&
           from.st_dev == to.st_dev && from.st_ino == to.st_ino;
}

static enum shoal_status finish(struct run *r, const struct tokenize_args *args,
                                struct tokenize_result *result)
{
    int val_shards;
    *result = (struct tokenize_result){.documents = r->n_docs,
                                       .train_tokens = r->train.n_tokens,
                                       .val_tokens = r->val.n_tokens,
                                       .vocab = tokenizer_vocab(r->tokenizer)};
    SHOAL_TRY(check_side(result->train_tokens, "train"));
    SHOAL_TRY(check_side(result->val_tokens, "val"));
    SHOAL_CHECK(result->val_tokens <= INT32_MAX, SHOAL_EFORMAT,
                "%" PRId64 " tokens do not fit into the one val shard; use a smaller --val",
                result->val_tokens);
    if (!has_vocabulary(args)) SHOAL_TRY(tokenizer_save(r->tokenizer, args->out_dir));
    SHOAL_TRY(writer_finish(&r->train, args->shard_tokens, &result->train_shards));
    return writer_finish(&r->val, INT32_MAX, &val_shards);
}

enum shoal_status tokenize_files(const struct tokenize_args *args, struct tokenize_result *result)
{
    struct run r = {0};
    enum shoal_status st;
    SHOAL_TRY(check_args(args));
    SHOAL_GOTO(prepare(&r, args));
    SHOAL_GOTO(dir_make(args->out_dir));
    SHOAL_GOTO(dir_sweep_temps(args->out_dir));
    SHOAL_GOTO(writer_begin(&r.train, args->out_dir, "train"));
    SHOAL_GOTO(writer_begin(&r.val, args->out_dir, "val"));
    for (int64_t i = 0; i < r.n_docs; i++)
        SHOAL_GOTO(encode_document(&r, &r.docs[i]));
    SHOAL_GOTO(finish(&r, args, result));
done:
    writer_abandon(&r.train);
    writer_abandon(&r.val);
    token_list_free(&r.tokens);
    mem_free(r.text);
    mem_free(r.docs);
    tokenizer_close(&r.tokenizer);
    return st;
}
