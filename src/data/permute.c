/* A Feistel network over the smallest power of two that holds n, with cycle walking (Black &
 * Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002): no table, so an epoch of any size
 * costs no memory, and any position can be asked for without the ones before it. The halves may
 * differ by a bit; each round changes one half by a function of the other, which can be undone, so
 * every round and therefore the whole is a bijection. */
#include "data/permute.h"
#include "base/status.h"

enum { FEISTEL_ROUNDS = 8 };

static int bits_of(uint64_t n)
{
    int bits = 0;
    while (bits < 62 && ((uint64_t)1 << bits) < n)
        bits++;
    return bits;
}

static uint64_t feistel(uint64_t x, int low_bits, int high_bits, struct rng_block mixed)
{
    const uint32_t low_mask = (uint32_t)(((uint64_t)1 << low_bits) - 1);
    const uint32_t high_mask = (uint32_t)(((uint64_t)1 << high_bits) - 1);
    uint32_t low = (uint32_t)x & low_mask, high = (uint32_t)(x >> low_bits) & high_mask;
    for (uint64_t round = 0; round < FEISTEL_ROUNDS; round += 2) {
        low ^= rng_block_at(mixed, round << 32 | high).v[0] & low_mask;
        high ^= rng_block_at(mixed, (round + 1) << 32 | low).v[0] & high_mask;
    }
    return (uint64_t)high << low_bits | low;
}

uint64_t permute(uint64_t i, uint64_t n, struct rng_key key)
{
    SHOAL_ASSERT(i < n && n < (uint64_t)1 << 62);
    const struct rng_block mixed = rng_mix(key);
    const int bits = bits_of(n), high_bits = bits / 2;
    /* The domain is smaller than 2n, so fewer than two turns on average; the cycle that i lies on
     * comes back to i, so the walk ends. */
    do {
        i = feistel(i, bits - high_bits, high_bits, mixed);
    } while (i >= n);
    return i;
}
