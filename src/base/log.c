/* log.c - each line is written by one call, so that lines of several ranks do not mix. */
#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/status.h"

/* Set once at start, before there are threads. */
static int rank_speaking = -1;

void log_set_rank(int world_rank)
{
    rank_speaking = world_rank;
}

static void print_line(const char *kind, const char *text)
{
    char rank[32] = "";
    if (rank_speaking > 0) snprintf(rank, sizeof rank, "rank %d: ", rank_speaking);
    fprintf(stderr, "shoal: %s%s%s\n", kind, rank, text);
}

static void print_formatted(const char *kind, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));
static void print_formatted(const char *kind, const char *fmt, va_list args)
{
    char text[2048];
    if (vsnprintf(text, sizeof text, fmt, args) < 0) return;
    print_line(kind, text);
}

void log_info(const char *fmt, ...)
{
    if (rank_speaking > 0) return;
    va_list args;
    va_start(args, fmt);
    print_formatted("", fmt, args);
    va_end(args);
}

void log_warn(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_formatted("warning: ", fmt, args);
    va_end(args);
}

void log_error(const char *text)
{
    print_line("error: ", text);
    if (getenv("SHOAL_TRACE")) fprintf(stderr, "%s\n", shoal_failure_trace());
}
