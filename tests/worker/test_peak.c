/* The measured peak: a figure that a loop of the same products does not beat, in little time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "base/clock.h"
#include "worker/peak.h"

static void it_is_measured_in_the_time_allowed(void **state)
{
    (void)state;
    const enum precision precisions[] = {PRECISION_F32, PRECISION_BF16};
    const double run_flops[] = {0.0, 1e9, 1e18};
    struct device *dev = NULL;
    assert_int_equal(device_open("cpu", 0, 1, &dev), SHOAL_OK);
    for (int p = 0; p < 2; p++)
        for (int r = 0; r < 3; r++) {
            double rate = 0.0;
            const double start_s = clock_now_s();
            assert_int_equal(peak_measure(dev, precisions[p], run_flops[r], &rate), SHOAL_OK);
            print_message("%s, run of %g FLOPs: %.1f GFLOP/s in %.1f ms\n", p ? "bf16" : "f32",
                          run_flops[r], rate * 1e-9, (clock_now_s() - start_s) * 1e3);
            /* No processor is slower than a hundred megaflops or faster than a petaflop; a loaded
             * machine may take a multiple of the time. */
            assert_true(isfinite(rate) && rate > 1e8 && rate < 1e15);
            assert_true(clock_now_s() - start_s < 2.0);
        }
    device_close(&dev);
}

/* The same multiplications, timed here: about as fast, not a multiple of it. */
static void it_is_what_products_take(void **state)
{
    (void)state;
    enum { N = 256, TRIES = 50 };
    struct device *dev = NULL;
    float *slab = NULL;
    double rate = 0.0, best_s = INFINITY;
    assert_int_equal(device_open("cpu", 0, 1, &dev), SHOAL_OK);
    assert_int_equal(device_alloc(dev, 3 * N * N * sizeof *slab, "matrices", &slab), SHOAL_OK);
    const struct view a = view_make(slab, DTYPE_F32, N, N), none = {0};
    const struct view b = view_make(slab + N * N, DTYPE_F32, N, N);
    const struct view out = view_make(slab + 2 * N * N, DTYPE_F32, N, N);
    for (int i = 0; i < TRIES; i++) {
        const double start_s = clock_now_s();
        assert_int_equal(kernel_matmul(dev, out, a, b, none), SHOAL_OK);
        best_s = fmin(best_s, clock_now_s() - start_s);
    }
    assert_int_equal(peak_measure(dev, PRECISION_F32, 0.0, &rate), SHOAL_OK);
    const double found = rate * best_s / (2.0 * N * N * N);
    if (!(found > 0.1 && found < 10.0)) fail_msg("%g times what was timed here", found);
    device_free(dev, slab);
    device_close(&dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_measured_in_the_time_allowed),
        cmocka_unit_test(it_is_what_products_take),
    };
    return cmocka_run_group_tests_name("peak", tests, NULL, NULL);
}
