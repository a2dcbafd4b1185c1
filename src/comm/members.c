/* members.c - who takes part: membership epochs.
 *
 * Every epoch has a communicator of its own, made by its members alone: a lost worker need not, and
 * cannot, agree to anything. The communicators before it are left as they are. Freeing one takes
 * all its members, and requests on it may never end. */
#define SHOAL_COMM_PRIVATE
#include "base/memory.h"
#include "comm/comm_impl.h"

static int world_rank_of(const struct comm *c, int worker)
{
    return c->world_size > 1 ? worker + 1 : 0;
}

/* Workers keep their order. ranks: the world ranks of the live ones. */
static void note_members(struct comm *c, const uint8_t *live, int *ranks)
{
    c->n_live = 0;
    for (int w = 0; w < c->n_workers; w++) {
        const bool is_live = !live || live[w];
        c->live_rank[w] = is_live ? c->n_live : -1;
        if (is_live) ranks[c->n_live++] = world_rank_of(c, w);
    }
}

static enum shoal_status connect(struct comm *c, const int *ranks)
{
    enum shoal_status st = SHOAL_OK;
    MPI_Group world = MPI_GROUP_NULL, members = MPI_GROUP_NULL;
    const int tag = COMM_TAG_GROUP + (int)(c->epoch % COMM_GROUP_TAGS);
    COMM_GOTO(MPI_Comm_group(c->records, &world));
    COMM_GOTO(MPI_Group_incl(world, c->n_live, ranks, &members));
    COMM_GOTO(MPI_Comm_create_group(c->records, members, tag, &c->workers));
    COMM_GOTO(MPI_Comm_set_errhandler(c->workers, MPI_ERRORS_RETURN));
done:
    if (members != MPI_GROUP_NULL && members != MPI_GROUP_EMPTY) MPI_Group_free(&members);
    if (world != MPI_GROUP_NULL) MPI_Group_free(&world);
    return st;
}

enum shoal_status comm_make_group(struct comm *c, const uint8_t *live)
{
    enum shoal_status st = SHOAL_OK;
    int *ranks = NULL;
    SHOAL_TRY(mem_alloc((size_t)c->n_workers * sizeof *ranks, "the members' ranks", &ranks));
    note_members(c, live, ranks);
    if (c->worker >= 0) SHOAL_GOTO(connect(c, ranks));
done:
    mem_free(ranks);
    return st;
}

static bool any_live(const struct comm *c, const uint8_t *live)
{
    for (int w = 0; w < c->n_workers; w++)
        if (live[w]) return true;
    return false;
}

enum shoal_status comm_renew(struct comm *c, uint32_t epoch, const uint8_t *live, double deadline_s)
{
    SHOAL_CHECK(epoch > c->epoch, SHOAL_EARG, "epoch %u follows %u", (unsigned)epoch,
                (unsigned)c->epoch);
    SHOAL_CHECK(any_live(c, live), SHOAL_EPEER, "no worker is left in epoch %u", (unsigned)epoch);
    SHOAL_CHECK(c->worker < 0 || live[c->worker], SHOAL_EPEER,
                "the others go on without worker %d in epoch %u", c->worker, (unsigned)epoch);
    c->epoch = epoch;
    c->exchanging = false;
    SHOAL_TRY(comm_make_group(c, live));
    if (c->worker >= 0) return c->transport->ops->renew(c->transport, deadline_s);
    return c->choice.transport == COMM_NCCL ? comm_pass_id(c, deadline_s) : SHOAL_OK;
}
