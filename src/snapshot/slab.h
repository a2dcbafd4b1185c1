/* slab.h - slabs as groups of datasets under Hugging Face's names. Private to this folder. */
#pragma once
#include "kernels/kernels.h"
#include "model/params.h"
#include "snapshot/h5.h"

/* Write every tensor of a slab on dev below `group` ("/params"). Vocabulary padding and gaps stay
 * out. */
enum shoal_status slab_write(const struct h5 *h, const char *group, const struct param_table *table,
                             struct device *dev, const float *slab);
/* Read them back; padding and gaps become zero. */
enum shoal_status slab_read(const struct h5 *h, const char *group, const struct param_table *table,
                            struct device *dev, float *slab);
/* Whether every tensor is there with its shape; the numbers are not read. */
enum shoal_status slab_check(const struct h5 *h, const char *group,
                             const struct param_table *table);
/* Bytes a slab takes in a file, and of the host buffers it passes through on its way. */
int64_t slab_bytes(const struct param_table *table);
int64_t slab_buffer_bytes(const struct param_table *table, bool on_host);
/* Whether a file is as large as a slab of such an expert at least: whoever reads the one makes room
 * for the other. SHOAL_EFORMAT. */
enum shoal_status slab_check_room(const char *path, const struct gpt_shape *shape);
