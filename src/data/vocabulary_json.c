/* A tokenizer.json can ask for much more than GPT-2 does (other ways to cut words, normalisation,
 * added tokens inside text). What would give other tokens than ours is refused. */
#include "data/vocabulary_json.h"
#include <string.h>

/* ---- tokenizer.json -------------------------------------------------------------------------- */

static const char *type_of(struct json_object *part)
{
    const char *type = json_text_of(json_object_object_get(part, "type"));
    return type ? type : "none";
}

/* Whether an option is as good as not there. */
static bool is_off(struct json_object *part, const char *key)
{
    struct json_object *value = json_object_object_get(part, key);
    const char *text = json_text_of(value);
    if (text) return !text[0];
    return !json_object_is_type(value, json_type_object) && !json_object_get_boolean(value);
}

static enum shoal_status check_kind(const char *path, struct json_object *root)
{
    static const char *const absent[] = {"dropout", "byte_fallback", "ignore_merges",
                                         "continuing_subword_prefix", "end_of_word_suffix"};
    struct json_object *model = json_object_object_get(root, "model");
    struct json_object *cut = json_object_object_get(root, "pre_tokenizer");
    struct json_object *pattern = json_object_object_get(cut, "use_regex");
    SHOAL_CHECK(model, SHOAL_EFORMAT, "%s: has no \"model\"; is it a tokenizer.json?", path);
    SHOAL_CHECK(strcmp(type_of(model), "BPE") == 0 && strcmp(type_of(cut), "ByteLevel") == 0,
                SHOAL_EFORMAT,
                "%s: its model is %s on %s; only GPT-2's kind can be used, BPE on ByteLevel", path,
                type_of(model), type_of(cut));
    SHOAL_CHECK(is_off(root, "normalizer") && is_off(cut, "add_prefix_space") &&
                    (!pattern || json_object_get_boolean(pattern)),
                SHOAL_EFORMAT,
                "%s: prepares text in another way than GPT-2 (normalizer, add_prefix_space or "
                "use_regex)",
                path);
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        SHOAL_CHECK(is_off(model, absent[i]), SHOAL_EFORMAT, "%s: has %s set, which GPT-2 has not",
                    path, absent[i]);
    }
    return SHOAL_OK;
}

/* Make an added token one of the names. */
static enum shoal_status include(const char *path, struct json_object *token,
                                 struct json_object *names)
{
    const char *name = json_text_of(json_object_object_get(token, "content"));
    struct json_object *id = json_object_object_get(token, "id");
    SHOAL_CHECK(name && json_is_number(id), SHOAL_EFORMAT,
                "%s: an added token has no content or no id", path);
    SHOAL_CHECK(json_object_get_boolean(json_object_object_get(token, "special")), SHOAL_EFORMAT,
                "%s: added token '%s' is not special, so it could be part of text; GPT-2 has no "
                "such tokens",
                path, name);
    struct json_object *known = json_object_object_get(names, name);
    SHOAL_CHECK(!known || json_object_equal(known, id), SHOAL_EFORMAT,
                "%s: added token '%s' has two numbers", path, name);
    if (known) return SHOAL_OK;
    SHOAL_CHECK(json_object_object_add(names, name, json_object_get(id)) == 0, SHOAL_ENOMEM,
                "%s: out of memory for its tokens", path);
    return SHOAL_OK;
}

static enum shoal_status open_parts(const char *path, struct vocabulary_json *j)
{
    SHOAL_TRY(check_kind(path, j->root));
    struct json_object *model = json_object_object_get(j->root, "model");
    j->names = json_object_object_get(model, "vocab");
    j->merges = json_object_object_get(model, "merges");
    j->added = json_object_object_get(j->root, "added_tokens");
    SHOAL_CHECK(json_object_is_type(j->names, json_type_object) &&
                    json_object_is_type(j->merges, json_type_array),
                SHOAL_EFORMAT, "%s: has no model.vocab or no model.merges", path);
    for (size_t i = 0; i < json_count(j->added); i++)
        SHOAL_TRY(include(path, json_item(j->added, i), j->names));
    return SHOAL_OK;
}

enum shoal_status vocabulary_json_open(const struct vocabulary_files *files,
                                       struct vocabulary_json *out)
{
    *out = (struct vocabulary_json){0};
    SHOAL_TRY(
        json_read(files->tokens, "a vocabulary", "that gives every token its number", &out->root));
    out->names = out->root;
    return files->merges[0] ? SHOAL_OK : open_parts(files->tokens, out);
}

void vocabulary_json_close(struct vocabulary_json *j)
{
    json_object_put(j->root);
    *j = (struct vocabulary_json){0};
}
