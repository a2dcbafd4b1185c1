/* openmp_wait.h - how long threads wait awake for the next parallel loop. */
#pragma once

/* GNU OpenMP's threads spin for long before they sleep, which is ruinous when there are more of
 * them than free cores: 50 steps of configs/quickstart.yaml in one process on two Zen 5 cores that
 * two other programs kept busy took 14.7 s with its default of 300000 spins, 6.6 s with this
 * and 6.0 s undisturbed. The runtime reads its settings before main(), so where the
 * user has set none this sets GOMP_SPINCOUNT and starts the program again in the same process.
 * Returns when there is nothing (more) to do; on failure too, because the program only runs slower
 * without. First thing in main(). */
void openmp_wait_briefly(char **argv);
