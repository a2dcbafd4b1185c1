/* mpi_call.c - MPI's return codes and requests, our way. */
#define SHOAL_COMM_PRIVATE
#include <sched.h>
#include <string.h>
#include "base/clock.h"
#include "base/memory.h"
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

static void pause_slabs(enum comm_pace pace)
{
    const double quiet_s = 100e-6;
    if (pace == COMM_WAIT_QUIET)
        clock_sleep_s(quiet_s);
    else
        sched_yield();
}

struct comm_wait comm_slab_wait(struct comm *c)
{
    return (struct comm_wait){c->quiet ? COMM_WAIT_QUIET : COMM_WAIT_BUSY, c};
}

void comm_slab_pause(const struct comm *c)
{
    pause_slabs(c->quiet ? COMM_WAIT_QUIET : COMM_WAIT_BUSY);
}

enum shoal_status comm_finish(MPI_Request *request, struct comm_wait how)
{
    const double longest_s = 5e-3;
    double pause_s = 50e-6;
    for (;;) {
        int done = 0;
        COMM_TRY(MPI_Test(request, &done, MPI_STATUS_IGNORE));
        if (done) return SHOAL_OK;
        const enum shoal_status st = how.c ? comm_look_up(how.c) : SHOAL_OK;
        if (st != SHOAL_OK) {
            how.c->abandoned = true;
            return st;
        }
        if (how.pace != COMM_WAIT_SLOW) {
            pause_slabs(how.pace);
            continue;
        }
        clock_sleep_s(pause_s);
        pause_s = pause_s * 2 < longest_s ? pause_s * 2 : longest_s;
    }
}

void comm_release(struct comm *c, void *p)
{
    if (!c->abandoned) mem_free(p);
}

void comm_release_device(struct comm *c, void *p)
{
    if (!c->abandoned && p) device_free(c->dev, p);
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
