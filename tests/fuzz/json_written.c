#include "fuzz/json_written.h"
#include <string.h>
#include "base/json.h"
#include "fuzz/fuzz.h"

char *fuzz_json_written(const char *text, size_t n, uint64_t bits, size_t *bytes)
{
    struct json j;
    double number;
    char *out = NULL;
    memcpy(&number, &bits, sizeof number);
    json_begin(&j);
    json_text(&j, "text", text, n);
    json_number(&j, "number", number);
    json_int(&j, "int", (int64_t)bits);
    json_open(&j, "list", '[');
    json_bool(&j, NULL, true);
    json_close(&j, ']');
    fuzz_must(json_take(&j, &out, bytes) == SHOAL_OK, "JSON");
    return out;
}
