/* vocabulary_save.c - one file instead of a pair, so that the two halves cannot come apart. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/json.h"
#include "data/alphabet.h"
#include "data/vocabulary.h"

/* The name of a token, as in the published files. */
static void name_of(char name[VOCABULARY_NAME], const struct vocabulary *v, int token)
{
    const size_t n = v->begin[token + 1] - v->begin[token];
    const char *bytes = v->bytes + v->begin[token];
    if (v->special[token]) {
        memcpy(name, bytes, n);
        name[n] = '\0';
        return;
    }
    name[0] = '\0';
    for (size_t i = 0; i < n; i++, name += strlen(name))
        alphabet_text(name, (uint8_t)bytes[i]);
}

static void write_special(struct json *j, const struct vocabulary *v)
{
    char name[VOCABULARY_NAME];
    json_open(j, "added_tokens", '[');
    for (int i = 0; i < v->n_tokens; i++) {
        if (!v->special[i]) continue;
        name_of(name, v, i);
        json_open(j, NULL, '{');
        json_int(j, "id", i);
        json_string(j, "content", name);
        json_bool(j, "single_word", false);
        json_bool(j, "lstrip", false);
        json_bool(j, "rstrip", false);
        json_bool(j, "normalized", false);
        json_bool(j, "special", true);
        json_close(j, '}');
    }
    json_close(j, ']');
}

/* How text is cut into words, or put together from tokens. */
static void write_byte_level(struct json *j, const char *key)
{
    json_open(j, key, '{');
    json_string(j, "type", "ByteLevel");
    json_bool(j, "add_prefix_space", false);
    json_bool(j, "trim_offsets", true);
    json_bool(j, "use_regex", true);
    json_close(j, '}');
}

static void write_model(struct json *j, const struct vocabulary *v)
{
    char name[VOCABULARY_NAME];
    json_open(j, "model", '{');
    json_string(j, "type", "BPE");
    json_open(j, "vocab", '{');
    for (int i = 0; i < v->n_tokens; i++) {
        name_of(name, v, i);
        json_int(j, name, i);
    }
    json_close(j, '}');
    json_open(j, "merges", '[');
    for (int i = 0; i < v->n_merges; i++) {
        json_open(j, NULL, '[');
        name_of(name, v, v->merge[i].left);
        json_string(j, NULL, name);
        name_of(name, v, v->merge[i].right);
        json_string(j, NULL, name);
        json_close(j, ']');
    }
    json_close(j, ']');
    json_close(j, '}');
}

static enum shoal_status write_all(const struct vocabulary *v, FILE *file)
{
    struct json j;
    json_begin(&j);
    json_string(&j, "version", "1.0");
    write_special(&j, v);
    write_byte_level(&j, "pre_tokenizer");
    write_byte_level(&j, "decoder");
    write_model(&j, v);
    return json_end(&j, file);
}

enum shoal_status vocabulary_save(const struct vocabulary *v, const char *path)
{
    char temp[SHOAL_MAX_PATH];
    SHOAL_TRY(file_temp_name(temp, path));
    FILE *file = fopen(temp, "wb");
    SHOAL_CHECK(file, SHOAL_EIO, "%s: cannot be created: %s", temp, strerror(errno));
    enum shoal_status st = write_all(v, file);
    if (fclose(file) != 0 && st == SHOAL_OK) {
        st = SHOAL_FAIL(SHOAL_EIO, "%s: cannot be written: %s; is there space left?", temp,
                        strerror(errno));
    }
    if (st == SHOAL_OK) return file_commit(temp, path);
    unlink(temp);
    return st;
}
