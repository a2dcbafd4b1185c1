/* fixture.c - see fixture.h. */
#include "kernels/fixture.h"

int device_setup(void **state)
{
    struct device *dev = NULL;
    const enum shoal_status st = device_open("cpu", 0, 2, &dev);
    *state = dev;
    return st == SHOAL_OK ? 0 : -1;
}

int device_teardown(void **state)
{
    struct device *dev = *state;
    device_close(&dev);
    return 0;
}
