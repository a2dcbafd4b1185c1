/* Signals are noted, and a second one to stop ends the process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/signals.h"

/* The exit code of a process that gets two signals, pause_s apart. */
static int exit_after(int first, int second, double pause_s)
{
    int status = 0;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signals_watch();
        raise(first);
        clock_sleep_s(pause_s);
        raise(second);
        _exit(signals_stop() == first && signals_saves() == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_the_second_ends_it(void **state)
{
    (void)state;
    assert_int_equal(exit_after(SIGTERM, SIGTERM, 0.0), 0); /* one signal that came twice */
    assert_int_equal(exit_after(SIGINT, SIGTERM, 0.55), 128 + SIGTERM);
    assert_int_equal(exit_after(SIGUSR2, SIGINT, 0.55), 128 + SIGINT);
}

static void test_they_are_noted(void **state)
{
    (void)state;
    signals_watch();
    assert_int_equal(signals_stop(), 0);
    raise(SIGUSR1);
    raise(SIGUSR1);
    assert_int_equal(signals_saves(), 2);
    assert_int_equal(signals_stop(), 0);
    raise(SIGUSR2);
    assert_int_equal(signals_stop(), SIGUSR2);
    assert_string_equal(signals_name(signals_stop()), "SIGUSR2");
    assert_string_equal(signals_name(SIGSEGV), "a signal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_second_ends_it),
        cmocka_unit_test(test_they_are_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
