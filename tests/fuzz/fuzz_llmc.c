/* Checkpoints of llm.c's: eight words of a header, then numbers. The file is as long as the header
 * says, unless the first byte says otherwise or that would be much; else few inputs would pass. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "fuzz/fuzz.h"
#include "fuzz/imported.h"

enum { AS_IT_IS = 1, WORDS = 8, HEADER_BYTES = 1024, MOST = 1 << 20 };
enum { CONTEXT = 2, VOCAB_PAD = 7, LAYERS = 4, WIDTH = 6, VERSION = 1 };

/* What llm.c's train_gpt2.c counts. 0: too much, or nonsense. */
static int64_t file_bytes(const int32_t word[WORDS])
{
    for (int i = 2; i < WORDS; i++)
        if (word[i] < 0 || word[i] > 4096) return 0;
    const int64_t c = word[WIDTH], layers = word[LAYERS];
    const int64_t numbers =
        (word[VOCAB_PAD] + word[CONTEXT] + 2) * c + layers * (12 * c * c + 13 * c);
    const int64_t bytes = HEADER_BYTES + numbers * (word[VERSION] == 3 ? 4 : 2);
    return bytes < MOST ? bytes : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_input in = {data, n};
    uint8_t header[HEADER_BYTES] = {0};
    int32_t word[WORDS];
    char path[SHOAL_MAX_PATH];
    const unsigned flags = (unsigned)fuzz_take(&in, 1);
    for (int i = 0; i < WORDS; i++) {
        word[i] = (int32_t)(uint32_t)fuzz_take(&in, 4);
        for (int k = 0; k < 4; k++)
            header[4 * i + k] = (uint8_t)((uint32_t)word[i] >> 8 * k);
    }
    FILE *file = fopen(fuzz_path(path, "model.bin"), "wb");
    fuzz_must(file && fwrite(header, 1, sizeof header, file) == sizeof header &&
                  fwrite(in.at, 1, in.left, file) == in.left && fclose(file) == 0,
              "room for files");
    const int64_t bytes = file_bytes(word);
    if (!(flags & AS_IT_IS) && bytes > 0) fuzz_must(truncate(path, bytes) == 0, "another length");
    fuzz_import(path);
    return 0;
}
