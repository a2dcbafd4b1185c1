/* backend.c - the CPU backend: its table, the device, its memory. */
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/memory.h"
#include "kernels/cpu/cpu.h"

static void cpu_close(struct device *dev)
{
    struct cpu_device *const cpu = cpu_of(dev);
    (void)pthread_key_delete(cpu->lane);
    gemm_cache_destroy(&cpu->gemms);
    mem_free(cpu->scratch);
    mem_free(cpu);
}

/* Most of the second-level cache; of the smallest one in use where the system does not say. */
static int64_t panels_bytes(void)
{
    enum { UNKNOWN = 256 << 10, MOST = 2 << 20 };
    const long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return (cache <= 0 ? UNKNOWN : cache < MOST ? cache : MOST) / 16 * 13;
}

static enum shoal_status cpu_list(char (*id)[DEVICE_ID], int most, int *count)
{
    *count = most > 0;
    if (*count) id[0][0] = 0;
    return SHOAL_OK;
}

static enum shoal_status cpu_open(int index, int threads, struct device **out)
{
    (void)index; /* there is one CPU */
    struct cpu_device *cpu;
    SHOAL_TRY(mem_alloc(sizeof *cpu, "CPU device", &cpu));
    if (pthread_key_create(&cpu->lane, NULL) != 0) {
        mem_free(cpu);
        return SHOAL_FAIL(SHOAL_ENOMEM, "device: too many are open in this process");
    }
    cpu->base.ops = &cpu_ops;
    cpu->base.is_host = true;
    cpu->threads = threads > 0 ? threads : omp_get_max_threads();
    cpu->panels_bytes = panels_bytes();
    cpu->matrices16 = gemm_has_matrices16();
    (void)snprintf(cpu->base.describe, sizeof cpu->base.describe, "cpu, %d thread%s, %s",
                   cpu->threads, cpu->threads == 1 ? "" : "s", gemm_isa_name());
    const enum shoal_status st = gemm_cache_create(&cpu->gemms);
    if (st == SHOAL_OK)
        *out = &cpu->base;
    else
        cpu_close(&cpu->base);
    return st;
}

enum shoal_status cpu_scratch(struct device *dev, size_t bytes, void *out)
{
    struct cpu_device *const cpu = cpu_of(dev);
    SHOAL_ASSERT(!cpu_in_lane(dev)); /* there is one, and it is the other thread's */
    if (bytes > cpu->scratch_bytes || !cpu->scratch) {
        void *larger;
        SHOAL_TRY(mem_alloc(bytes, "kernel scratch", &larger));
        mem_free(cpu->scratch);
        cpu->scratch = larger;
        cpu->scratch_bytes = bytes;
    }
    memcpy(out, &cpu->scratch, sizeof cpu->scratch);
    return SHOAL_OK;
}

static enum shoal_status cpu_alloc(struct device *dev, size_t bytes, const char *what, void *out)
{
    (void)dev;
    return mem_alloc(bytes, what, out);
}

static void cpu_free(struct device *dev, void *p)
{
    (void)dev;
    mem_free(p);
}

/* Bytes one thread copies or clears at a time. */
enum { PIECE_BYTES = 1 << 18 };

static int64_t piece_count(size_t bytes)
{
    return (int64_t)((bytes + PIECE_BYTES - 1) / PIECE_BYTES);
}

static size_t piece_bytes(size_t bytes, int64_t i)
{
    const size_t left = bytes - (size_t)i * PIECE_BYTES;
    return left < PIECE_BYTES ? left : PIECE_BYTES;
}

static enum shoal_status cpu_copy(struct device *dev, void *dst, const void *src, size_t bytes)
{
    const int64_t n = piece_count(bytes);
    const int team = cpu_team(dev, (int64_t)bytes / 4);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < n; i++)
        memcpy((char *)dst + i * PIECE_BYTES, (const char *)src + i * PIECE_BYTES,
               piece_bytes(bytes, i));
    return SHOAL_OK;
}

