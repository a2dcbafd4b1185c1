/* log.h - what a person reads besides results: one line to stderr, "shoal: ..." */
#pragma once

/* Who is speaking: world rank, or -1 (the default) outside MPI. Only ranks <= 0 print info lines;
 * every rank prints warnings and errors, prefixed with its rank when it is > 0. Call once at start.
 */
void log_set_rank(int world_rank);
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "shoal: error: ..." and, when SHOAL_TRACE is set, the trace of shoal_failure_trace(). */
void log_error(const char *text);
