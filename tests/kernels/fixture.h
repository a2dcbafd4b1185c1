/* fixture.h - a CPU device for a group of tests. */
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
