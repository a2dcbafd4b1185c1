/* park.h - which workers keep only some of their experts on the device. Pure: park.c carries it
 * out, memory.c counts it. */
#pragma once
#include "config/config.h"

/* Experts on the device at a time: the one in use, and the one that comes next or has just left. */
enum { PARK_SETS = 2 };

/* Whether a worker with `own` experts parks them. is_host: its device's memory is the host's, so
 * that nothing is won by it. Replicas that train data parallel are never parked: they all wait for
 * the first. */
bool park_applies(const struct config *c, bool is_host, int own);
