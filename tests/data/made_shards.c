#include "data/made_shards.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include "support.h"

static void put_le(uint8_t *p, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

void write_raw_shard(const char *path, int32_t magic, int32_t version, int32_t header_tokens,
                     const uint16_t *tokens, size_t n)
{
    uint8_t *bytes = calloc(1024 + 2 * n, 1);
    assert_non_null(bytes);
    put_le(bytes, (uint32_t)magic, 4);
    put_le(bytes + 4, (uint32_t)version, 4);
    put_le(bytes + 8, (uint32_t)header_tokens, 4);
    for (size_t i = 0; i < n; i++)
        put_le(bytes + 1024 + 2 * i, tokens[i], 2);
    write_bytes(path, bytes, 1024 + 2 * n);
    free(bytes);
}

void write_counting_shard(const char *path, uint16_t first, int32_t n)
{
    uint16_t *tokens = malloc((size_t)n * sizeof *tokens);
    assert_non_null(tokens);
    for (int32_t i = 0; i < n; i++)
        tokens[i] = (uint16_t)(first + i);
    write_raw_shard(path, 20240520, 1, n, tokens, (size_t)n);
    free(tokens);
}
