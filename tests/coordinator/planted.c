/* A program whose coordinator or worker has a bug that was put there (see CMakeLists.txt): some
 * seed must find it. */
#include <inttypes.h>
#include <stdio.h>
#include "coordinator/simulator.h"

enum { SEEDS = 1000 };

int main(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct simulation sim;
        struct outcome out;
        simulation_draw(&sim, seed, 0);
        simulate(&sim, NULL, &out);
        if (!out.broken[0]) continue;
        printf("found by seed %" PRIu64 ": %s\n", seed, out.broken);
        return 0;
    }
    printf("not found by %d seeds\n", SEEDS);
    return 1;
}
