/* memory.c - see memory.h. */
#include "worker/memory.h"
#include <string.h>
#include "comm/comm.h"
#include "evo/operators.h"
#include "snapshot/shard.h"
#include "snapshot/staging.h"
#include "worker/exchange.h"
#include "worker/park.h"
#include "worker/worker.h"

/* What a worker with a model of no size holds: code, libraries (but the backends'), MPI's and
 * OpenMP's own memory. */
static const int64_t program_bytes = 34 << 20;

/* NCCL says nothing beforehand: 10 MiB a channel and connection, for 24 to 32 channels between GPUs
 * by NVLink and the connections of a ring and a tree. Users report 0.3 to 1.6 GB. */
static const int64_t nccl_bytes = 1 << 30;

/* Of one thread of the CPU backend: packed operands and sums of a matrix product, or what attention
 * keeps of one head on the way back, keys, values and the gradients of both. */
static int64_t scratch_of_thread(const struct config *c)
{
    const int64_t product = 2 << 20, head = c->model.width / c->model.heads;
    const int64_t attention = 5 * head * c->model.context * (int64_t)sizeof(float);
    return product > attention ? product : attention;
}

static void count_experts(struct memory *m, const struct config *c, int64_t slab, int own,
                          bool parked)
{
    if (parked) {
        m->bytes[MEMORY_WEIGHTS] = PARK_SETS * slab;
        m->bytes[MEMORY_MOMENTS] = PARK_SETS * 2 * slab;
        m->bytes[MEMORY_PARKED] = own * (3 + evo_needs_velocity(c) + evo_needs_own_best(c)) * slab;
        return;
    }
    m->bytes[MEMORY_WEIGHTS] = own * slab;
    m->bytes[MEMORY_MOMENTS] = own * 2 * slab;
    m->bytes[MEMORY_VELOCITY] = evo_needs_velocity(c) ? own * slab : 0;
    m->bytes[MEMORY_OWN_BEST] = evo_needs_own_best(c) ? own * slab : 0;
}

static void count_model(struct memory *m, const struct config *c, const struct param_table *table)
{
    const struct gpt_setup setup = worker_setup(c);
    const int64_t n = table->n_params, tokens = (int64_t)setup.batch * setup.context;
    const bool narrow = setup.precision == PRECISION_BF16;
    m->bytes[MEMORY_GRADIENTS] = n * (int64_t)dtype_bytes(DTYPE_F32);
    m->bytes[MEMORY_WEIGHTS16] = narrow ? n * (int64_t)dtype_bytes(DTYPE_BF16) : 0;
    m->bytes[MEMORY_ACTIVATIONS] =
        gpt_bytes(table, setup) - m->bytes[MEMORY_GRADIENTS] - m->bytes[MEMORY_WEIGHTS16];
    m->bytes[MEMORY_BATCH] = 2 * tokens * (int64_t)sizeof(int32_t);
    m->bytes[m->gpu ? MEMORY_STAGE : MEMORY_BATCH] += gpt_pinned_bytes(setup);
}

/* Beside the slabs of a learning model, which judges too. */
static void count_gpu(struct memory *m, const struct config *c, const struct param_table *table)
{
    const struct gpt_setup setup = worker_setup(c);
    const struct gpt_shape *const s = &table->shape;
    const bool gpt2 = s->arch == ARCH_GPT2;
    const struct device_work work = {
        .rows = (int64_t)setup.batch * setup.context,
        .context = setup.context,
        .width = s->width,
        .qkv = s->width + 2 * (int64_t)s->kv_heads * (s->width / s->heads),
        .hidden = s->ffn,
        .heads = s->heads,
        .act = setup.precision == PRECISION_BF16 ? DTYPE_BF16 : DTYPE_F32,
        .learns = setup.learns,
        .biases = gpt2,
        .gelu = gpt2,
        .rope = !gpt2};
    const struct device_needs needs = device_gpu_needs(&work);
    m->bytes[MEMORY_CONTEXT] = needs.context;
    m->bytes[MEMORY_WORKSPACE] = needs.workspace;
    m->bytes[MEMORY_SCRATCH] = needs.scratch;
    m->bytes[MEMORY_STAGE] += needs.pinned;
}

