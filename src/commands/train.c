/* train.c - `shoal train`: read the configuration, join the job, set up a run directory, and let
 * coordinator and workers loose.
 *
 * Starting is a row of stages. After each, all ranks agree whether to go on, so that a failure is
 * told once, by one rank, and nobody is left waiting. Nothing is written before everything that
 * only reads has worked: a start that fails leaves no half-made run behind. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/memory.h"
#include "base/signals.h"
#include "commands/args.h"
#include "commands/commands.h"
#include "commands/launch.h"
#include "comm/comm.h"
#include "coordinator/coordinator.h"
#include "evo/operators.h"
#include "model/params.h"
#include "snapshot/index.h"
#include "snapshot/shard.h"
#include "snapshot/verify.h"
#include "worker/worker.h"

/* What rank 0 finds out about the run directory and tells the others. */
struct origin {
    char run_id[40];
    char index[SHOAL_MAX_PATH]; /* snapshot to continue from; "" for a new run */
    bool finished;              /* nothing is left to do */
};

struct run {
    struct config cfg;
    struct comm *comm;
    struct origin origin;
    struct snapshot_index index; /* what origin.index holds */
    struct coordinator *coordinator;
    struct worker *worker;
    int device; /* of those the worker sees */
};

struct request {
    struct arg_list config; /* one operand: the file */
    struct arg_list sets;
    bool resume, help;
};

static enum shoal_status parse(int argc, char **argv, struct request *q)
{
    const struct arg_option options[] = {
        {"--set", ARG_LIST, &q->sets, "KEY=VALUE", "set an option over the file; may be repeated"},
        {"--resume", ARG_FLAG, &q->resume, NULL,
         "continue the newest valid snapshot of run.out; experts may join"}};
    const struct arg_spec spec = {
        .usage = "shoal train CONFIG [--set KEY=VALUE]... [--resume]",
        .description =
            "Train a population of experts as CONFIG says. Alone, this process does everything;\n"
            "under mpirun, rank 0 coordinates and every other rank is a worker that owns its "
            "share\n"
            "of the experts.",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .min_operands = 1,
        .max_operands = 1,
        .examples = "  shoal train configs/quickstart.yaml --set run.steps=500\n"
                    "  mpirun -n 5 shoal train configs/quickstart.yaml\n"
                    "  shoal train runs/mine/config.yaml --resume\n"};
    SHOAL_TRY(args_parse(&spec, argc, argv, &q->config, &q->help));
    if (!q->help) return SHOAL_OK;
    args_help(&spec, stdout);
    printf("\nOptions of CONFIG and --set:\n\n");
    config_help(stdout);
    return SHOAL_OK;
}

/* All ranks go on together or stop together; the one that knows why says so. */
static enum shoal_status together(struct run *r, enum shoal_status mine)
{
    bool speaker = false;
    const enum shoal_status st = comm_agree(r->comm, mine, &speaker);
    if (st == SHOAL_OK) return SHOAL_OK;
    if (speaker) log_error(shoal_failure_text());
    shoal_failure_told();
    return st;
}

static enum shoal_status read_config(struct run *r, const struct request *q)
{
    SHOAL_TRY(config_load(&r->cfg, q->config.item[0], q->sets.item, q->sets.count));
    return config_validate(&r->cfg, comm_workers(r->comm));
}

