/* park.h - which workers keep only some of their experts on the device. Pure: park.c carries it
 * out, memory.c counts it. */
#pragma once
#include "worker/memory.h"

/* Experts on the device at a time: the one in use, and the one that comes next or has just left. */
enum { PARK_SETS = 2 };

/* Whether a worker parks its experts: where population.park says so, and by itself on a GPU that
 * cannot hold them all, as if it had none but this worker. Never two or fewer, for which there is
 * room, and no replicas that train data parallel: they all wait for the first. */
bool park_applies(const struct config *c, const struct param_table *table,
                  struct memory_place place);
