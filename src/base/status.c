/* status.c - the failure record: one per thread, so that threads do not overwrite each other. */
#include "base/status.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct {
    char text[2048];
    char trace[4096];
} failure;

/* The part of __FILE__ that is the same on every machine. */
static const char *place_in_tree(const char *file)
{
    const char *last = file;
    for (const char *p = file; (p = strstr(p, "src/")) != NULL; p++)
        last = p;
    return last;
}

static void one_line(char *text)
{
    for (; *text; text++) {
        if (*text == '\n' || *text == '\r') *text = ' ';
    }
}

void shoal_failure_via(const char *file, int line, const char *call)
{
    const size_t used = strlen(failure.trace);
    snprintf(failure.trace + used, sizeof failure.trace - used, "%s%s:%d %s", used ? "\n" : "",
             place_in_tree(file), line, call);
}

enum shoal_status shoal_fail(enum shoal_status code, const char *file, int line, const char *fmt,
                             ...)
{
    /* Not straight into the record: the present text may be an argument of the new one. */
    char text[sizeof failure.text];
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(text, sizeof text, fmt, args) < 0) text[0] = 0;
    va_end(args);
    one_line(text);
    memcpy(failure.text, text, sizeof text);
    failure.trace[0] = 0;
    shoal_failure_via(file, line, "failed");
    return code;
}

const char *shoal_failure_text(void)
{
    return failure.text;
}

void shoal_failure_told(void)
{
    failure.text[0] = 0;
    failure.trace[0] = 0;
}

const char *shoal_failure_trace(void)
{
    return failure.trace;
}

int shoal_exit_code(enum shoal_status status)
{
    switch (status) {
    case SHOAL_OK:
        return 0;
    case SHOAL_EARG:
    case SHOAL_ECONFIG:
    case SHOAL_ENOTSUP:
        return 2;
    case SHOAL_EIO:
    case SHOAL_EFORMAT:
        return 3;
    case SHOAL_ENOMEM:
    case SHOAL_EDEVICE:
        return 4;
    case SHOAL_ECOMM:
    case SHOAL_EPEER:
        return 5;
    case SHOAL_ENUMERIC:
        return 6;
    case SHOAL_EOUT:
        return 7;
    case SHOAL_EORPHAN:
        return 8;
    }
    return 1;
}

void shoal_panic(const char *cond, const char *file, int line)
{
    fprintf(stderr, "shoal: broken invariant at %s:%d: %s\n", place_in_tree(file), line, cond);
    abort();
}
