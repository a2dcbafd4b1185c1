/* far_device.h - a device for tests whose memory the host cannot read.
 *
 * Its pointers are shifted out of the address space, so that whoever follows one falls. Copies
 * beside computing are late: they happen when their slot is asked about for the third time, or when
 * computing waits for them; what a fetch will bring holds rubbish until then. */
#pragma once
#define SHOAL_KERNELS_PRIVATE
#include "kernels/kernels_impl.h"

struct far_setup {
    const char *identity; /* "" like a CPU's */
    bool reachable;       /* pointers are the host's after all, as where MPI reads device memory */
    uint32_t mask; /* what lies in memory is XORed with it: MPI carries it wrong between devices
                      with different masks */
};

struct device *far_open(struct far_setup setup);
/* Where memory of a far device really is. */
void *far_real(const struct device *dev, const void *p);
/* Copies that are on their way. */
int far_pending(const struct device *dev);
/* A slot never gets done any more; -1: all do. */
void far_block_slot(struct device *dev, int slot);
