/* clock.c - wall time. */
#include "base/clock.h"
#include <errno.h>
#include <time.h>

double clock_now_s(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail: POSIX 2008 has this clock */
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void clock_sleep_s(double seconds)
{
    if (!(seconds > 0)) return;
    /* To a point in time, so that interruptions do not make it longer. */
    const double until = clock_now_s() + seconds;
    struct timespec t = {.tv_sec = (time_t)until};
    t.tv_nsec = (long)((until - (double)t.tv_sec) * 1e9);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        continue;
}

void clock_iso8601(char *out)
{
    const time_t now = time(NULL);
    struct tm utc;
    out[0] = 0;
    if (gmtime_r(&now, &utc)) strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}
