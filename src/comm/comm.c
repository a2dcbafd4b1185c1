/* comm.c - joining and leaving the job, and who is who in it. */
#define SHOAL_COMM_PRIVATE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/memory.h"
#include "comm/comm_impl.h"

/* Start MPI. Without a launcher, Open MPI would fork a daemon for processes spawned later, which
 * shoal never does: the isolated singleton saves the time. It means nothing to other MPIs. */
static enum shoal_status mpi_start(int *argc, char ***argv, bool *threads)
{
    int provided = 0;
    SHOAL_CHECK(setenv("OMPI_MCA_ess_singleton_isolated", "1", 0) == 0, SHOAL_ENOMEM,
                "cannot set an environment variable: out of memory");
    COMM_TRY(MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided));
    COMM_TRY(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    SHOAL_CHECK(provided >= MPI_THREAD_FUNNELED, SHOAL_ECOMM,
                "this MPI was built without thread support (MPI_THREAD_FUNNELED); use another");
    *threads = provided >= MPI_THREAD_MULTIPLE;
    return SHOAL_OK;
}

static enum shoal_status join(struct comm *c)
{
    COMM_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &c->records));
    COMM_TRY(MPI_Comm_set_errhandler(c->records, MPI_ERRORS_RETURN));
    COMM_TRY(MPI_Comm_size(c->records, &c->world_size));
    COMM_TRY(MPI_Comm_rank(c->records, &c->world_rank));
    c->n_workers = c->world_size > 1 ? c->world_size - 1 : 1;
    c->worker = c->world_size > 1 ? c->world_rank - 1 : 0;
    SHOAL_TRY(mem_alloc((size_t)c->n_workers * sizeof *c->live_rank, "the members", &c->live_rank));
    SHOAL_TRY(comm_make_group(c, NULL, 0));
    return comm_survey_node(c);
}

enum shoal_status comm_open(int *argc, char ***argv, struct comm **out)
{
    enum shoal_status st = SHOAL_OK;
    struct comm *c = NULL;
    *out = NULL;
    SHOAL_TRY(mem_alloc(sizeof *c, "the communicator", &c));
    c->records = MPI_COMM_NULL;
    c->workers = MPI_COMM_NULL;
    c->node = MPI_COMM_NULL;
    c->mpi_reads_device = -1;
    c->patience_s = COMM_PATIENCE_S;
    c->chunk_bytes = COMM_CHUNK_BYTES;
    SHOAL_GOTO(mpi_start(argc, argv, &c->threads));
    SHOAL_GOTO(join(c));
    *out = c;
    c = NULL;
done:
    if (c) mem_free(c->live_rank);
    mem_free(c);
    return st;
}

void comm_close(struct comm **c)
{
    if (!*c) return;
    /* Leaving cannot fail usefully: the run is over and its files are closed. What takes all ranks
     * could wait for ever once some are lost. */
    const bool all_there = !comm_has_lost(*c), all_in = all_there && (*c)->epoch == 0;
    comm_unwatch(*c);
    comm_detach(*c);
    (void)comm_reap(*c, all_there);
    if (all_in && (*c)->node != MPI_COMM_NULL) MPI_Comm_free(&(*c)->node);
    if (all_in && (*c)->workers != MPI_COMM_NULL) MPI_Comm_free(&(*c)->workers);
    if (all_in && (*c)->records != MPI_COMM_NULL) MPI_Comm_free(&(*c)->records);
    if (all_there) MPI_Finalize();
    mem_free((*c)->live_rank);
    mem_free(*c);
    *c = NULL;
}

bool comm_launcher_recovers(void)
{
    const char *const set = getenv("OMPI_MCA_orte_enable_recovery");
    return set && (strcmp(set, "1") == 0 || strcmp(set, "true") == 0);
}

