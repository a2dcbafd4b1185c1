/* signals.c - handlers only note; who watches looks between two pieces of work. */
#include "base/signals.h"
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

enum { AGAIN_MS = 500 };

/* Handlers have no argument to put these into. Each is written by its handler alone, and all
 * handlers block each other. */
static volatile sig_atomic_t stop_number, saves;
static struct timespec stopped_at;

static long since_ms(const struct timespec *then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* POSIX allows it in a handler */
    return (long)(now.tv_sec - then->tv_sec) * 1000 + (now.tv_nsec - then->tv_nsec) / 1000000;
}

static void ask_to_stop(int number)
{
    static const char farewell[] =
        "shoal: second signal: gone at once; the last snapshot is good\n";
    if (!stop_number) {
        clock_gettime(CLOCK_MONOTONIC, &stopped_at);
        stop_number = number;
    } else if (since_ms(&stopped_at) >= AGAIN_MS) {
        const ssize_t told = write(STDERR_FILENO, farewell, sizeof farewell - 1);
        (void)told;
        _exit(128 + number);
    }
}

static void ask_to_save(int number)
{
    (void)number;
    saves = saves + 1;
}

static void watch(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGUSR1);
    sigaddset(&action.sa_mask, SIGUSR2);
    sigaction(number, &action, NULL); /* fails for numbers that do not exist only */
}

void signals_watch(void)
{
    watch(SIGTERM, ask_to_stop);
    watch(SIGINT, ask_to_stop);
    watch(SIGUSR2, ask_to_stop);
    watch(SIGUSR1, ask_to_save);
    watch(SIGXFSZ, SIG_IGN); /* a file that may not grow is a failed write, as on a full disk */
}

int signals_stop(void)
{
    return stop_number;
}

int signals_saves(void)
{
    return saves;
}

const char *signals_name(int number)
{
    switch (number) {
    case SIGTERM:
        return "SIGTERM";
    case SIGINT:
        return "SIGINT";
    case SIGUSR1:
        return "SIGUSR1";
    case SIGUSR2:
        return "SIGUSR2";
    default:
        return "a signal";
    }
}
