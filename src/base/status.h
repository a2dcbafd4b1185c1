/* status.h - failures are values.
 *
 * Every function that can fail returns enum shoal_status. Nothing below main() calls exit(),
 * abort() or MPI_Abort(), except a failed SHOAL_ASSERT in a debug build. The text of the first
 * cause is kept per thread until the next failure; main() prints it.
 *
 * A message reads "what is wrong, where, what to do": it is the only thing a user sees. */
#pragma once
#include <stdbool.h>

enum shoal_status {
    SHOAL_OK = 0,
    SHOAL_EARG,     /* the caller (or the command line) asked for something impossible */
    SHOAL_ECONFIG,  /* the user's configuration cannot be run */
    SHOAL_EIO,      /* a file or directory failed us */
    SHOAL_EFORMAT,  /* the file is there but is not what it claims to be */
    SHOAL_ENOMEM,   /* host or device memory */
    SHOAL_EDEVICE,  /* oneDNN or the device said no */
    SHOAL_ECOMM,    /* MPI said no */
    SHOAL_EPEER,    /* another rank failed or is out of step */
    SHOAL_ENUMERIC, /* a loss or a weight is not finite */
    SHOAL_ENOTSUP,  /* this build has no such thing */
    SHOAL_EOUT,     /* the others go on without this rank */
    SHOAL_EORPHAN   /* the coordinator is lost */
};

/* Record the first cause of a failure (printf text; file and line for the trace) and return code.
 */
enum shoal_status shoal_fail(enum shoal_status code, const char *file, int line, const char *fmt,
                             ...) __attribute__((format(printf, 4, 5)));
/* The recorded cause, one line, no newline. "" when nothing failed. Valid until the next failure.
 */
const char *shoal_failure_text(void);
/* Empty the record: its text has been printed, or another rank prints it. main() then says nothing
 * more. */
void shoal_failure_told(void);
/* The calls the failure passed through, one "file:line call" per line, innermost first; printed
 * by main() when SHOAL_TRACE is set in the environment. */
const char *shoal_failure_trace(void);
/* Append one call to the trace; used by SHOAL_TRY and SHOAL_GOTO. */
void shoal_failure_via(const char *file, int line, const char *call);
/* Process exit code: 0 OK, 2 arguments or configuration, 3 files, 4 memory or device,
 * 5 MPI or a peer, 6 not finite, 7 counted out, 8 without a coordinator. */
int shoal_exit_code(enum shoal_status status);
/* Print the broken invariant and its place, then abort. Debug builds only, by SHOAL_ASSERT. */
void shoal_panic(const char *cond, const char *file, int line);

#define SHOAL_FAIL(code, ...) shoal_fail((code), __FILE__, __LINE__, __VA_ARGS__)

/* Hand a failure up to the caller. Only in functions that own nothing yet. */
#define SHOAL_TRY(call)                                                                            \
    do {                                                                                           \
        enum shoal_status try_status = (call);                                                     \
        if (try_status != SHOAL_OK) {                                                              \
            shoal_failure_via(__FILE__, __LINE__, #call);                                          \
            return try_status;                                                                     \
        }                                                                                          \
    } while (0)

/* Same, for functions that must release something: sets st, goes to done. */
#define SHOAL_GOTO(call)                                                                           \
    do {                                                                                           \
        st = (call);                                                                               \
        if (st != SHOAL_OK) {                                                                      \
            shoal_failure_via(__FILE__, __LINE__, #call);                                          \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/* Always on. For what a caller, a user or a file can get wrong. */
#define SHOAL_CHECK(cond, code, ...)                                                               \
    do {                                                                                           \
        if (!(cond)) return SHOAL_FAIL((code), __VA_ARGS__);                                       \
    } while (0)

/* Debug builds only, for our own mistakes. cond must have no side effects. */
#ifdef NDEBUG
#define SHOAL_ASSERT(cond) ((void)sizeof(cond))
#else
#define SHOAL_ASSERT(cond) ((cond) ? (void)0 : shoal_panic(#cond, __FILE__, __LINE__))
#endif
