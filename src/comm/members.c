/* members.c - who takes part: membership epochs.
 *
 * Every epoch has a communicator of its own, made by its members alone: a lost worker need not, and
 * cannot, agree to anything. The communicators before it are left as they are. Freeing one takes
 * all its members, and requests on it may never end. */
#define SHOAL_COMM_PRIVATE
#include "base/clock.h"
#include "base/job.h"
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

struct making {
    struct comm *c;
    const int *ranks;
};

static enum shoal_status connect_beside(void *making)
{
    const struct making *const m = making;
    return connect(m->c, m->ranks);
}

/* MPI knows no way to make a communicator without blocking: so a thread does it, which is left to
 * itself where another member is lost meanwhile. */
static enum shoal_status connect_within(struct comm *c, const int *ranks, double deadline_s)
{
    const double give_up_s = clock_now_s() + deadline_s, pause_s = 1e-3;
    struct making making = {c, ranks};
    struct job *job = NULL;
    SHOAL_TRY(job_create(&job));
    job_start(job, connect_beside, &making);
    while (!job_done(job)) {
        SHOAL_CHECK(clock_now_s() < give_up_s && !comm_changed(c, NULL), SHOAL_EPEER,
                    "another worker was lost while epoch %u began; continue from the last snapshot "
                    "with --resume",
                    (unsigned)c->epoch);
        clock_sleep_s(pause_s);
    }
    const enum shoal_status st = job_wait(job);
    job_destroy(&job);
    return st;
}

enum shoal_status comm_make_group(struct comm *c, const uint8_t *live, double deadline_s)
{
    enum shoal_status st = SHOAL_OK;
    int *ranks = NULL;
    SHOAL_TRY(mem_alloc((size_t)c->n_workers * sizeof *ranks, "the members' ranks", &ranks));
    note_members(c, live, ranks);
    if (c->worker >= 0)
        SHOAL_GOTO(c->watch ? connect_within(c, ranks, deadline_s) : connect(c, ranks));
done:
    if (!c->watch || st == SHOAL_OK) mem_free(ranks); /* else the thread may still read them */
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
    SHOAL_TRY(comm_make_group(c, live, deadline_s));
    if (c->worker >= 0) {
        SHOAL_TRY(c->transport->ops->renew(c->transport, deadline_s));
        c->abandoned = false;
        return SHOAL_OK;
    }
    return c->choice.transport == COMM_NCCL ? comm_pass_id(c, deadline_s) : SHOAL_OK;
}
