/* clock.h - wall time. */
#pragma once

/* Seconds of a monotonic clock; only differences mean anything. */
double clock_now_s(void);
/* Sleep, resuming after signals. */
void clock_sleep_s(double seconds);
/* Present UTC time as ISO 8601, "2026-01-31T12:00:00Z". out holds 32 bytes. */
void clock_iso8601(char *out);
