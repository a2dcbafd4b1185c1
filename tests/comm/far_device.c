/* far_device.c - see far_device.h. */
#include "comm/far_device.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"

enum { PENDING = 4096, LOOKS = 2 };
static const uintptr_t shift = (uintptr_t)1 << 62;

struct late_copy {
    void *to;
    const void *from;
    size_t bytes;
    int slot;
    bool masked;
};

struct far_device {
    struct device base;
    struct far_setup setup;
    struct device *cpu; /* packs */
    struct late_copy pending[PENDING];
    int n_pending;
    int looks[DEVICE_SLOTS]; /* until the slot is done */
    int blocked;
    int allocated; /* pieces of memory, pinned or not */
};

static struct far_device *far_of(const struct device *dev)
{
    return (struct far_device *)(uintptr_t)dev;
}

void *far_real(const struct device *dev, const void *p)
{
    const uintptr_t there = (uintptr_t)p;
    return (void *)(far_of(dev)->setup.reachable ? there : there - shift);
}

int far_pending(const struct device *dev)
{
    return far_of(dev)->n_pending;
}

void far_block_slot(struct device *dev, int slot)
{
    far_of(dev)->blocked = slot;
}

/* Copy words, the last of which may be cut, between host and device, which holds them masked. */
static void copy_masked(const struct device *dev, void *to, const void *from, size_t bytes)
{
    const uint32_t mask = far_of(dev)->setup.mask;
    for (size_t at = 0; at < bytes; at += sizeof mask) {
        const size_t n = bytes - at < sizeof mask ? bytes - at : sizeof mask;
        uint32_t word = 0;
        memcpy(&word, (const char *)from + at, n);
        word ^= mask;
        memcpy((char *)to + at, &word, n);
    }
}

static enum shoal_status far_alloc(struct device *dev, size_t bytes, const char *what, void *out)
{
    char *p = NULL;
    SHOAL_TRY(mem_alloc(bytes, what, &p));
    const uintptr_t there = (uintptr_t)p + (far_of(dev)->setup.reachable ? 0 : shift);
    memcpy(out, &there, sizeof there);
    far_of(dev)->allocated++;
    return SHOAL_OK;
}

static void far_free(struct device *dev, void *p)
{
    mem_free(far_real(dev, p));
    far_of(dev)->allocated--;
}

static enum shoal_status far_upload(struct device *dev, void *to, const void *from, size_t bytes)
{
    copy_masked(dev, far_real(dev, to), from, bytes);
    return SHOAL_OK;
}

static enum shoal_status far_download(struct device *dev, void *to, const void *from, size_t bytes)
{
    copy_masked(dev, to, far_real(dev, from), bytes);
    return SHOAL_OK;
}

static enum shoal_status far_copy(struct device *dev, void *to, const void *from, size_t bytes)
{
    memcpy(far_real(dev, to), far_real(dev, from), bytes);
    return SHOAL_OK;
}

static enum shoal_status far_zero(struct device *dev, void *to, size_t bytes)
{
    memset(far_real(dev, to), 0, bytes);
    return SHOAL_OK;
}

static enum shoal_status far_axpby(struct device *dev, float *out, const float *x, int64_t n,
                                   float alpha, float beta)
{
    float *const o = far_real(dev, out);
    const float *const from = far_real(dev, x);
    for (int64_t i = 0; i < n; i++)
        o[i] = alpha * from[i] + beta * o[i];
    return SHOAL_OK;
}

/* By the CPU's kernels. */
static enum shoal_status far_pack(struct device *dev, void *packed, float *lost, const float *x,
                                  const float *base, int64_t n, enum packing p)
{
    return kernel_pack(far_of(dev)->cpu, far_real(dev, packed), lost ? far_real(dev, lost) : NULL,
                       far_real(dev, x), base ? far_real(dev, base) : NULL, n, p);
}

static enum shoal_status far_unpack(struct device *dev, float *out, const void *packed, int64_t n,
                                    enum packing p, float alpha, float beta)
{
    return kernel_unpack(far_of(dev)->cpu, far_real(dev, out), far_real(dev, packed), n, p, alpha,
                         beta);
}

static enum shoal_status far_sync(struct device *dev)
{
    (void)dev;
    return SHOAL_OK;
}

