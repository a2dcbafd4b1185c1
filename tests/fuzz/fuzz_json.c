/* JSON, as vocabularies, headers of tensors and descriptions of models come in; and any bytes
 * written as JSON of ours, which must read back. */
#include <stdlib.h>
#include <string.h>
#include "base/json_read.h"
#include "fuzz/fuzz.h"
#include "fuzz/json_written.h"

/* Whatever a file may hold where something else is expected. */
static void look(struct json_object *value)
{
    struct json_object *member = json_object_object_get(value, "a");
    (void)json_is_number(value);
    (void)json_object_get_int64(value);
    for (size_t i = 0; i <= json_count(value); i++)
        fuzz_must((json_item(value, i) == NULL) || i < json_count(value), "nothing past an array");
    if (json_text_of(member)) fuzz_must(strlen(json_text_of(member)) < SIZE_MAX, "text");
}

static void read_one(const char *text, size_t n)
{
    struct json_object *root = NULL;
    if (fuzz_ok(json_parse("x.json", text, n, "a thing", "of things", &root))) {
        struct json_object_iterator i = json_object_iter_begin(root);
        const struct json_object_iterator end = json_object_iter_end(root);
        for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i))
            look(json_object_iter_peek_value(&i));
        look(root);
    }
    json_object_put(root);
}

static void write_one(const uint8_t *data, size_t n)
{
    struct fuzz_input in = {data, n};
    const uint64_t bits = fuzz_take(&in, 8);
    struct json_object *root = NULL;
    size_t bytes = 0;
    char *text = fuzz_json_written((const char *)data, n, bits, &bytes);
    fuzz_must(json_parse("y.json", text, bytes, "ours", "of ours", &root) == SHOAL_OK,
              "our JSON to be JSON");
    struct json_object *whole = json_object_object_get(root, "int");
    fuzz_must(json_object_get_int64(whole) == (int64_t)bits, "the same number again");
    json_object_put(root);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1);
    fuzz_must(text != NULL, "memory for a text");
    if (n) memcpy(text, data, n);
    text[n] = 0;
    read_one(text, n);
    write_one((const uint8_t *)text, n); /* a 0 has to follow */
    free(text);
    return 0;
}
