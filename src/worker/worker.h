/* worker.h - one rank: train its experts in turn, judge, report, obey, repeat. */
#pragma once
#include "comm/comm.h"
#include "config/config.h"
#include "model/gpt.h"
#include "snapshot/index.h"

struct worker;

/* *device: which of the devices it sees this worker takes, given what the others on its machine
 * take. Collective over the workers. SHOAL_EDEVICE, SHOAL_ENOTSUP: there is none for it; the text
 * says why. */
enum shoal_status worker_place(const struct config *cfg, struct comm *comm, int *device);
/* Open that device and data and allocate all but the experts. Not collective. */
enum shoal_status worker_create(const struct config *cfg, struct comm *comm, int device,
                                struct worker **out);
/* Create or (resume not NULL) load this worker's experts: worker w of W owns experts
 * [w*K/W, (w+1)*K/W). SHOAL_EFORMAT, SHOAL_EIO: a shard cannot be read; another snapshot may then
 * be tried. Not collective. */
enum shoal_status worker_begin(struct worker *w, const char *run_id,
                               const struct snapshot_index *resume);
void worker_destroy(struct worker **w);
/* The device a worker computes on, for comm_attach; NULL is passed through. Owned by the worker. */
struct device *worker_device(const struct worker *w);
/* Threads that it computes with on the host. */
int worker_threads(const struct worker *w);
/* Carry out orders until one says stop. Collective over the workers. */
enum shoal_status worker_run(struct worker *w);
/* After SHOAL_EORPHAN: write the experts as they stand, as shards that no index knows of. Not
 * collective. */
enum shoal_status worker_save_orphans(struct worker *w);
/* First expert of worker w of `workers`; expert_first(w + 1) ends its range. */
int worker_first_expert(int worker, int workers, int experts);
/* Whether the experts are replicas that train data parallel. */
bool worker_is_parallel(const struct config *cfg);
/* The worker that owns an expert. */
int worker_of_expert(int expert, int workers, int experts);
/* What a worker's model is made for; its batch is a micro-batch. */
struct gpt_setup worker_setup(const struct config *cfg);
