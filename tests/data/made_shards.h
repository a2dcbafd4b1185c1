/* made_shards.h - token shards written without the code under test. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* A shard with the given header words and tokens. */
void write_raw_shard(const char *path, int32_t magic, int32_t version, int32_t header_tokens,
                     const uint16_t *tokens, size_t n);
/* A correct shard of n tokens: first, first + 1, ... modulo 65536. */
void write_counting_shard(const char *path, uint16_t first, int32_t n);
