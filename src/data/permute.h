/* permute.h - a permutation of 0 .. n-1 as a pure function of a key. Private to src/data. */
#pragma once
#include <stdint.h>
#include "base/rng.h"

/* Where a permutation of 0 .. n-1 drawn for `key` sends i. 0 <= i < n < 2^62. */
uint64_t permute(uint64_t i, uint64_t n, struct rng_key key);
