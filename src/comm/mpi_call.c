/* mpi_call.c - MPI's return codes and requests, our way. */
#define SHOAL_COMM_PRIVATE
#include <sched.h>
#include <string.h>
#include "base/clock.h"
#include "comm/comm_impl.h"

enum shoal_status comm_mpi_status(int code, const char *call)
{
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    if (code == MPI_SUCCESS) return SHOAL_OK;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
    const int name = (int)strcspn(call, "(");
    return SHOAL_FAIL(SHOAL_ECOMM, "%.*s failed: %.*s", name, call, length, text);
}

enum shoal_status comm_finish(MPI_Request *request, enum comm_wait how)
{
    const double longest_s = 5e-3;
    double pause_s = 50e-6;
    for (;;) {
        int done = 0;
        COMM_TRY(MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (done) return SHOAL_OK;
        if (how == COMM_WAIT_BUSY) {
            sched_yield();
            continue;
        }
        clock_sleep_s(pause_s);
        pause_s = pause_s * 2 < longest_s ? pause_s * 2 : longest_s;
    }
}

enum shoal_status comm_await_slot(struct comm *c, int slot)
{
    for (;;) {
        bool done = false;
        SHOAL_TRY(device_slot_done(c->dev, slot, &done));
        if (done) return SHOAL_OK;
        sched_yield();
    }
}
