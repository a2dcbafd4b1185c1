/* openmp_wait.h - how long threads wait awake for the next parallel loop. */
#pragma once

/* GNU OpenMP's threads spin for milliseconds by default before they sleep, which is ruinous when
 * there are more of them than free cores: on a machine with one busy core of two a step took ten
 * times as long. The runtime reads its settings before main(), so where the user has set none this
 * sets GOMP_SPINCOUNT and starts the program again in the same process. Returns when there is
 * nothing (more) to do; on failure too, because the program only runs slower without. First thing
 * in main(). */
void openmp_wait_briefly(char **argv);
