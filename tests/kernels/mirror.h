/* mirror.h - a device for tests that keep everything in host memory: each call brings its arguments
 * to another device, runs there, and brings all of them back, so that what a kernel must not write
 * shows as well. Around each argument lies a margin that must stay as it is. */
#pragma once
#include "kernels/kernels.h"

/* Takes `inner` over, also on failure. Memory from device_alloc is the inner device's. */
enum shoal_status mirror_open(struct device *inner, struct device **out);