static enum shoal_status cpu_zero(struct device *dev, void *dst, size_t bytes)
{
    const int64_t n = piece_count(bytes);
    const int team = cpu_team(dev, (int64_t)bytes / 4);
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t i = 0; i < n; i++)
        memset((char *)dst + i * PIECE_BYTES, 0, piece_bytes(bytes, i));
    return SHOAL_OK;
}

static enum shoal_status cpu_sync(struct device *dev)
{
    (void)dev;
    return SHOAL_OK;
}

static enum shoal_status cpu_swap(struct device *dev, void *slab, void *out, const void *in,
                                  size_t bytes)
{
    if (out) SHOAL_TRY(cpu_copy(dev, out, slab, bytes));
    return in ? cpu_copy(dev, slab, in, bytes) : SHOAL_OK;
}

/* Whatever was queued is done. */
static enum shoal_status cpu_mark(struct device *dev, int mark)
{
    (void)dev;
    (void)mark;
    return SHOAL_OK;
}

/* ---- beside computing: whatever is queued is done at once ---- */

static enum shoal_status cpu_fetch(struct device *dev, void *pinned, const void *src, size_t bytes,
                                   int slot)
{
    (void)slot;
    return cpu_copy(dev, pinned, src, bytes);
}

static enum shoal_status cpu_note(struct device *dev, int slot)
{
    (void)dev;
    (void)slot;
    return SHOAL_OK;
}

static enum shoal_status cpu_slot_done(struct device *dev, int slot, bool *done)
{
    (void)dev;
    (void)slot;
    *done = true;
    return SHOAL_OK;
}

static void *cpu_beside_stream(struct device *dev)
{
    (void)dev;
    return NULL;
}

static enum shoal_status cpu_lane_enter(struct device *dev)
{
    SHOAL_CHECK(pthread_setspecific(cpu_of(dev)->lane, dev) == 0, SHOAL_ENOMEM,
                "no memory for a thread's lane");
    return SHOAL_OK;
}

/* Taking a value away needs no memory. */
static void cpu_lane_leave(struct device *dev)
{
    (void)pthread_setspecific(cpu_of(dev)->lane, NULL);
}

const struct kernel_ops cpu_ops = {
    .name = "cpu",
    .list = cpu_list,
    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .sync = cpu_sync,
    .alloc_pinned = cpu_alloc,
    .free_pinned = cpu_free,
    .put = cpu_copy,
    .get = cpu_copy,
    .swap = cpu_swap,
    .swap_wait = cpu_sync,
    .mark = cpu_mark,
    .reach = cpu_mark,
    .beside_begin = cpu_sync,
    .beside_end = cpu_sync,
    .fetch = cpu_fetch,
    .store = cpu_fetch,
    .note = cpu_note,
    .slot_done = cpu_slot_done,
    .beside_stream = cpu_beside_stream,
    .lane_enter = cpu_lane_enter,
    .lane_leave = cpu_lane_leave,
    .convert = cpu_convert,
    .embed = cpu_embed,
    .embed_grad = cpu_embed_grad,
    .gemm = cpu_gemm,
    .norm = cpu_norm,
    .norm_grad = cpu_norm_grad,
    .gelu = cpu_gelu,
    .swiglu = cpu_swiglu,
    .swiglu_grad = cpu_swiglu_grad,
    .rope = cpu_rope,
    .attention = cpu_attention,
    .attention_grad = cpu_attention_grad,
    .attention_decode = cpu_attention_decode,
    .xent = cpu_xent,
    .sum = cpu_sum,
    .sumsq = cpu_sumsq,
    .figures_loss = cpu_figures_loss,
    .figures_norm = cpu_figures_norm,
    .adamw = cpu_adamw,
    .swarm = cpu_swarm,
    .crossover = cpu_crossover,
    .mutate = cpu_mutate,
    .axpby = cpu_axpby,
    .pack = cpu_pack,
    .unpack = cpu_unpack,
};
