/* A configuration: YAML, then what follows --set on a command line, each behind a 0. What is
 * accepted is one that prints, reads back as the same and has a shape. */
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "config/config.h"
#include "fuzz/fuzz.h"

enum { OVERRIDES = 8 };

static void check(const struct config *c)
{
    struct config again;
    char *text = NULL;
    fuzz_must(config_text(c, &text) == SHOAL_OK, "a configuration that prints");
    fuzz_must(config_parse(&again, text, "again") == SHOAL_OK, "a print that reads back");
    fuzz_must(memcmp(c, &again, sizeof again) == 0, "the same configuration again");
    fuzz_must(config_check_resume(&again, c) == SHOAL_OK, "a run that can be resumed");
    const struct gpt_shape shape = config_shape(c);
    fuzz_must(shape.layers > 0 && shape.vocab_pad >= shape.vocab && shape.vocab > 0 &&
                  shape.width % shape.heads == 0 && shape.heads % shape.kv_heads == 0,
              "a shape that can be");
    (void)fuzz_ok(config_validate(c, 2));
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_input in = {data, n};
    const struct fuzz_input yaml = fuzz_section(&in);
    char *override[OVERRIDES], path[SHOAL_MAX_PATH];
    struct config c;
    int overrides = 0;
    while (in.left > 0 && overrides < OVERRIDES)
        override[overrides++] = fuzz_text(&in);
    fuzz_file(fuzz_path(path, "c.yaml"), yaml.at, yaml.left);
    if (fuzz_ok(config_load(&c, path, (const char *const *) override, overrides))) check(&c);
    while (overrides > 0)
        free(override[--overrides]);
    return 0;
}
