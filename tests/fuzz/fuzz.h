/* fuzz.h - what the fuzz targets share. A target is one function, called by libFuzzer with bytes
 * that nobody vouches for: LLVMFuzzerTestOneInput. It fails by a sanitizer's finding, by fuzz_must,
 * or by asking for more memory than tests/fuzz/CMakeLists.txt allows. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/files.h"
#include "base/status.h"

/* Called by libFuzzer; of the mutators only some targets have one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t room, unsigned seed);
/* libFuzzer's own mutations, in place. The new length, at most room. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t room);

/* ---- the input, taken bit by bit ---- */

struct fuzz_input {
    const uint8_t *at;
    size_t left;
};
/* The next bytes as a little-endian number; past the end they are 0. */
uint64_t fuzz_take(struct fuzz_input *in, int bytes);
/* The bytes up to the next 0, which is left out, or to the end. */
struct fuzz_input fuzz_section(struct fuzz_input *in);
/* The same as text: 0-terminated, free(). */
char *fuzz_text(struct fuzz_input *in);

/* ---- files ---- */

/* DIR/name in out, which holds SHOAL_MAX_PATH bytes. DIR is this process's own, in memory where the
 * system can, and goes when the process ends in peace. */
const char *fuzz_path(char *out, const char *name);
/* Make a file of these bytes. */
void fuzz_file(const char *path, const void *data, size_t n);

/* ---- what must hold ---- */

/* Stop as a finding, with what was expected. */
void fuzz_must(bool holds, const char *what);
/* Every refusal has a text; SHOAL_ENOMEM is none: it means that a size was believed. With
 * FUZZ_SAY in the environment the text is printed. Whether st is SHOAL_OK. */
bool fuzz_ok(enum shoal_status st);

struct device;
/* The host's memory as a device (device.c), opened once. */
struct device *fuzz_device(void);
