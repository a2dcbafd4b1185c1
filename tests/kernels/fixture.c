/* fixture.c - see fixture.h. */
#include "kernels/fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernels/cpu/cpu.h"
#include "kernels/mirror.h"
#include "kernels/tensor.h"

enum { SKIPPED = 77 };

static const char *wanted(void)
{
    const char *const name = getenv("SHOAL_TEST_DEVICE");
    return name ? name : "cpu";
}

static enum shoal_status open_wanted(int threads, struct device **out)
{
    struct device *dev = NULL;
    SHOAL_TRY(device_open(wanted(), 0, threads, &dev));
    if (!device_is_host(dev)) return mirror_open(dev, out);
    *out = dev;
    return SHOAL_OK;
}

/* With SHOAL_TEST_ONEDNN set, bf16 products are oneDNN's; without such products, nothing is tested.
 */
static void choose_products(struct device *dev)
{
    const struct view none = {NULL, {0, 0, 0, 0}, DTYPE_F32};
    if (!getenv("SHOAL_TEST_ONEDNN") || strcmp(device_name(dev), "cpu") != 0) return;
    cpu_of(dev)->matrices16 = true;
    struct tensor x = tensor_zero(DTYPE_BF16, 16, 16), out = tensor_zero(DTYPE_BF16, 16, 16);
    if (kernel_matmul(dev, out.view, x.view, x.view, none) != SHOAL_OK) {
        (void)fprintf(stderr, "skipped: %s\n", shoal_failure_text());
        exit(SKIPPED);
    }
    tensor_free(&x);
    tensor_free(&out);
}

int device_setup(void **state)
{
    struct device *dev = NULL;
    if (open_wanted(2, &dev) != SHOAL_OK) return -1;
    choose_products(dev);
    *state = dev;
    return 0;
}

int device_teardown(void **state)
{
    struct device *dev = *state;
    device_close(&dev);
    return 0;
}

struct device *device_alone(void)
{
    struct device *dev = NULL;
    OK(open_wanted(1, &dev));
    return dev;
}

void device_or_skip(void)
{
    struct device *dev = NULL;
    if (open_wanted(1, &dev) == SHOAL_OK) {
        (void)printf("on %s\n", device_describe(dev));
        device_close(&dev);
        return;
    }
    (void)printf("%s\n", shoal_failure_text());
    exit(SKIPPED);
}
