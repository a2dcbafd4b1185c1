/* Nothing is believed: numbers must be dense, all 256 bytes there, every merge made of tokens that
 * come before it, and every token be made by something. That finds a file cut short, and one that
 * belongs to another vocabulary. */
#include "data/vocabulary.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/memory.h"
#include "data/alphabet.h"
#include "data/vocabulary_json.h"

enum {
    MAX_TOKENS = 65536, /* shards have 16 bits for one */
    MAX_MERGES = 1 << 24,
    PAIR_TEXT = 2 * VOCABULARY_NAME /* two names */
};

/* Names a token that stands between documents; published so. */
static const char end_of_text[] = "<|endoftext|>";

#define DISAGREE "a file is truncated, or they are of different vocabularies"

/* Where a token comes from. */
enum origin { UNMADE, MADE, SPECIAL };

struct builder {
    struct vocabulary *v;
    const char *tokens_path, *merges_path; /* borrowed; for messages */
    struct json_object *names;             /* borrowed; name -> number */
    const char **name;                     /* owned; [n_tokens], borrowed from JSON */
    uint8_t *origin;                       /* owned; [n_tokens] enum origin */
};

/* ---- tokens ---------------------------------------------------------------------------------- */

/* The number of a token, -1 if there is none of this name. */
static int find(const struct builder *b, const char *name)
{
    struct json_object *id = json_object_object_get(b->names, name);
    return id ? (int)json_object_get_int64(id) : -1;
}

static enum shoal_status add_name(struct builder *b, const char *name, struct json_object *id)
{
    const char *path = b->tokens_path;
    SHOAL_CHECK(json_is_number(id), SHOAL_EFORMAT,
                "%s: '%s' is no token with a number; this is not a vocabulary", path, name);
    const int64_t i = json_object_get_int64(id);
    SHOAL_CHECK(i >= 0 && i < b->v->n_tokens, SHOAL_EFORMAT,
                "%s: token '%s' has number %" PRId64 ", but there are %d tokens, numbered from 0",
                path, name, i, b->v->n_tokens);
    SHOAL_CHECK(!b->name[i], SHOAL_EFORMAT,
                "%s: tokens '%s' and '%s' have the same number, %" PRId64, path, b->name[i], name,
                i);
    SHOAL_CHECK(strlen(name) < VOCABULARY_NAME, SHOAL_EFORMAT, "%s: token %" PRId64 " is too long",
                path, i);
    b->name[i] = name;
    return SHOAL_OK;
}

static enum shoal_status add_names(struct builder *b, struct json_object *names)
{
    const int n = json_object_object_length(names);
    SHOAL_CHECK(n <= MAX_TOKENS, SHOAL_EFORMAT, "%s: has %d tokens; at most %d can be used",
                b->tokens_path, n, MAX_TOKENS);
    b->names = names;
    b->v->n_tokens = n;
    SHOAL_TRY(mem_alloc((size_t)n * sizeof *b->name, "names of tokens", &b->name));
    SHOAL_TRY(mem_alloc((size_t)n, "tokens", &b->origin));
    struct json_object_iterator i = json_object_iter_begin(names);
    const struct json_object_iterator end = json_object_iter_end(names);
    for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i))
        SHOAL_TRY(add_name(b, json_object_iter_peek_name(&i), json_object_iter_peek_value(&i)));
    return SHOAL_OK;
}

static enum shoal_status add_bytes(struct builder *b)
{
    for (int byte = 0; byte < 256; byte++) {
        char name[ALPHABET_TEXT];
        alphabet_text(name, (uint8_t)byte);
        const int token = find(b, name);
        SHOAL_CHECK(token >= 0, SHOAL_EFORMAT,
                    "%s: has no token '%s' for byte %d: it is truncated, or not a byte-level "
                    "vocabulary like GPT-2's",
                    b->tokens_path, name, byte);
        b->origin[token] = MADE;
        b->v->of_byte[byte] = (uint16_t)token;
    }
    return SHOAL_OK;
}

