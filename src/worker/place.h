/* place.h - which device each worker of a machine takes. Pure, but for worker_place (worker.h).
 *
 * What a process sees is what CUDA_VISIBLE_DEVICES and the batch system leave it: the same devices
 * for all workers, one for each, or those of a socket for the workers on it. */
#pragma once
#include <stdint.h>
#include "kernels/kernels.h"

enum { PLACE_DEVICES = 16 }; /* more than these a worker does not look at */

/* What one worker sees. Sent as bytes. */
struct place_view {
    int32_t count;
    char id[PLACE_DEVICES][DEVICE_ID]; /* device_list; "": shared by everybody, like the CPU */
};

/* index[i]: of the devices that worker i of n sees, the one that the fewest of the workers before
 * it have taken, the first of equals; -1 where it sees none. */
void place_workers(int *index, const struct place_view *view, int n);
/* Workers that take the same device as worker i, itself included; 1 on a device without identity.
 */
int place_sharers(const int *index, const struct place_view *view, int n, int i);
