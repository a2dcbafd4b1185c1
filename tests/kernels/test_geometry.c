/* How the CUDA backend cuts work into blocks; plain arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "kernels/cuda/geometry.h"

static void parts(void **state)
{
    (void)state;
    assert_int_equal(parts_of(0, 4), 0);
    assert_int_equal(parts_of(1, 4), 1);
    assert_int_equal(parts_of(4, 4), 1);
    assert_int_equal(parts_of(5, 4), 2);
    assert_int_equal(parts_of((int64_t)1 << 40, 256), (int64_t)1 << 32);
}

/* At least one block, so that a launch is legal; no more than the most; enough for every element as
 * long as there are fewer. */
static void flat(void **state)
{
    (void)state;
    assert_int_equal(flat_blocks(0), 1);
    assert_int_equal(flat_blocks(1), 1);
    assert_int_equal(flat_blocks(1024), 1);
    assert_int_equal(flat_blocks(1025), 2);
    assert_int_equal(flat_blocks((int64_t)1 << 40), FLAT_MAX_BLOCKS);
    for (int64_t n = 1; n < 100000; n += 997)
        assert_true((int64_t)flat_blocks(n) * FLAT_THREADS * FLAT_STEP >= n);
}

/* All rows are covered, by no more blocks than there is room for. */
static void rows(void **state)
{
    (void)state;
    for (int64_t n = 1; n < 200000; n = n * 3 / 2 + 1) {
        const int64_t step = rows_per_block(n, 16, 512), blocks = parts_of(n, step);
        assert_true(step >= 16 && blocks <= 512 && blocks * step >= n && (blocks - 1) * step < n);
    }
}

static void alignment(void **state)
{
    (void)state;
    const int want[] = {16, 1, 2, 1, 4, 1, 2, 1, 8, 1, 2, 1, 4, 1, 2, 1, 16};
    for (uintptr_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_int_equal(alignment_of((const char *)4096 + i), want[i]);
    assert_true(aligned16(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts),
        cmocka_unit_test(flat),
        cmocka_unit_test(rows),
        cmocka_unit_test(alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
