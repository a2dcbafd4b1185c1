/* rng.h - counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers:
 * as easy as 1, 2, 3", SC 2011).
 *
 * A number is a pure function of (key, index): no state is carried, so results depend neither on
 * the number of ranks, threads or blocks nor on the order of calls. Only integer operations and
 * correctly rounded float operations are used, so CPU and GPU agree bit for bit (compile with
 * floating-point contraction off). Usable from C11 and CUDA. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define RNG_FN static inline __host__ __device__
#else
#define RNG_FN static inline
#endif

/* What a stream of numbers belongs to. Two keys that differ in any field are independent. */
struct rng_key {
    uint64_t seed;   /* the run's seed */
    uint32_t stream; /* enum rng_stream, what for; top 8 bits must be zero */
    uint32_t expert; /* expert number */
    uint32_t round;  /* round, epoch or other repetition number */
    uint32_t tensor; /* index of the tensor in the parameter table; 0 where there is none */
};

enum rng_stream {
    RNG_INIT = 1,   /* initial weights */
    RNG_DATA,       /* order of the training sequences */
    RNG_SWARM_OWN,  /* r1 of the swarm step */
    RNG_SWARM_BEST, /* r2 of the swarm step */
    RNG_CROSSOVER,  /* which elements cross over */
    RNG_MUTATE,     /* which elements mutate */
    RNG_NOISE,      /* by how much they do */
    RNG_SAMPLE,     /* text generation */
    RNG_SELECT,     /* whom an expert follows */
    RNG_PAIR,       /* who meets whom */
    RNG_PERTURB     /* what becomes of an inherited learning rate */
};

struct rng_block {
    uint32_t v[4];
};

/* One Philox 4x32-10 block: ten rounds over counter c with key k. */
RNG_FN struct rng_block rng_philox(struct rng_block c, uint32_t k0, uint32_t k1)
{
    for (int i = 0; i < 10; i++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c.v[0];
        const uint64_t p1 = (uint64_t)0xCD9E8D57u * c.v[2];
        const struct rng_block next = {{(uint32_t)(p1 >> 32) ^ c.v[1] ^ k0, (uint32_t)p1,
                                        (uint32_t)(p0 >> 32) ^ c.v[3] ^ k1, (uint32_t)p0}};
        c = next;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

/* The key of a (seed, stream, expert, round, tensor): mixed once per tensor, not per element. */
RNG_FN struct rng_block rng_mix(struct rng_key key)
{
    const struct rng_block c = {{key.stream, key.expert, key.round, key.tensor}};
    return rng_philox(c, (uint32_t)key.seed, (uint32_t)(key.seed >> 32));
}

/* Block `index` of the mixed key: four independent 32-bit words for elements 4*index .. 4*index+3.
 */
RNG_FN struct rng_block rng_block_at(struct rng_block mixed, uint64_t index)
{
    const struct rng_block c = {{(uint32_t)index, (uint32_t)(index >> 32), mixed.v[2], mixed.v[3]}};
    return rng_philox(c, mixed.v[0], mixed.v[1]);
}

/* 32 random bits for element `index`. */
RNG_FN uint32_t rng_bits(struct rng_key key, uint64_t index)
{
    return rng_block_at(rng_mix(key), index / 4).v[index % 4];
}

/* A word as a float uniform in [0, 1), 24 bits. */
RNG_FN float rng_to_uniform(uint32_t bits)
{
    return (float)(bits >> 8) * (1.0f / 16777216.0f);
}

/* Natural logarithm of x in (0, 1], relative error below 1e-6; only +, *, / and bit moves. */
RNG_FN float rng_log(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    /* x = 2^e * f with f in [sqrt(1/2), sqrt(2)) */
    const int e = (int)((u + (0x3f800000u - 0x3f3504f3u)) >> 23) - 127;
    u -= (uint32_t)e << 23;
    float f;
    memcpy(&f, &u, 4);
    /* log f = 2 atanh(s), s = (f - 1) / (f + 1) */
    const float s = (f - 1.0f) / (f + 1.0f), z = s * s;
    float p = 1.0f / 9.0f;
    p = p * z + 1.0f / 7.0f;
    p = p * z + 1.0f / 5.0f;
    p = p * z + 1.0f / 3.0f;
    p = p * z + 1.0f;
    return (float)e * 0.693147180559945f + 2.0f * s * p;
}

/* A word as a standard normal: inverse cumulative distribution after M. Giles, "Approximating the
 * erfinv function" (2010), single precision. 23 bits, so |value| < 5.4. */
RNG_FN float rng_to_normal(uint32_t bits)
{
    /* u strictly inside (-1, 1), symmetric about 0 and exact in 24 bits */
    const float u = ((float)(bits >> 9) + 0.5f) * (2.0f / 8388608.0f) - 1.0f;
    float w = -rng_log((1.0f - u) * (1.0f + u)), p;
    if (w < 5.0f) {
        w = w - 2.5f;
        p = 2.81022636e-08f;
        p = 3.43273939e-07f + p * w;
        p = -3.5233877e-06f + p * w;
        p = -4.39150654e-06f + p * w;
        p = 0.00021858087f + p * w;
        p = -0.00125372503f + p * w;
        p = -0.00417768164f + p * w;
        p = 0.246640727f + p * w;
        p = 1.50140941f + p * w;
    } else {
        w = sqrtf(w) - 3.0f;
        p = -0.000200214257f;
        p = 0.000100950558f + p * w;
        p = 0.00134934322f + p * w;
        p = -0.00367342844f + p * w;
        p = 0.00573950773f + p * w;
        p = -0.0076224613f + p * w;
        p = 0.00943887047f + p * w;
        p = 1.00167406f + p * w;
        p = 2.83297682f + p * w;
    }
    return 1.41421356f * p * u;
}
