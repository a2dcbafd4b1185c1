/* Directories of Hugging Face's: config.json, the header of model.safetensors, an index, each ended
 * by a 0, then the numbers. The length in front of the header is right unless the first byte says
 * otherwise; the second says which of the files are there. */
#include <string.h>
#include <unistd.h>
#include "fuzz/fuzz.h"
#include "fuzz/imported.h"

enum { RAW_LENGTH = 1, NO_MODEL = 2, BY_INDEX = 4, SHARD_NAMED = 8, PADDED = 16 };
enum { PADDING = 4096 };

static void write_tensors(const char *name, unsigned flags, struct fuzz_input header,
                          struct fuzz_input numbers)
{
    static uint8_t file[1 << 20];
    char path[SHOAL_MAX_PATH];
    size_t n = 0;
    if (!(flags & RAW_LENGTH)) {
        for (int i = 0; i < 8; i++)
            file[n++] = (uint8_t)(header.left >> 8 * i);
    }
    fuzz_must(n + header.left + numbers.left + PADDING < sizeof file, "a small input");
    if (header.left) memcpy(file + n, header.at, header.left);
    n += header.left;
    if (numbers.left) memcpy(file + n, numbers.at, numbers.left);
    n += numbers.left;
    /* So that tensors need not lie in the input. */
    if (flags & PADDED) {
        memset(file + n, 0, PADDING);
        n += PADDING - numbers.left % PADDING;
    }
    fuzz_file(fuzz_path(path, name), file, n);
}

static void write_section(const char *name, struct fuzz_input section)
{
    char path[SHOAL_MAX_PATH];
    fuzz_file(fuzz_path(path, name), section.at, section.left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_input in = {data, n};
    char path[SHOAL_MAX_PATH];
    const unsigned flags = (unsigned)fuzz_take(&in, 1);
    write_section("config.json", fuzz_section(&in));
    const struct fuzz_input header = fuzz_section(&in);
    write_section("model.safetensors.index.json", fuzz_section(&in));
    write_tensors("model.safetensors", flags, header, in);
    write_tensors("model-1.safetensors", flags, header, in);
    if (flags & NO_MODEL) (void)unlink(fuzz_path(path, "model.safetensors"));
    fuzz_path(path, flags & BY_INDEX      ? "model.safetensors.index.json"
                    : flags & SHARD_NAMED ? "model-1.safetensors"
                                          : "");
    fuzz_import(path);
    return 0;
}