/* 36 characters in the form of a random UUID (RFC 4122, version 4). */
static enum shoal_status draw_run_id(char out[40])
{
    unsigned char b[16];
    FILE *random = fopen("/dev/urandom", "rb");
    SHOAL_CHECK(random, SHOAL_EIO, "/dev/urandom cannot be opened: it names new runs");
    const size_t got = fread(b, 1, sizeof b, random);
    (void)fclose(random); /* only read */
    SHOAL_CHECK(got == sizeof b, SHOAL_EIO, "/dev/urandom cannot be read: it names new runs");
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    char *at = out;
    for (int i = 0; i < 16; i++)
        at += sprintf(at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
    return SHOAL_OK;
}

/* Read the snapshot to continue, and check that it is of the same run. */
static enum shoal_status read_origin(struct run *r)
{
    struct config then;
    index_free(&r->index);
    SHOAL_TRY(index_read(r->origin.index, &r->index));
    SHOAL_TRY(config_parse(&then, r->index.config, r->origin.index));
    SHOAL_TRY(config_check_resume(&r->cfg, &then));
    return index_grow(&r->index, &r->cfg);
}

/* Rank 0: the newest good snapshot of a step below `before`. */
static enum shoal_status find_origin(struct run *r, int64_t before)
{
    SHOAL_TRY(index_find_before(r->cfg.run.out, before, r->origin.index));
    SHOAL_TRY(read_origin(r));
    memcpy(r->origin.run_id, r->index.run_id, sizeof r->origin.run_id);
    r->origin.finished = r->index.standing.step >= r->cfg.run.steps;
    return SHOAL_OK;
}

/* Rank 0: a run whose last snapshot is damaged is not finished; it goes on from the one before. */
static enum shoal_status check_finished(struct run *r)
{
    while (r->origin.finished) {
        struct verified found;
        SHOAL_TRY(verify(r->origin.index, &found));
        const bool good = found.n_findings == 0;
        if (!good)
            log_warn("%s: the last snapshot is damaged; going on from the one before: %s: %s",
                     r->cfg.run.out, found.findings[0].path, found.findings[0].what);
        verified_free(&found);
        if (good) break;
        SHOAL_TRY(find_origin(r, r->index.standing.step));
    }
    return SHOAL_OK;
}

/* Rank 0: is there a run, may it be touched, where does it continue? */
static enum shoal_status look_at_run(struct run *r, bool resume)
{
    const char *out = r->cfg.run.out;
    if (!resume) {
        SHOAL_CHECK(!run_exists(out), SHOAL_ECONFIG,
                    "%s is already a run; continue it with --resume or choose another run.out",
                    out);
        return draw_run_id(r->origin.run_id);
    }
    SHOAL_CHECK(run_exists(out), SHOAL_EIO,
                "%s is not a run that could be resumed; leave out --resume to start it", out);
    int64_t *steps = NULL, n = 0;
    SHOAL_TRY(run_snapshots(out, &steps, &n));
    mem_free(steps);
    if (n == 0) {
        log_warn("%s ended before its first snapshot: starting from the beginning", out);
        return draw_run_id(r->origin.run_id);
    }
    SHOAL_TRY(find_origin(r, INT64_MAX));
    return check_finished(r);
}

static enum shoal_status make_worker(struct run *r)
{
    if (!comm_is_worker(r->comm)) return SHOAL_OK;
    return worker_create(&r->cfg, r->comm, r->device, &r->worker);
}

static enum shoal_status begin_worker(struct run *r)
{
    const bool resumed = r->origin.index[0] != 0;
    if (resumed && !comm_is_coordinator(r->comm)) SHOAL_TRY(read_origin(r));
    if (!r->worker) return SHOAL_OK;
    return worker_begin(r->worker, r->origin.run_id, resumed ? &r->index : NULL);
}

/* Begin where origin says; while a shard cannot be read, with the snapshot before. Collective over
 * the world. */
static enum shoal_status begin_anywhere(struct run *r)
{
    const bool first = comm_is_coordinator(r->comm);
    for (;;) {
        const enum shoal_status mine = begin_worker(r);
        bool speaker = false;
        const enum shoal_status st = comm_agree(r->comm, mine, &speaker);
        const bool damaged = st == SHOAL_EFORMAT || st == SHOAL_EIO;
        if (st == SHOAL_OK) return SHOAL_OK;
        if (speaker && !(damaged && r->origin.index[0]))
            log_error(shoal_failure_text());
        else if (speaker)
            log_warn("skipping a snapshot that cannot be read, for the one before: %s",
                     shoal_failure_text());
        shoal_failure_told();
        if (!damaged || !r->origin.index[0]) return st;
        SHOAL_TRY(together(r, first ? find_origin(r, r->index.standing.step) : SHOAL_OK));
        SHOAL_TRY(together(r, comm_share(r->comm, &r->origin, sizeof r->origin)));
    }
}

static enum shoal_status place_worker(struct run *r)
{
    if (!comm_is_worker(r->comm)) return SHOAL_OK;
    return worker_place(&r->cfg, r->comm, &r->device);
}

/* Connect the workers' devices. Collective over the world. */
static enum shoal_status attach(struct run *r)
{
    const bool by_mpi = r->cfg.evolution.wire != WIRE_F32 && strcmp(r->cfg.transport, "auto") == 0;
    const char *const wish = by_mpi ? "mpi" : r->cfg.transport;
    return comm_attach(r->comm, wish, worker_device(r->worker));
}

static enum shoal_status write_config(const struct run *r)
{
    enum shoal_status st = SHOAL_OK;
    char path[SHOAL_MAX_PATH], *text = NULL;
    SHOAL_TRY(path_format(path, "%s/config.yaml", r->cfg.run.out));
    SHOAL_TRY(config_text(&r->cfg, &text));
    SHOAL_GOTO(file_write(path, text, strlen(text)));
done:
    mem_free(text);
    return st;
}

/* One snapshot is there while the next is written. */
static enum shoal_status warn_of_full_disk(const struct config *c)
{
    struct param_table *table = NULL;
    const struct gpt_shape shape = config_shape(c);
    int64_t free = 0;
    SHOAL_TRY(param_table_create(&shape, &table));
    const int64_t need = 2 * c->population.experts *
                         shard_bytes(table, evo_needs_velocity(c), evo_needs_own_best(c));
    param_table_destroy(&table);
    SHOAL_TRY(path_free_bytes(c->run.out, &free));
    if (free < need)
        log_warn(
            "%s: %.1f GB are free, but two snapshots take %.1f GB; training goes on, and those "
            "that do not fit are left out",
            c->run.out, (double)free * 1e-9, (double)need * 1e-9);
    return SHOAL_OK;
}

/* Rank 0: from here on the run directory is written to. */
static enum shoal_status make_coordinator(struct run *r)
{
    const struct gpt_shape shape = config_shape(&r->cfg);
    SHOAL_TRY(run_make(r->cfg.run.out, r->cfg.population.experts));
    SHOAL_TRY(write_config(r));
    SHOAL_TRY(warn_of_full_disk(&r->cfg));
    return coordinator_create(&r->cfg, r->comm, r->origin.run_id,
                              r->origin.index[0] ? &r->index : NULL, param_count(&shape),
                              &r->coordinator);
}

/* Everything up to the first order. Collective over the world. */
static enum shoal_status start(struct run *r, const struct request *q)
{
    const bool first = comm_is_coordinator(r->comm);
    SHOAL_TRY(together(r, launch_same_program(r->comm)));
    SHOAL_TRY(together(r, read_config(r, q)));
    SHOAL_TRY(together(r, launch_same_config(r->comm, &r->cfg)));
    SHOAL_TRY(together(r, first ? look_at_run(r, q->resume) : SHOAL_OK));
    SHOAL_TRY(together(r, comm_share(r->comm, &r->origin, sizeof r->origin)));
    if (r->origin.finished) return SHOAL_OK;
    SHOAL_TRY(together(r, launch_shared_run(r->comm, r->cfg.run.out)));
    SHOAL_TRY(together(r, place_worker(r)));
    SHOAL_TRY(together(r, make_worker(r)));
    SHOAL_TRY(begin_anywhere(r));
    SHOAL_TRY(together(r, attach(r)));
    SHOAL_TRY(together(r, launch_tell(r->comm, r->worker)));
    return together(r, first ? make_coordinator(r) : SHOAL_OK);
}

/* Train to the end. A failure here is this rank's alone, and takes the others down. */
static enum shoal_status work(struct run *r)
{
    if (r->coordinator) SHOAL_TRY(coordinator_start(r->coordinator));
    return r->worker ? worker_run(r->worker) : coordinator_run(r->coordinator);
}

/* On a worker that stood still for so long that it was declared lost. */
static void leave_to_others(void)
{
    log_error("this worker did not answer for longer than faults.deadline, so the others have gone "
              "on without it; its experts return from their last shards when the run is resumed");
    (void)fflush(NULL);
    _exit(shoal_exit_code(SHOAL_EOUT));
}

/* Nobody is left to lead the run: keep what there is. */
static void leave_orphaned(struct run *r)
{
    if (worker_save_orphans(r->worker) == SHOAL_OK)
        log_warn("this worker's experts are saved as they stand in %s/experts, beside the last "
                 "snapshot; continue from that with: shoal train %s/config.yaml --resume",
                 r->cfg.run.out, r->cfg.run.out);
    else
        log_error(shoal_failure_text());
    comm_gather_orphans(r->comm, r->cfg.faults.deadline);
    (void)fflush(NULL);
    _exit(shoal_exit_code(SHOAL_EORPHAN));
}

/* mpirun ends the job when a rank dies, unless it is told not to. */
static void warn_of_launcher(const struct run *r)
{
    if (!comm_is_coordinator(r->comm) || !comm_watches(r->comm) || comm_launcher_recovers()) return;
    if (getenv("OMPI_COMM_WORLD_SIZE"))
        log_info("mpirun ends the run when a rank dies; with mpirun --enable-recovery the others "
                 "would go on");
}

static enum shoal_status train(struct run *r, const struct request *q)
{
    SHOAL_TRY(start(r, q));
    if (r->origin.finished) {
        log_info("%s is finished at step %lld; raise run.steps to train on", r->cfg.run.out,
                 (long long)r->index.standing.step);
        return SHOAL_OK;
    }
    SHOAL_TRY(
        comm_watch(r->comm, r->cfg.faults.heartbeat, r->cfg.faults.deadline, leave_to_others));
    warn_of_launcher(r);
    const enum shoal_status st = work(r);
    if (st == SHOAL_OK || comm_world_size(r->comm) == 1) return st;
    log_error(shoal_failure_text());
    if (st == SHOAL_EORPHAN) leave_orphaned(r);
    /* A worker that fails by itself is lost like any other, where the rest can do without it. */
    if (comm_watches(r->comm) && comm_launcher_recovers() && !r->coordinator)
        _exit(shoal_exit_code(st));
    comm_abort(r->comm, shoal_exit_code(st));
    return st;
}

/* MPI was not left in order, and must not notice. */
static void leave_at_once(enum shoal_status st)
{
    if (st != SHOAL_OK && shoal_failure_text()[0]) log_error(shoal_failure_text());
    (void)fflush(NULL);
    _exit(shoal_exit_code(st));
}

enum shoal_status command_train(int argc, char **argv)
{
    enum shoal_status st = SHOAL_OK;
    struct request q = {0};
    struct run *r = NULL;
    SHOAL_GOTO(parse(argc, argv, &q));
    if (q.help) goto done;
    SHOAL_GOTO(mem_alloc(sizeof *r, "a run", &r));
    signals_watch(); /* before anything that takes time */
    SHOAL_GOTO(comm_open(&argc, &argv, &r->comm));
    if (comm_world_size(r->comm) > 1) log_set_rank(comm_world_rank(r->comm));
    SHOAL_GOTO(train(r, &q));
done:
    if (r) {
        const bool lost = r->comm && comm_has_lost(r->comm);
        worker_destroy(&r->worker);
        coordinator_destroy(&r->coordinator);
        index_free(&r->index);
        comm_close(&r->comm);
        if (lost) leave_at_once(st);
    }
    mem_free(r);
    args_free(&q.config);
    args_free(&q.sets);
    return st;
}
