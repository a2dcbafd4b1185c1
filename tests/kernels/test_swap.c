/* Slabs that change places with page-locked memory, and work on them where they wait. */
#include <stdlib.h>
#include <string.h>
#include "kernels/fixture.h"

/* More than the pieces that slabs go in; kernels see the first WORKED elements of it. */
enum { N = (34 << 20) / 4, WORKED = 1 << 12, EXPERTS = 4, ROUNDS = 3 };

static struct device *open_device(void)
{
    const char *const name = getenv("SHOAL_TEST_DEVICE");
    struct device *dev = NULL;
    OK(device_open(name ? name : "cpu", 0, 2, &dev));
    return dev;
}

static float value(int expert, int64_t i)
{
    return (float)(expert * 1000 + (int)(i % 997));
}

/* Each expert is doubled in its turn, in one of two slabs, while the next comes into the other. */
static void swaps_are_in_order(void **state)
{
    (void)state;
    struct device *dev = open_device();
    float *slab[2], *home[EXPERTS];
    const size_t bytes = N * sizeof **slab;
    for (int s = 0; s < 2; s++)
        OK(device_alloc(dev, bytes, "a slab", &slab[s]));
    for (int e = 0; e < EXPERTS; e++) {
        OK(device_alloc_pinned(dev, bytes, "a home", &home[e]));
        for (int64_t i = 0; i < N; i++)
            home[e][i] = value(e, i);
    }
    OK(device_swap(dev, slab[0], NULL, home[0], bytes));
    for (int turn = 0; turn < ROUNDS * EXPERTS; turn++) {
        float *const leaves = turn > 0 ? home[(turn - 1) % EXPERTS] : NULL;
        OK(device_swap_wait(dev));
        OK(device_swap(dev, slab[(turn + 1) % 2], leaves, home[(turn + 1) % EXPERTS], bytes));
        OK(kernel_axpby(dev, slab[turn % 2], slab[turn % 2], WORKED, 1.0f, 1.0f));
    }
    OK(device_swap(dev, slab[(ROUNDS * EXPERTS - 1) % 2], home[EXPERTS - 1], NULL, bytes));
    OK(device_swap_wait(dev));
    OK(device_sync(dev));
    for (int e = 0; e < EXPERTS; e++)
        for (int64_t i = 0; i < N; i++)
            if (home[e][i] != value(e, i) * (i < WORKED ? 1 << ROUNDS : 1))
                fail_msg("element %lld of %d is %g", (long long)i, e, (double)home[e][i]);
    for (int s = 0; s < 2; s++)
        device_free(dev, slab[s]);
    for (int e = 0; e < EXPERTS; e++)
        device_free_pinned(dev, home[e]);
    device_close(&dev);
}

/* Whatever takes a slab on the device takes one in page-locked memory. */
static void work_at_home(void **state)
{
    (void)state;
    struct device *dev = open_device();
    const size_t bytes = WORKED * sizeof(float);
    float *there, *home, *other, *message, *host = malloc(bytes);
    double sum = 0;
    bool done = false;
    assert_non_null(host);
    for (int i = 0; i < WORKED; i++)
        host[i] = value(0, i);
    OK(device_alloc(dev, bytes, "a slab", &there));
    OK(device_alloc_pinned(dev, bytes, "a home", &home));
    OK(device_alloc_pinned(dev, bytes, "a home", &other));
    OK(device_alloc_pinned(dev, bytes, "a message", &message));
    OK(device_zero(dev, other, bytes));
    OK(device_upload(dev, home, host, bytes));               /* 1 */
    OK(kernel_axpby(dev, home, home, WORKED, 1.0f, 1.0f));   /* 2 */
    OK(device_copy(dev, there, home, bytes));                /* home to device */
    OK(kernel_axpby(dev, other, there, WORKED, 1.0f, 1.0f)); /* 2 */
    OK(device_copy(dev, home, other, bytes));                /* home to home */
    OK(kernel_axpby(dev, there, home, WORKED, 1.0f, 1.0f));  /* 4 */
    OK(device_copy(dev, other, there, bytes));               /* device to home */
    OK(device_beside_begin(dev));
    OK(device_fetch(dev, message, other, bytes, 0)); /* home to message */
    while (!done)
        OK(device_slot_done(dev, 0, &done));
    OK(kernel_sum(dev, &sum, other, WORKED));
    memset(host, 0, bytes);
    OK(device_download(dev, host, other, bytes));
    double expected = 0;
    for (int i = 0; i < WORKED; i++) {
        expected += 4 * value(0, i);
        assert_true(host[i] == 4 * value(0, i));
        assert_true(message[i] == host[i]);
    }
    assert_true(sum == expected);
    device_free(dev, there);
    device_free_pinned(dev, home);
    device_free_pinned(dev, other);
    device_free_pinned(dev, message);
    free(host);
    device_close(&dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(swaps_are_in_order),
                                       cmocka_unit_test(work_at_home)};
    device_or_skip();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
