/* beside.h - what beside.c gives the backend's table. */
#pragma once
#include "kernels/cuda/cuda.h"

/* On failure b still wants beside_close. The device is the current one. */
enum shoal_status beside_open(struct beside *b);
void beside_close(struct beside *b);
enum shoal_status cuda_alloc_pinned(struct device *dev, size_t bytes, const char *what, void *out);
void cuda_free_pinned(struct device *dev, void *p);
enum shoal_status cuda_beside_begin(struct device *dev);
enum shoal_status cuda_beside_end(struct device *dev);
enum shoal_status cuda_fetch(struct device *dev, void *pinned, const void *src, size_t bytes,
                             int slot);
enum shoal_status cuda_store(struct device *dev, void *dst, const void *pinned, size_t bytes,
                             int slot);
enum shoal_status cuda_note(struct device *dev, int slot);
enum shoal_status cuda_slot_done(struct device *dev, int slot, bool *done);
void *cuda_beside_stream(struct device *dev);
enum shoal_status cuda_lane_enter(struct device *dev);
void cuda_lane_leave(struct device *dev);
