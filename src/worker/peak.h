/* peak.h - how fast a device multiplies matrices, to set a model's speed against. */
#pragma once
#include "config/config.h"
#include "kernels/kernels.h"

/* *flops_per_s: the best of several square products in the run's precision, by kernel_matmul. Takes
 * some 60 ms at most, and for a run of run_flops in all not much more than a hundredth of its time:
 * a short run is measured on small matrices only, which may be slower. Not collective, but workers
 * that share cores should measure at one time, as they train at one time. */
enum shoal_status peak_measure(struct device *dev, enum precision precision, double run_flops,
                               double *flops_per_s);