/* Between workers on GPUs. `auto` is taken to find NCCL, unless the wire asks for
 * MPI. */
static void count_transport(struct memory *m, const struct config *c, int64_t n, int own,
                            int workers)
{
    const int experts = c->population.experts, most = (experts + workers - 1) / workers;
    if (workers == 1) return;
    if (strcmp(c->transport, "mpi") != 0 && c->evolution.wire == WIRE_F32) {
        m->bytes[MEMORY_NCCL] = nccl_bytes;
        return;
    }
    const struct comm_staging s = comm_sum_staging(workers, own, most, experts, n);
    m->bytes[MEMORY_STAGE] += s.pinned;
    m->bytes[MEMORY_EXCHANGE] = s.host;
    if (c->evolution.wire == WIRE_F32) return;
    const int64_t packed =
        comm_mean_buffers(exchange_packing(c), workers, own, most, experts, n).host;
    if (packed > s.host) m->bytes[MEMORY_EXCHANGE] = packed;
}

/* Means as packed changes. */
static void count_wire(struct memory *m, const struct config *c, int64_t n, int own, int workers)
{
    const int experts = c->population.experts, most = (experts + workers - 1) / workers;
    if (c->evolution.wire == WIRE_F32) return;
    m->bytes[MEMORY_WIRE] =
        comm_mean_buffers(exchange_packing(c), workers, own, most, experts, n).device;
    if (exchange_keeps_lost(c)) m->bytes[MEMORY_WIRE] += (own + 1) * n * (int64_t)sizeof(float);
}

static void count_exchange(struct memory *m, const struct config *c,
                           const struct param_table *table, int own, int workers, bool parked)
{
    const int64_t slabs = exchange_slabs(c) * table->n_params * (int64_t)sizeof(float);
    const int experts = c->population.experts, most = (experts + workers - 1) / workers;
    if (exchange_keeps_inbox(c, workers, parked)) m->bytes[MEMORY_INBOX] = slabs;
    if (exchange_keeps_outbox(c))
        m->bytes[MEMORY_OUTBOX] =
            (parked ? 0 : own * slabs) + table->n_params * (int64_t)sizeof(float);
    if (exchange_keeps_mean(c)) m->bytes[MEMORY_MEAN] = slabs;
    if (evo_outer_steps(c)) m->bytes[MEMORY_OUTER] = 2 * table->n_params * (int64_t)sizeof(float);
    count_wire(m, c, table->n_params, own, workers);
    if (worker_is_parallel(c))
        m->bytes[MEMORY_REPLICAS] = own * table->n_params * (int64_t)sizeof(float);
    if (m->gpu)
        count_transport(m, c, table->n_params, own, workers);
    else if (exchange_keeps_mean(c) || worker_is_parallel(c))
        m->bytes[MEMORY_EXCHANGE] = comm_sum_buffers(workers, own, most, experts, table->n_params);
}

static int64_t slot_bytes(const struct config *c, const struct param_table *table)
{
    return staging_bytes(table, evo_needs_velocity(c), evo_needs_own_best(c));
}

int memory_staging_slots(const struct config *c, const struct param_table *table, int own)
{
    const int64_t fit = ((int64_t)1 << 30) / slot_bytes(c, table);
    if (!c->snapshot.async) return 0;
    return fit < 1 ? 1 : fit < own ? (int)fit : own;
}

int memory_own(const struct config *c, struct memory_place place)
{
    const int experts = c->population.experts;
    return worker_first_expert(place.worker + 1, place.workers, experts) -
           worker_first_expert(place.worker, place.workers, experts);
}

