/* mpi_direct.c - may MPI be given pointers to GPU memory?
 *
 * The library's word is not enough: built with CUDA it says yes, while the layer that carries the
 * messages may copy garbage. So the collectives that shoal uses are tried once, on small slabs. */
#define SHOAL_COMM_PRIVATE
#include "base/log.h"
#include "base/memory.h"
#include "comm/mpi_impl.h"
#ifdef OPEN_MPI
#include <mpi-ext.h>
#endif

enum { TRIAL = 1000 }; /* elements */

static bool mpi_says_yes(const struct comm *c)
{
    if (device_is_host(c->dev)) return true;
    if (c->mpi_reads_device >= 0) return c->mpi_reads_device > 0;
#ifdef MPIX_CUDA_AWARE_SUPPORT
    return MPIX_Query_cuda_support() == 1;
#else
    return false;
#endif
}

/* What worker `rank` brings; small whole numbers, whose sums are exact. */
static float trial_value(int rank, int64_t i)
{
    return (float)((i * 7 + rank * 31) % 1021);
}

/* Whether host (n) holds what a broadcast from the last worker, or the sum of all, must bring. */
static bool as_expected(const float *host, const struct comm *c, enum comm_kind kind)
{
    for (int64_t i = 0; i < TRIAL; i++) {
        float expected = kind == COMM_BROADCAST ? trial_value(c->n_live - 1, i) : 0;
        for (int r = 0; kind == COMM_SUM && r < c->n_live; r++)
            expected += trial_value(r, i);
        if (host[i] != expected) return false;
    }
    return true;
}

static int last_worker(const struct comm *c)
{
    int last = c->n_workers - 1;
    while (c->live_rank[last] < 0)
        last--;
    return last;
}

/* One sum and one broadcast through the code that would carry weights. there: 2 TRIAL elements on
 * the device, host: TRIAL of them here. */
static enum shoal_status try_both(struct mpi_transport *t, float *there, float *host, bool *works)
{
    struct comm *const c = t->base.c;
    const float *const part = there + TRIAL;
    const size_t bytes = TRIAL * sizeof *host;
    for (int64_t i = 0; i < TRIAL; i++)
        host[i] = trial_value(c->live_rank[c->worker], i);
    SHOAL_TRY(device_upload(c->dev, there + TRIAL, host, bytes));
    t->now = (struct comm_exchange){
        .kind = COMM_SUM, .n = TRIAL, .out = there, .parts = &part, .n_parts = 1};
    SHOAL_TRY(mpi_sum(t));
    SHOAL_TRY(device_download(c->dev, host, there, bytes));
    SHOAL_TRY(device_sync(c->dev));
    *works = as_expected(host, c, COMM_SUM);
    t->now = (struct comm_exchange){
        .kind = COMM_BROADCAST, .n = TRIAL, .out = there + TRIAL, .root = last_worker(c)};
    SHOAL_TRY(mpi_carry(t));
    SHOAL_TRY(device_download(c->dev, host, there + TRIAL, bytes));
    SHOAL_TRY(device_sync(c->dev));
    *works = *works && as_expected(host, c, COMM_BROADCAST);
    return SHOAL_OK;
}

static enum shoal_status trial(struct mpi_transport *t, bool *works)
{
    enum shoal_status st = SHOAL_OK;
    struct device *const dev = t->base.c->dev;
    float *there = NULL, *host = NULL;
    SHOAL_GOTO(device_alloc(dev, 2 * TRIAL * sizeof *there, "a trial of MPI", &there));
    SHOAL_GOTO(mem_alloc(TRIAL * sizeof *host, "a trial of MPI", &host));
    SHOAL_GOTO(try_both(t, there, host, works));
done:
    mem_free(host);
    device_free(dev, there);
    return st;
}

enum shoal_status mpi_all_agree(struct comm *c, bool mine, bool *all)
{
    const int one = mine;
    int lowest = 0;
    MPI_Request request;
    COMM_TRY(MPI_Iallreduce(&one, &lowest, 1, MPI_INT, MPI_MIN, c->workers, &request));
    SHOAL_TRY(comm_finish(&request, COMM_WAIT_LAZY));
    *all = lowest != 0;
    return SHOAL_OK;
}

enum shoal_status mpi_try_direct(struct mpi_transport *t, bool *works)
{
    struct comm *const c = t->base.c;
    const uint64_t sent = c->bytes_sent, moved = c->bytes_moved;
    bool mine = false;
    SHOAL_TRY(mpi_all_agree(c, mpi_says_yes(c), works));
    if (!*works) return SHOAL_OK;
    t->direct = true;
    if (trial(t, &mine) != SHOAL_OK) {
        mine = false;
        shoal_failure_told(); /* pinned memory will do */
    }
    t->direct = false;
    c->bytes_sent = sent;
    c->bytes_moved = moved;
    SHOAL_TRY(mpi_all_agree(c, mine, works));
    if (!*works && c->live_rank[c->worker] == 0)
        log_warn("this MPI claims to take GPU memory and does not carry it right; weights go by "
                 "way of host memory");
    return SHOAL_OK;
}
