/* fixture.h - a device for a group of tests: the CPU, or the one that SHOAL_TEST_DEVICE names,
 * which then works on copies (mirror.h). */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kernels/kernels.h"

/* The call succeeds; its cause is printed otherwise. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != SHOAL_OK) fail_msg("%s: %s", #call, shoal_failure_text());                   \
    } while (0)

/* Group set-up and tear-down: *state is a struct device * of two threads. */
int device_setup(void **state);
int device_teardown(void **state);
/* Another device of the same kind with one thread. */
struct device *device_alone(void);
/* First in main: ends the program with exit code 77, which ctest takes for skipped, and says why,
 * if SHOAL_TEST_DEVICE names a device that does not open. */
void device_or_skip(void);
