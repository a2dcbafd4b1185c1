/* announce.h - what is said of a loss: to the workers, and to people. */
#pragma once
#include "comm/comm.h"
#include "evo/protocol.h"

/* Tell the workers who is left; once they have answered, comm takes note of it here too. */
enum shoal_status announce_members(struct comm *comm, const struct announcement *a,
                                   double deadline_s);
/* A warning: the worker and its experts, `experts` from `first` on. */
void tell_lost(int worker, double silent_s, int first, int experts);
