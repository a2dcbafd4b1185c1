/* swap.h - what swap.c gives the backend's table. */
#pragma once
#include "kernels/cuda/cuda.h"

/* On failure s still wants swap_close. The device is the current one. */
enum shoal_status swap_open(struct swap *s);
void swap_close(struct swap *s);
enum shoal_status cuda_swap(struct device *dev, void *slab, void *out, const void *in,
                            size_t bytes);
enum shoal_status cuda_swap_wait(struct device *dev);
