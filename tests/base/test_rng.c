#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/rng.h"

/* Known answers of the Random123 distribution, philox4x32 with ten rounds. */
static void test_philox_known_answers(void **state)
{
    (void)state;
    const struct {
        struct rng_block counter;
        uint32_t key[2];
        uint32_t expected[4];
    } cases[] = {
        {{{0, 0, 0, 0}}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        const struct rng_block b = rng_philox(cases[i].counter, cases[i].key[0], cases[i].key[1]);
        assert_memory_equal(b.v, cases[i].expected, sizeof b.v);
    }
}

static void test_bits_are_words_of_blocks(void **state)
{
    (void)state;
    const struct rng_key key = {42, RNG_DATA, 1, 2, 3};
    const struct rng_block mixed = rng_mix(key);
    for (uint64_t i = 0; i < 64; i++) {
        assert_int_equal(rng_bits(key, i), rng_block_at(mixed, i / 4).v[i % 4]);
    }
    /* An index beyond 32 bits is not the one 2^34 below. */
    assert_int_not_equal(rng_bits(key, 5), rng_bits(key, 5 + (UINT64_C(1) << 34)));
}

/* Share of equal bits of two streams; 1/2 within six standard deviations when independent. */
static void assert_independent(struct rng_key a, struct rng_key b)
{
    enum { WORDS = 4096 };
    int64_t equal = 0;
    for (uint64_t i = 0; i < WORDS; i++) {
        uint32_t same = ~(rng_bits(a, i) ^ rng_bits(b, i));
        for (; same; same &= same - 1)
            equal++;
    }
    const double n = 32.0 * WORDS;
    assert_true(fabs((double)equal - n / 2) < 6 * sqrt(n) / 2);
}

static void test_every_field_of_the_key_counts(void **state)
{
    (void)state;
    const struct rng_key base = {7, RNG_INIT, 0, 0, 0};
    const struct rng_key others[] = {
        {8, RNG_INIT, 0, 0, 0}, {7 + (UINT64_C(1) << 32), RNG_INIT, 0, 0, 0},
        {7, RNG_DATA, 0, 0, 0}, {7, RNG_INIT, 1, 0, 0},
        {7, RNG_INIT, 0, 1, 0}, {7, RNG_INIT, 0, 0, 1}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_independent(base, others[i]);
    }
}

static void test_uniform(void **state)
{
    (void)state;
    assert_true(rng_to_uniform(0) == 0.0f);
    assert_true(rng_to_uniform(UINT32_MAX) < 1.0f);
    assert_true(rng_to_uniform(UINT32_MAX) > 0.9999999f);
    enum { N = 1 << 20, BINS = 64 };
    const struct rng_key key = {3, RNG_CROSSOVER, 0, 0, 0};
    const struct rng_block mixed = rng_mix(key);
    double sum = 0, squares = 0, chi = 0;
    int bins[BINS] = {0};
    for (uint64_t i = 0; i < N; i++) {
        const double u = (double)rng_to_uniform(rng_block_at(mixed, i / 4).v[i % 4]);
        sum += u;
        squares += u * u;
        bins[(int)(u * BINS)]++;
    }
    assert_true(fabs(sum / N - 0.5) < 5 * sqrt(1.0 / 12 / N));
    assert_true(fabs(squares / N - 1.0 / 3) < 5 * sqrt(4.0 / 45 / N));
    for (int b = 0; b < BINS; b++) {
        const double expected = (double)N / BINS, d = bins[b] - expected;
        chi += d * d / expected;
    }
    assert_true(chi < 63 + 5 * sqrt(2 * 63.0)); /* chi-square with 63 degrees of freedom */
}

static void test_log(void **state)
{
    (void)state;
    double worst = 0;
    for (int i = 1; i <= 1000000; i++) {
        const float x = (float)i / 1000000.0f;
        const double exact = log((double)x), error = fabs((double)rng_log(x) - exact);
        const double relative = x < 1.0f ? error / fabs(exact) : error;
        if (relative > worst) worst = relative;
    }
    /* The smallest arguments that rng_to_normal has. */
    for (int e = -126; e < -20; e++) {
        const float x = ldexpf(1.5f, e);
        const double relative = fabs((double)rng_log(x) / log((double)x) - 1);
        if (relative > worst) worst = relative;
    }
    assert_true(rng_log(1.0f) == 0.0f);
    assert_true(worst < 1e-6);
}

/* The value's rank must be what the normal distribution says: every 127th of the 2^23 values. */
static void test_normal_against_erfc(void **state)
{
    (void)state;
    double worst = 0;
    for (uint32_t k = 0; k < 1u << 23; k += 127) {
        const double p = ((double)k + 0.5) / (1 << 23);
        const double z = (double)rng_to_normal(k << 9);
        const double tail = p < 0.5 ? p : 1 - p;
        const double relative = fabs(0.5 * erfc(fabs(z) / sqrt(2.0)) / tail - 1);
        if (relative > worst) worst = relative;
    }
    assert_true(worst < 1e-3);
    assert_true(rng_to_normal(UINT32_MAX) == -rng_to_normal(0));
    assert_true(rng_to_normal(UINT32_MAX) > 5.2f && rng_to_normal(UINT32_MAX) < 5.4f);
}

static void test_normal_moments_and_tails(void **state)
{
    (void)state;
    enum { N = 1 << 21 };
    const struct rng_key key = {5, RNG_NOISE, 2, 3, 4};
    const struct rng_block mixed = rng_mix(key);
    double moment[5] = {0};
    int beyond[5] = {0};
    for (uint64_t i = 0; i < N; i += 4) {
        const struct rng_block b = rng_block_at(mixed, i / 4);
        for (int w = 0; w < 4; w++) {
            const double z = (double)rng_to_normal(b.v[w]);
            double power = 1;
            for (int m = 0; m < 5; m++, power *= z)
                moment[m] += power / N;
            for (int s = 1; s < 5; s++)
                beyond[s] += fabs(z) > s;
        }
    }
    /* Variances of the sample moments of a standard normal: 1, 2, 15, 96 over N. */
    assert_true(fabs(moment[1]) < 5 * sqrt(1.0 / N));
    assert_true(fabs(moment[2] - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(moment[3]) < 5 * sqrt(15.0 / N));
    assert_true(fabs(moment[4] - 3) < 5 * sqrt(96.0 / N));
    for (int s = 1; s < 5; s++) {
        const double expected = N * erfc(s / sqrt(2.0));
        assert_true(fabs(beyond[s] - expected) < 5 * sqrt(expected) + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_bits_are_words_of_blocks),
        cmocka_unit_test(test_every_field_of_the_key_counts),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_normal_against_erfc),
        cmocka_unit_test(test_normal_moments_and_tails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
