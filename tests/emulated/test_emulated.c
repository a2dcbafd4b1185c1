/* What only an emulated device lets one see: plans are made once, failures come back as messages
 * that say what to do, and a device that fails to open leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <cublasLt.h>
#include "emulated/emulated.h"
#include "kernels/cuda/cuda.h"

#define OK(call) assert_int_equal((call), SHOAL_OK)

static const struct view none = {NULL, {0, 0, 0, 0}, DTYPE_F32};

static struct device *open_device(void)
{
    struct device *dev = NULL;
    OK(device_open("cuda", 0, 1, &dev));
    return dev;
}

static struct view matrix(struct device *dev, enum dtype type, int64_t rows, int64_t cols)
{
    void *p = NULL;
    OK(device_alloc(dev, (size_t)(rows * cols) * dtype_bytes(type), "a matrix", &p));
    return view_make(p, type, rows, cols);
}

/* One question for a shape, another for another shape, another type of output, an epilogue, and an
 * address that is less aligned; none when they come back. */
static void plans_are_kept(void **state)
{
    (void)state;
    struct device *dev = open_device();
    const struct view x = matrix(dev, DTYPE_BF16, 8, 16), w = matrix(dev, DTYPE_BF16, 24, 16),
                      narrow = matrix(dev, DTYPE_BF16, 8, 24), out = matrix(dev, DTYPE_F32, 8, 24),
                      bias = matrix(dev, DTYPE_F32, 1, 24), longer = matrix(dev, DTYPE_F32, 9, 24);
    const struct view few = view_make(x.data, DTYPE_BF16, 4, 16),
                      few_out = view_make(out.data, DTYPE_F32, 4, 24),
                      odd = view_make((float *)longer.data + 1, DTYPE_F32, 8, 24);
    for (int i = 0; i < 3; i++) {
        const int before = emulated_heuristic_calls();
        OK(kernel_matmul(dev, out, x, w, none));
        OK(kernel_matmul(dev, few_out, few, w, none));
        OK(kernel_matmul(dev, narrow, x, w, none));
        OK(kernel_matmul(dev, out, x, w, bias));
        OK(kernel_matmul_residual(dev, out, out, x, w, none));
        OK(kernel_matmul(dev, odd, x, w, none));
        assert_int_equal(emulated_heuristic_calls() - before, i == 0 ? 6 : 0);
    }
    const struct view all[] = {x, w, narrow, out, bias, longer};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        device_free(dev, all[i].data);
    device_close(&dev);
}

static void assert_refused(const char *variable, const char *value, const char *says)
{
    struct device *dev = NULL;
    assert_int_equal(setenv(variable, value, 1), 0);
    assert_int_equal(device_open("cuda", 0, 1, &dev), SHOAL_EDEVICE);
    assert_null(dev);
    assert_non_null(strstr(shoal_failure_text(), says));
    OK(device_open("auto", 0, 1, &dev)); /* the CPU steps in, and nothing is left to tell */
    assert_string_equal(device_name(dev), "cpu");
    assert_string_equal(shoal_failure_text(), "");
    device_close(&dev);
    unsetenv(variable);
}

static void no_device(void **state)
{
    (void)state;
    assert_refused("EMULATED_DEVICES", "0", "CUDA_VISIBLE_DEVICES");
    assert_refused("EMULATED_DRIVER", "0", "no NVIDIA driver");
    assert_refused("EMULATED_DEVICES", "-35", "the driver is for CUDA 13.0, but this program");
    assert_refused("EMULATED_DEVICES", "-719", "compute-sanitizer");
}

static void wrong_index(void **state)
{
    (void)state;
    struct device *dev = NULL;
    assert_int_equal(device_open("cuda", 1, 1, &dev), SHOAL_EDEVICE);
    assert_non_null(strstr(shoal_failure_text(), "GPU 1 of 1"));
}

static void no_memory(void **state)
{
    (void)state;
    struct device *dev = open_device();
    void *p = NULL;
    assert_int_equal(device_alloc(dev, (size_t)1 << 40, "a slab", &p), SHOAL_ENOMEM);
    assert_null(p);
    assert_non_null(strstr(shoal_failure_text(), "no device memory for a slab"));
    device_close(&dev);
}

/* A kernel that failed shows at the next wait. */
static void late_failure(void **state)
{
    (void)state;
    struct device *dev = open_device();
    double sum = 0;
    const struct view x = matrix(dev, DTYPE_F32, 1, 8);
    assert_int_equal(setenv("EMULATED_SYNC_FAILS", "700", 1), 0);
    assert_int_equal(device_sync(dev), SHOAL_EDEVICE);
    assert_int_equal(kernel_sum(dev, &sum, x.data, 8), SHOAL_EDEVICE);
    unsetenv("EMULATED_SYNC_FAILS");
    device_free(dev, x.data);
    device_close(&dev);
}

/* In the lane nobody waits for the compute stream, and beside it starts when the lane has come so
 * far; outside it is the other way round. */
static void lane_is_apart(void **state)
{
    (void)state;
    struct device *dev = open_device();
    const cudaStream_t compute = cuda_of(dev)->stream;
    const struct view x = matrix(dev, DTYPE_F32, 1, 8), y = matrix(dev, DTYPE_F32, 1, 8);
    const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    float got[8] = {0};
    OK(device_upload(dev, x.data, ones, sizeof ones));
    OK(device_upload(dev, y.data, ones, sizeof ones));
    OK(kernel_axpby(dev, x.data, x.data, 8, 1.0f, 1.0f));
    assert_int_equal(emulated_queued(compute), 1);
    OK(device_lane_enter(dev));
    OK(kernel_axpby(dev, y.data, y.data, 8, 2.0f, 1.0f));
    OK(device_beside_begin(dev));
    OK(device_fetch(dev, got, y.data, sizeof got, 0)); /* not pinned: it is done at once */
    OK(device_beside_end(dev));
    OK(device_sync(dev));
    device_lane_leave(dev);
    assert_int_equal(emulated_queued(compute), 1);
    assert_true(got[7] == 3.0f);
    OK(device_beside_begin(dev));
    OK(device_fetch(dev, got, x.data, sizeof got, 0));
    assert_int_equal(emulated_queued(compute), 0);
    assert_true(got[7] == 2.0f);
    device_free(dev, x.data);
    device_free(dev, y.data);
    device_close(&dev);
}

static void described(void **state)
{
    (void)state;
    struct device *dev = open_device();
    assert_string_equal(device_describe(dev), "cuda:0, emulated, 1.1 GB, compute capability 8.0");
    assert_string_equal(device_identity(dev), "GPU-00000000-0000-0000-0000-000000000000");
    assert_false(device_is_host(dev));
    device_close(&dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_are_kept), cmocka_unit_test(no_device),
        cmocka_unit_test(wrong_index),    cmocka_unit_test(no_memory),
        cmocka_unit_test(late_failure),   cmocka_unit_test(described),
        cmocka_unit_test(lane_is_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
