/* fixture.c - see fixture.h. */
#include "kernels/fixture.h"
#include <stdio.h>
#include <stdlib.h>
#include "kernels/mirror.h"

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

int device_setup(void **state)
{
    struct device *dev = NULL;
    const enum shoal_status st = open_wanted(2, &dev);
    *state = dev;
    return st == SHOAL_OK ? 0 : -1;
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
