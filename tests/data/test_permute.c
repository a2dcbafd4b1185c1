/* The order of an epoch: a bijection for any length, and different wherever the key differs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include "data/permute.h"

static const uint64_t LENGTHS[] = {1, 2, 3, 7, 100, 1000, 1024, 1025, 65537};
enum { N_LENGTHS = sizeof LENGTHS / sizeof LENGTHS[0] };

static struct rng_key key_of(uint64_t seed, uint32_t expert, uint32_t epoch)
{
    const struct rng_key key = {seed, RNG_DATA, expert, epoch, 0};
    return key;
}

static void is_a_bijection(void **state)
{
    (void)state;
    for (int l = 0; l < N_LENGTHS; l++) {
        const uint64_t n = LENGTHS[l];
        unsigned char *seen = calloc(n, 1);
        assert_non_null(seen);
        for (uint64_t i = 0; i < n; i++) {
            const uint64_t to = permute(i, n, key_of(7, 3, 2));
            assert_true(to < n);
            assert_int_equal(seen[to], 0);
            seen[to] = 1;
        }
        free(seen);
    }
}

static int64_t equal_places(struct rng_key a, struct rng_key b, uint64_t n)
{
    int64_t equal = 0;
    for (uint64_t i = 0; i < n; i++)
        equal += permute(i, n, a) == permute(i, n, b);
    return equal;
}

/* Two independent permutations agree in 1 place on average; 10 has probability 1e-7. */
static void keys_give_different_orders(void **state)
{
    (void)state;
    const struct rng_key key = key_of(7, 3, 2);
    assert_int_equal(equal_places(key, key, 1000), 1000);
    assert_true(equal_places(key, key_of(8, 3, 2), 1000) < 10);
    assert_true(equal_places(key, key_of(7, 4, 2), 1000) < 10);
    assert_true(equal_places(key, key_of(7, 3, 3), 1000) < 10);
}

/* Over many keys each place is sent everywhere equally often: chi-squared of a 10 x 10 table. */
static void no_place_is_preferred(void **state)
{
    (void)state;
    enum { N = 10, KEYS = 10000 };
    int count[N][N] = {{0}};
    for (uint32_t k = 0; k < KEYS; k++) {
        for (uint64_t i = 0; i < N; i++)
            count[i][permute(i, N, key_of(1, 0, k))]++;
    }
    double chi2 = 0;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            const double d = count[i][j] - (double)KEYS / N;
            chi2 += d * d / ((double)KEYS / N);
        }
    }
    /* 81 degrees of freedom: 1e-6 of a fair table's values lie above 155 */
    assert_true(chi2 < 155);
}

/* All six orders of three things come up, about equally often. */
static void small_sets_get_every_order(void **state)
{
    (void)state;
    enum { KEYS = 6000 };
    int count[27] = {0};
    for (uint32_t k = 0; k < KEYS; k++) {
        const struct rng_key key = key_of(5, k, 0);
        count[9 * permute(0, 3, key) + 3 * permute(1, 3, key) + permute(2, 3, key)]++;
    }
    int orders = 0;
    for (int i = 0; i < 27; i++) {
        if (count[i] == 0) continue;
        orders++;
        assert_in_range(count[i], 850, 1150);
    }
    assert_int_equal(orders, 6);
}

static void huge_sets_need_no_memory(void **state)
{
    (void)state;
    const uint64_t n = ((uint64_t)1 << 40) + 12345;
    uint64_t highest = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        const uint64_t to = permute(n - 1 - i, n, key_of(1, 1, 1));
        assert_true(to < n);
        if (to > highest) highest = to;
    }
    assert_true(highest > n / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_a_bijection),           cmocka_unit_test(keys_give_different_orders),
        cmocka_unit_test(no_place_is_preferred),    cmocka_unit_test(small_sets_get_every_order),
        cmocka_unit_test(huge_sets_need_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