/* Tokens that no text becomes: those listed, and the end of text. */
static enum shoal_status add_special(struct builder *b, struct json_object *added)
{
    for (size_t i = 0; i < json_count(added); i++) {
        struct json_object *name = json_object_object_get(json_item(added, i), "content");
        const int id = find(b, json_text_of(name));
        SHOAL_ASSERT(id >= 0);
        /* It would stand for its own name, in texts too. */
        SHOAL_CHECK(b->origin[id] != MADE, SHOAL_EFORMAT,
                    "%s: added token '%s' is a byte's; text would become it", b->tokens_path,
                    json_text_of(name));
        b->origin[id] = SPECIAL;
    }
    b->v->end_of_text = find(b, end_of_text);
    SHOAL_CHECK(b->v->end_of_text >= 0, SHOAL_EFORMAT, "%s: has no token '%s'", b->tokens_path,
                end_of_text);
    b->origin[b->v->end_of_text] = SPECIAL;
    return SHOAL_OK;
}

/* ---- merges ---------------------------------------------------------------------------------- */

static enum shoal_status check_part(const struct builder *b, int number, const char *name,
                                    int token)
{
    SHOAL_CHECK(token >= 0, SHOAL_EFORMAT, "%s: merge %d: '%s' is not in %s: " DISAGREE,
                b->merges_path, number, name, b->tokens_path);
    SHOAL_CHECK(b->origin[token] == MADE, SHOAL_EFORMAT,
                "%s: merge %d: '%s' is not made by a merge before it: the file is damaged",
                b->merges_path, number, name);
    return SHOAL_OK;
}

/* pair: "left right"; becomes "left" and the rest. */
static enum shoal_status add_merge(struct builder *b, char *pair)
{
    const int number = b->v->n_merges + 1;
    char *right = strchr(pair, ' '), joined[PAIR_TEXT];
    SHOAL_CHECK(number <= MAX_MERGES, SHOAL_EFORMAT, "%s: more than %d merges", b->merges_path,
                MAX_MERGES);
    SHOAL_CHECK(right && right != pair && right[1] && !strchr(right + 1, ' ') &&
                    strlen(pair) < PAIR_TEXT,
                SHOAL_EFORMAT,
                "%s: merge %d is not a pair of tokens with a space between them: the file is "
                "truncated, or not a list of merges",
                b->merges_path, number);
    *right++ = '\0';
    const int left_token = find(b, pair), right_token = find(b, right);
    SHOAL_TRY(check_part(b, number, pair, left_token));
    SHOAL_TRY(check_part(b, number, right, right_token));
    snprintf(joined, sizeof joined, "%s%s", pair, right);
    const int result = find(b, joined);
    SHOAL_CHECK(result >= 0 && b->origin[result] != SPECIAL, SHOAL_EFORMAT,
                "%s: merge %d: its result '%s' is not in %s: " DISAGREE, b->merges_path, number,
                joined, b->tokens_path);
    b->origin[result] = MADE;
    b->v->merge[b->v->n_merges++] =
        (struct merge){(uint16_t)left_token, (uint16_t)right_token, (uint16_t)result};
    return SHOAL_OK;
}

/* One merge a line, behind a line with the version of the format. */
static enum shoal_status add_merge_lines(struct builder *b, char *text, size_t bytes)
{
    static const char version[] = "#version";
    size_t lines = 1;
    for (size_t i = 0; i < bytes; i++) {
        SHOAL_CHECK(text[i], SHOAL_EFORMAT, "%s: is not text", b->merges_path);
        lines += text[i] == '\n';
    }
    SHOAL_TRY(mem_alloc(lines * sizeof *b->v->merge, "merges", &b->v->merge));
    char *line = text;
    if (strncmp(line, version, sizeof version - 1) == 0) line += strcspn(line, "\n");
    for (char *rest; *line; line = rest) {
        const size_t length = strcspn(line, "\r\n");
        rest = line + length;
        while (*rest == '\r' || *rest == '\n')
            *rest++ = '\0';
        if (length > 0) SHOAL_TRY(add_merge(b, line));
    }
    return SHOAL_OK;
}

static enum shoal_status add_merge_file(struct builder *b)
{
    char *text;
    size_t bytes;
    SHOAL_TRY(file_read(b->merges_path, &text, &bytes));
    const enum shoal_status st = add_merge_lines(b, text, bytes);
    mem_free(text);
    return st;
}