/* ---- beside ---- */

static enum shoal_status far_alloc_pinned(struct device *dev, size_t bytes, const char *what,
                                          void *out)
{
    far_of(dev)->allocated++;
    return mem_alloc(bytes, what, out);
}

static void far_free_pinned(struct device *dev, void *p)
{
    if (far_of(dev)->n_pending) abort(); /* a copy would come after it */
    far_of(dev)->allocated--;
    mem_free(p);
}

static enum shoal_status push(struct device *dev, struct late_copy late)
{
    struct far_device *const far = far_of(dev);
    SHOAL_CHECK(far->n_pending < PENDING, SHOAL_ENOMEM, "too many late copies");
    far->pending[far->n_pending++] = late;
    far->looks[late.slot] = LOOKS;
    return SHOAL_OK;
}

static enum shoal_status far_fetch(struct device *dev, void *pinned, const void *from, size_t bytes,
                                   int slot)
{
    memset(pinned, 0xa5, bytes);
    return push(dev, (struct late_copy){pinned, far_real(dev, from), bytes, slot, true});
}

static enum shoal_status far_store(struct device *dev, void *to, const void *pinned, size_t bytes,
                                   int slot)
{
    return push(dev, (struct late_copy){far_real(dev, to), pinned, bytes, slot, true});
}

/* Do what is pending of a slot; -1: of all. */
static void carry_out(struct device *dev, int slot)
{
    struct far_device *const far = far_of(dev);
    int kept = 0;
    for (int i = 0; i < far->n_pending; i++) {
        const struct late_copy late = far->pending[i];
        if (slot >= 0 && late.slot != slot)
            far->pending[kept++] = late;
        else
            copy_masked(dev, late.to, late.from, late.bytes);
    }
    far->n_pending = kept;
}

static enum shoal_status far_note(struct device *dev, int slot)
{
    far_of(dev)->looks[slot] = LOOKS;
    return SHOAL_OK;
}

static enum shoal_status far_slot_done(struct device *dev, int slot, bool *done)
{
    struct far_device *const far = far_of(dev);
    *done = false;
    if (slot == far->blocked || far->looks[slot]-- > 0) return SHOAL_OK;
    far->looks[slot] = 0;
    carry_out(dev, slot);
    *done = true;
    return SHOAL_OK;
}

static enum shoal_status far_beside_end(struct device *dev)
{
    carry_out(dev, -1);
    return SHOAL_OK;
}

static void *far_beside_stream(struct device *dev)
{
    return dev; /* any address will do */
}

static enum shoal_status far_lane_enter(struct device *dev)
{
    (void)dev;
    return SHOAL_OK;
}

static void far_lane_leave(struct device *dev)
{
    (void)dev;
}

static void far_close(struct device *dev)
{
    if (far_of(dev)->allocated) {
        fprintf(stderr, "%d pieces of a device's memory were not freed\n", far_of(dev)->allocated);
        abort();
    }
    device_close(&far_of(dev)->cpu);
    mem_free(dev);
}

static const struct kernel_ops far_ops = {
    .name = "far",
    .close = far_close,
    .alloc = far_alloc,
    .free = far_free,
    .upload = far_upload,
    .download = far_download,
    .copy = far_copy,
    .zero = far_zero,
    .sync = far_sync,
    .alloc_pinned = far_alloc_pinned,
    .free_pinned = far_free_pinned,
    .beside_begin = far_sync,
    .beside_end = far_beside_end,
    .fetch = far_fetch,
    .store = far_store,
    .note = far_note,
    .slot_done = far_slot_done,
    .beside_stream = far_beside_stream,
    .lane_enter = far_lane_enter,
    .lane_leave = far_lane_leave,
    .axpby = far_axpby,
    .pack = far_pack,
    .unpack = far_unpack,
};

struct device *far_open(struct far_setup setup)
{
    struct far_device *far = NULL;
    if (mem_alloc(sizeof *far, "a far device", &far) != SHOAL_OK) abort();
    if (device_open("cpu", 0, 1, &far->cpu) != SHOAL_OK) abort();
    far->base.ops = &far_ops;
    far->setup = setup;
    far->blocked = -1;
    (void)snprintf(far->base.identity, sizeof far->base.identity, "%s", setup.identity);
    return &far->base;
}
