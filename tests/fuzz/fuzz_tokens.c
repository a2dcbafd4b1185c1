/* Token shards: context, vocabulary, where to cut, then the bytes of two files. The mutator mends
 * their headers most of the time; only the rest is refused at the door. */
#include <string.h>
#include "data/data.h"
#include "fuzz/fuzz.h"

enum { FIXED = 6, CONTEXT = 64 };

static void put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* As long as there is room for a header. */
static void mend(uint8_t *file, size_t n)
{
    if (n < DATA_HEADER_BYTES) return;
    put32(file, DATA_MAGIC);
    put32(file + 4, DATA_VERSION);
    put32(file + 8, (uint32_t)((n - DATA_HEADER_BYTES) / 2));
}

static size_t first_bytes(const uint8_t *data, size_t n)
{
    return (size_t)(data[4] | data[5] << 8) % (n - FIXED + 1);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t room, unsigned seed)
{
    n = LLVMFuzzerMutate(data, n, room);
    if (n < FIXED + DATA_HEADER_BYTES || seed % 8 == 0) return n;
    const size_t first = first_bytes(data, n);
    mend(data + FIXED, first);
    mend(data + FIXED + first, n - FIXED - first);
    return n;
}

static void check_window(const int32_t *tokens, const int32_t *targets, int context, int vocab)
{
    for (int t = 0; t < context; t++) {
        fuzz_must(tokens[t] >= 0 && tokens[t] < vocab && targets[t] >= 0 && targets[t] < vocab,
                  "tokens of the vocabulary");
        fuzz_must(t + 1 == context || targets[t] == tokens[t + 1], "targets one token later");
    }
}

static void read_all(const struct data *d, int context, int vocab)
{
    int32_t tokens[CONTEXT], targets[CONTEXT];
    const int64_t windows = data_windows(d), sequences = data_epoch_sequences(d);
    for (int64_t i = 0; i < windows + 1; i++)
        if (fuzz_ok(data_window(d, i, tokens, targets)))
            check_window(tokens, targets, context, vocab);
    for (int64_t i = 0; i < 2 * sequences; i++)
        if (fuzz_ok(data_sample(d, 7, 1, i, tokens, targets)))
            check_window(tokens, targets, context, vocab);
    (void)fuzz_ok(data_sample(d, 7, 1, INT64_MAX, tokens, targets));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[SHOAL_MAX_PATH];
    struct data *d = NULL;
    if (n < FIXED) return 0;
    const int context = 1 + data[0] % CONTEXT, vocab = 2 + (data[2] | data[3] << 8);
    const size_t first = first_bytes(data, n);
    fuzz_file(fuzz_path(path, "a.bin"), data + FIXED, first);
    fuzz_file(fuzz_path(path, "b.bin"), data + FIXED + first, n - FIXED - first);
    fuzz_path(path, data[1] & 1 ? "?.bin" : "b.bin");
    if (fuzz_ok(data_open("data.train", path, context, vocab, &d))) read_all(d, context, vocab);
    data_close(&d);
    return 0;
}