struct memory memory_of(const struct config *c, const struct param_table *table,
                        struct memory_place place)
{
    struct memory m = {.bytes = {0}, .gpu = place.gpu};
    const int own = memory_own(c, place);
    const bool parked = park_applies(c, table, place);
    count_experts(&m, c, table->n_params * (int64_t)sizeof(float), own, parked);
    count_model(&m, c, table);
    if (place.gpu)
        count_gpu(&m, c, table);
    else
        m.bytes[MEMORY_SCRATCH] = place.threads * scratch_of_thread(c);
    count_exchange(&m, c, table, own, place.workers, parked);
    const int slots = memory_staging_slots(c, table, own);
    m.bytes[MEMORY_SNAPSHOT] = shard_buffer_bytes(table, !place.gpu || slots > 0);
    m.bytes[MEMORY_STAGING] = slots * slot_bytes(c, table);
    m.bytes[MEMORY_PROGRAM] = program_bytes + device_libraries_bytes();
    return m;
}

enum memory_kind memory_kind(const struct memory *m, enum memory_item item)
{
    if (!m->gpu) return MEMORY_HOST;
    switch (item) {
    case MEMORY_BATCH:
    case MEMORY_EXCHANGE:
    case MEMORY_SNAPSHOT:
    case MEMORY_STAGING:
    case MEMORY_PROGRAM:
        return MEMORY_HOST;
    case MEMORY_STAGE:
    case MEMORY_PARKED:
        return MEMORY_PINNED;
    default:
        return MEMORY_DEVICE;
    }
}

int64_t memory_total(const struct memory *m, enum memory_kind kind)
{
    int64_t bytes = 0;
    for (int i = 0; i < MEMORY_ITEMS; i++)
        if (memory_kind(m, (enum memory_item)i) == kind) bytes += m->bytes[i];
    return bytes;
}

int64_t memory_peak(const struct memory *m)
{
    const int64_t exchange = m->bytes[MEMORY_EXCHANGE], snapshot = m->bytes[MEMORY_SNAPSHOT];
    const bool together = m->bytes[MEMORY_STAGING] > 0;
    const int64_t all = memory_total(m, MEMORY_HOST) + memory_total(m, MEMORY_PINNED);
    return together ? all : all - (exchange < snapshot ? exchange : snapshot);
}

const char *memory_item_name(enum memory_item item)
{
    static const char *const names[MEMORY_ITEMS] = {
        [MEMORY_WEIGHTS] = "weights",
        [MEMORY_MOMENTS] = "moments",
        [MEMORY_VELOCITY] = "velocity",
        [MEMORY_OWN_BEST] = "own_best",
        [MEMORY_GRADIENTS] = "gradients",
        [MEMORY_WEIGHTS16] = "bf16_weights",
        [MEMORY_ACTIVATIONS] = "activations",
        [MEMORY_MEAN] = "mean",
        [MEMORY_INBOX] = "inbox",
        [MEMORY_OUTBOX] = "outbox",
        [MEMORY_OUTER] = "outer_steps",
        [MEMORY_WIRE] = "narrow_wire",
        [MEMORY_REPLICAS] = "replica_gradients",
        [MEMORY_BATCH] = "batch",
        [MEMORY_SCRATCH] = "kernel_scratch",
        [MEMORY_WORKSPACE] = "product_workspace",
        [MEMORY_CONTEXT] = "driver_context",
        [MEMORY_NCCL] = "nccl_buffers",
        [MEMORY_PARKED] = "parked_experts",
        [MEMORY_STAGE] = "pinned_stage",
        [MEMORY_EXCHANGE] = "exchange_buffers",
        [MEMORY_SNAPSHOT] = "snapshot_buffers",
        [MEMORY_STAGING] = "snapshot_copies",
        [MEMORY_PROGRAM] = "program",
    };
    return names[item];
}
