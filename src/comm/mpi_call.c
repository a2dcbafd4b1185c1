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

static void pause_slabs(enum comm_wait how)
{
    const double quiet_s = 100e-6;
    if (how == COMM_WAIT_QUIET)
        clock_sleep_s(quiet_s);
    else
        sched_yield();
}

enum comm_wait comm_slab_wait(const struct comm *c)
{
    return c->quiet ? COMM_WAIT_QUIET : COMM_WAIT_BUSY;
}

void comm_slab_pause(const struct comm *c)
{
    pause_slabs(comm_slab_wait(c));
}

enum shoal_status comm_finish(MPI_Request *request, enum comm_wait how)
{
    const double longest_s = 5e-3;
    double pause_s = 50e-6;
    for (;;) {
        int done = 0;
        COMM_TRY(MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (done) return SHOAL_OK;
        if (how != COMM_WAIT_LAZY) {
            pause_slabs(how);
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
        comm_slab_pause(c);
    }
}