/* Whether the process that started this one is a launcher. */
static bool parent_launches(void)
{
    static const char *const names[] = {"mpirun", "mpiexec", "orterun", "orted"};
    char path[64], name[32] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/comm", (int)getppid());
    FILE *const file = fopen(path, "r");
    if (!file) return false;
    const bool got = fgets(name, sizeof name, file) != NULL;
    (void)fclose(file); /* only read */
    for (int i = 0; got && i < 4; i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0) return true;
    return false;
}

static void end_launcher(void)
{
    if (comm_launcher_recovers() && parent_launches()) (void)kill(getppid(), SIGTERM);
}

void comm_gather_orphans(struct comm *c, double deadline_s)
{
    const double give_up_s = clock_now_s() + deadline_s, pause_s = 5e-3;
    int leader = 0, came = 1;
    while (c->live_rank[leader] != 0)
        leader++;
    if (leader != c->worker) {
        (void)comm_send(c, leader + 1, COMM_TAG_FAREWELL, "", 1);
        for (int i = 0; i < 20 && comm_reap(c, false) == SHOAL_OK; i++)
            clock_sleep_s(pause_s);
        return;
    }
    while (came < c->n_live && clock_now_s() < give_up_s) {
        char nothing;
        int waiting = 0;
        MPI_Status status;
        clock_sleep_s(pause_s);
        if (MPI_Iprobe(MPI_ANY_SOURCE, COMM_TAG_FAREWELL, c->records, &waiting, &status) !=
                MPI_SUCCESS ||
            !waiting)
            continue;
        if (MPI_Recv(&nothing, 1, MPI_BYTE, status.MPI_SOURCE, COMM_TAG_FAREWELL, c->records,
                     MPI_STATUS_IGNORE) == MPI_SUCCESS)
            came++;
    }
    (void)fflush(NULL);
    end_launcher();
}

void comm_abort(struct comm *c, int exit_code)
{
    (void)fflush(NULL);
    if (comm_launcher_recovers()) {
        end_launcher();
        _exit(exit_code);
    }
    MPI_Abort(c->records, exit_code);
}

int comm_world_size(const struct comm *c)
{
    return c->world_size;
}

int comm_world_rank(const struct comm *c)
{
    return c->world_rank;
}

bool comm_is_coordinator(const struct comm *c)
{
    return c->world_rank == 0;
}

bool comm_is_worker(const struct comm *c)
{
    return c->worker >= 0;
}

int comm_worker(const struct comm *c)
{
    return c->worker;
}

int comm_workers(const struct comm *c)
{
    return c->n_workers;
}

int comm_node_worker(const struct comm *c)
{
    return c->node_worker;
}

int comm_node_workers(const struct comm *c)
{
    return c->node_workers;
}

int comm_node(const struct comm *c)
{
    return c->node_number;
}

int comm_node_cores(const struct comm *c)
{
    return c->node_cores;
}

int comm_core_share(const struct comm *c)
{
    return c->core_share;
}

bool comm_lives(const struct comm *c, int worker)
{
    return c->live_rank[worker] >= 0;
}

int comm_live_rank(const struct comm *c)
{
    return c->live_rank[c->worker];
}

uint32_t comm_epoch(const struct comm *c)
{
    return c->epoch;
}

int comm_live(const struct comm *c)
{
    return c->n_live;
}

const char *comm_describe(const struct comm *c)
{
    return c->describe;
}

bool comm_is_staged(const struct comm *c)
{
    return c->staged;
}

uint64_t comm_bytes_sent(const struct comm *c)
{
    return c->bytes_sent;
}

uint64_t comm_bytes_moved(const struct comm *c)
{
    return c->bytes_moved;
}

void comm_note_moved(struct comm *c, uint64_t bytes)
{
    c->bytes_moved += bytes;
}

bool comm_may_overlap(const struct comm *c)
{
    return c->threads;
}

void comm_be_quiet(struct comm *c, bool quiet)
{
    c->quiet = quiet;
}
