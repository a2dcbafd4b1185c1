/* signals.h - what signals ask of a long run: SIGTERM, SIGINT and SIGUSR2 to stop in order, SIGUSR1
 * to save and go on. SIGUSR2 is there because mpirun hands it on and lives, while it answers the
 * other two by killing its job. */
#pragma once

/* From now on these signals are only noted. The second that asks to stop, half a second or more
 * after the first, ends the process at once with exit code 128 + its number: launchers and
 * terminals may send the first one twice. Call once, before there are threads that should not be
 * interrupted.
 */
void signals_watch(void);
/* The signal that asked to stop; 0: none has. */
int signals_stop(void);
/* How many have asked to save. */
int signals_saves(void);
/* "SIGTERM"; "a signal" for one of which nothing is known here. */
const char *signals_name(int number);
