/* cores.c - which workers share this node, and how many of its cores each may call its own. */
#define _GNU_SOURCE /* sched_getaffinity */
#define SHOAL_COMM_PRIVATE
#include <sched.h>
#include <string.h>
#include "base/memory.h"
#include "comm/comm_impl.h"

/* A rank as its node sees it. */
struct resident {
    int32_t is_worker;
    int32_t world_rank;
    unsigned char cores[CPU_SETSIZE / 8]; /* bit per core it may run on */
};

static void describe_self(const struct comm *c, struct resident *me)
{
    cpu_set_t set;
    memset(me, 0, sizeof *me);
    me->is_worker = c->worker >= 0;
    me->world_rank = c->world_rank;
    CPU_ZERO(&set);
    /* More cores than the set holds: the call fails, and the share falls back to one core. */
    if (sched_getaffinity(0, sizeof set, &set) != 0) return;
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &set)) me->cores[core / 8] |= (unsigned char)(1u << (core % 8));
}

static bool may_run_on(const struct resident *r, int core)
{
    return r->is_worker && (r->cores[core / 8] >> (core % 8) & 1u);
}

/* Cores of resident `self`, each divided by the number of workers bound to it: right whether the
 * launcher bound every rank to its own cores, to a socket, or not at all. */
static int count_share(const struct resident *all, int n, int self)
{
    double share = 0;
    for (int core = 0; core < CPU_SETSIZE; core++) {
        int users = 0;
        if (!may_run_on(&all[self], core)) continue;
        for (int i = 0; i < n; i++)
            users += may_run_on(&all[i], core);
        share += 1.0 / users;
    }
    const int whole = (int)(share + 1e-6);
    return whole < 1 ? 1 : whole;
}

/* Cores that any of the workers may run on. */
static int count_all(const struct resident *all, int n)
{
    int cores = 0;
    for (int core = 0; core < CPU_SETSIZE; core++) {
        bool used = false;
        for (int i = 0; i < n && !used; i++)
            used = may_run_on(&all[i], core);
        cores += used;
    }
    return cores;
}

static enum shoal_status survey(struct comm *c, MPI_Comm node, struct resident *all)
{
    int n = 0, self = 0;
    struct resident me;
    COMM_TRY(MPI_Comm_size(node, &n));
    COMM_TRY(MPI_Comm_rank(node, &self));
    describe_self(c, &me);
    COMM_TRY(MPI_Allgather(&me, sizeof me, MPI_BYTE, all, sizeof me, MPI_BYTE, node));
    c->node_worker = c->worker >= 0 ? 0 : -1;
    for (int i = 0; i < n; i++) {
        c->node_workers += all[i].is_worker;
        if (c->worker >= 0 && i < self) c->node_worker += all[i].is_worker;
    }
    c->core_share = count_share(all, n, self);
    c->node_cores = count_all(all, n);
    c->node_number = all[0].world_rank; /* ordered by it */
    return SHOAL_OK;
}

static enum shoal_status make_node_group(struct comm *c)
{
    if (c->worker < 0) return SHOAL_OK;
    COMM_TRY(
        MPI_Comm_split_type(c->workers, MPI_COMM_TYPE_SHARED, c->worker, MPI_INFO_NULL, &c->node));
    COMM_TRY(MPI_Comm_set_errhandler(c->node, MPI_ERRORS_RETURN));
    return SHOAL_OK;
}

enum shoal_status comm_gather_node(struct comm *c, const void *mine, size_t bytes, void *all)
{
    MPI_Request request;
    SHOAL_ASSERT(bytes <= INT32_MAX);
    COMM_TRY(
        MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, c->node, &request));
    return comm_finish(&request, COMM_WAIT_LAZY);
}

enum shoal_status comm_survey_node(struct comm *c)
{
    enum shoal_status st = SHOAL_OK;
    MPI_Comm node = MPI_COMM_NULL;
    struct resident *all = NULL;
    COMM_TRY(
        MPI_Comm_split_type(c->records, MPI_COMM_TYPE_SHARED, c->world_rank, MPI_INFO_NULL, &node));
    SHOAL_GOTO(mem_alloc((size_t)c->world_size * sizeof *all, "the ranks of this node", &all));
    SHOAL_GOTO(survey(c, node, all));
    SHOAL_GOTO(make_node_group(c));
done:
    mem_free(all);
    MPI_Comm_free(&node);
    return st;
}
