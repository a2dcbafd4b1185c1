/* owners.h - which worker owns which experts: worker w of W owns experts [w*K/W, (w+1)*K/W). */
#pragma once
#include <stdint.h>

/* First expert of a worker; owners_first(w + 1, ...) ends its range. */
static inline int owners_first(int worker, int workers, int experts)
{
    return (int)((int64_t)worker * experts / workers);
}

static inline int owners_of(int expert, int workers, int experts)
{
    int worker = (int)((int64_t)expert * workers / experts);
    while (owners_first(worker + 1, workers, experts) <= expert)
        worker++;
    return worker;
}
