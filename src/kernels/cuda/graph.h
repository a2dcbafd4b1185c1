/* graph.h - what graph.c gives the backend's table. */
#pragma once
#include "kernels/cuda/cuda.h"

enum shoal_status cuda_record_begin(struct device *dev);
enum shoal_status cuda_record_end(struct device *dev, struct device_piece **out);
enum shoal_status cuda_replay(struct device *dev, struct device_piece *p, bool *moved);
void cuda_piece_free(struct device *dev, struct device_piece *p);
