/* openmp_wait.c - long enough to bridge the gap between two loops of a training step, no longer. */
#include "base/openmp_wait.h"
#include <stdlib.h>
#include <unistd.h>

static const char spins[] = "10000";

void openmp_wait_briefly(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    if (setenv("GOMP_SPINCOUNT", spins, 1) == 0) (void)execv("/proc/self/exe", argv);
}
