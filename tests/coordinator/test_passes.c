/* Passes with losses, by the thousand; or with a bug that was put there (see CMakeLists.txt), which
 * some seed must find: argument "planted". */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "coordinator/passes.h"

enum { SEEDS = 20000 };

int main(int argc, char **argv)
{
    const bool planted = argc > 1 && strcmp(argv[1], "planted") == 0;
    struct passes_outcome sum = {.lost = 0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct passes_outcome out;
        passes_simulate(seed, &out);
        if (out.broken[0]) {
            printf("seed %" PRIu64 ": %s\n", seed, out.broken);
            return planted ? 0 : 1;
        }
        sum.lost += out.lost;
        sum.epochs += out.epochs;
        sum.repeated += out.repeated;
        sum.made_up += out.made_up;
    }
    printf("%d runs: %d lost, %d epochs, %d exchanges repeated, %d passes made up for\n", SEEDS,
           sum.lost, sum.epochs, sum.repeated, sum.made_up);
    if (planted) return 1;
    /* Enough of everything, or this says little. */
    return sum.lost > SEEDS && sum.repeated > SEEDS / 20 && sum.made_up > SEEDS / 200 ? 0 : 1;
}