/* A merge in JSON is "left right" or ["left", "right"]. */
static enum shoal_status add_merge_array(struct builder *b, struct json_object *merges)
{
    const size_t n = json_count(merges);
    SHOAL_TRY(mem_alloc(n * sizeof *b->v->merge, "merges", &b->v->merge));
    for (size_t i = 0; i < n; i++) {
        struct json_object *merge = json_item(merges, i);
        const char *left = json_text_of(json_item(merge, 0));
        const char *right = json_text_of(json_item(merge, 1)), *both = json_text_of(merge);
        char pair[PAIR_TEXT] = "";
        int length = 0;
        if (both) length = snprintf(pair, sizeof pair, "%s", both);
        if (left && right) length = snprintf(pair, sizeof pair, "%s %s", left, right);
        SHOAL_CHECK(length < PAIR_TEXT, SHOAL_EFORMAT, "%s: merge %zu is too long", b->merges_path,
                    i + 1);
        SHOAL_TRY(add_merge(b, pair));
    }
    return SHOAL_OK;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static enum shoal_status check_made(const struct builder *b)
{
    int unmade = 0, first = -1;
    for (int i = b->v->n_tokens - 1; i >= 0; i--) {
        if (b->origin[i] != UNMADE) continue;
        unmade++;
        first = i;
    }
    SHOAL_CHECK(unmade == 0, SHOAL_EFORMAT,
                "%s: its %d merges do not make %d of the %d tokens of %s, the first of them "
                "'%s': " DISAGREE,
                b->merges_path, b->v->n_merges, unmade, b->v->n_tokens, b->tokens_path,
                b->name[first]);
    return SHOAL_OK;
}

/* What every token stands for. */
static enum shoal_status spell(struct builder *b)
{
    struct vocabulary *v = b->v;
    size_t most = 0;
    for (int i = 0; i < v->n_tokens; i++)
        most += strlen(b->name[i]);
    SHOAL_TRY(mem_alloc(most, "vocabulary", &v->bytes));
    SHOAL_TRY(mem_alloc(((size_t)v->n_tokens + 1) * sizeof *v->begin, "vocabulary", &v->begin));
    SHOAL_TRY(mem_alloc((size_t)v->n_tokens, "vocabulary", &v->special));
    for (int i = 0; i < v->n_tokens; i++) {
        char *to = v->bytes + v->begin[i];
        size_t n = strlen(b->name[i]);
        v->special[i] = b->origin[i] == SPECIAL;
        if (v->special[i]) {
            memcpy(to, b->name[i], n);
        } else {
            SHOAL_CHECK(alphabet_bytes(to, &n, b->name[i]), SHOAL_EFORMAT,
                        "%s: token '%s' stands for no bytes", b->tokens_path, b->name[i]);
        }
        v->begin[i + 1] = v->begin[i] + (uint32_t)n;
    }
    return SHOAL_OK;
}

static enum shoal_status build(struct builder *b, const struct vocabulary_json *json)
{
    SHOAL_TRY(add_names(b, json->names));
    SHOAL_TRY(add_bytes(b));
    SHOAL_TRY(add_special(b, json->added));
    SHOAL_TRY(json->merges ? add_merge_array(b, json->merges) : add_merge_file(b));
    SHOAL_TRY(check_made(b));
    return spell(b);
}

enum shoal_status vocabulary_read(const char *path, struct vocabulary *v)
{
    struct vocabulary_files files;
    struct vocabulary_json json = {0};
    enum shoal_status st;
    *v = (struct vocabulary){0};
    SHOAL_TRY(vocabulary_find(path, &files));
    struct builder b = {.v = v,
                        .tokens_path = files.tokens,
                        .merges_path = files.merges[0] ? files.merges : files.tokens};
    SHOAL_GOTO(vocabulary_json_open(&files, &json));
    SHOAL_GOTO(build(&b, &json));
done:
    mem_free(b.name);
    mem_free(b.origin);
    vocabulary_json_close(&json);
    if (st != SHOAL_OK) vocabulary_free(v);
    return st;
}

void vocabulary_free(struct vocabulary *v)
{
    mem_free(v->merge);
    mem_free(v->bytes);
    mem_free(v->begin);
    mem_free(v->special);
    *v = (struct vocabulary){0};
}
