/* agree.c - small collectives over the world, for starting a run. They wait lazily: rank 0 must not
 * burn a core while the workers load their experts. */
#define SHOAL_COMM_PRIVATE
#include "comm/comm_impl.h"

enum shoal_status comm_agree(struct comm *c, enum shoal_status mine, bool *speaker)
{
    /* Rank and status in one number, so that the lowest brings its status along. */
    const int64_t well = INT64_MAX;
    const int64_t verdict = mine == SHOAL_OK ? well : (int64_t)c->world_rank << 32 | (int64_t)mine;
    int64_t lowest = well;
    MPI_Request request;
    *speaker = true; /* when not even this works */
    COMM_TRY(MPI_Iallreduce(&verdict, &lowest, 1, MPI_INT64_T, MPI_MIN, c->records, &request));
    SHOAL_TRY(comm_finish(&request, COMM_WAIT_LAZY));
    *speaker = mine != SHOAL_OK && lowest == verdict;
    if (lowest == well) return SHOAL_OK;
    if (*speaker) return mine;
    return SHOAL_FAIL((enum shoal_status)(lowest & 0xffffffff), "rank %d failed",
                      (int)(lowest >> 32));
}

enum shoal_status comm_share(struct comm *c, void *data, size_t bytes)
{
    MPI_Request request;
    SHOAL_ASSERT(bytes <= INT32_MAX);
    COMM_TRY(MPI_Ibcast(data, (int)bytes, MPI_BYTE, 0, c->records, &request));
    return comm_finish(&request, COMM_WAIT_LAZY);
}

enum shoal_status comm_gather(struct comm *c, const void *mine, size_t bytes, void *all)
{
    MPI_Request request;
    SHOAL_ASSERT(bytes <= INT32_MAX);
    COMM_TRY(MPI_Igather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, 0, c->records,
                         &request));
    return comm_finish(&request, COMM_WAIT_LAZY);
}
