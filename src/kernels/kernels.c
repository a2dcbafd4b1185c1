/* kernels.c - the list of backends, and the device: everything of kernels.h that is not arithmetic.
 */
#include <string.h>
#define SHOAL_KERNELS_PRIVATE
#include "kernels/kernels_impl.h"

/* In order of preference: "auto" takes the first that opens. */
static const struct kernel_ops *const backends[] = {
#ifdef SHOAL_CUDA
    &cuda_ops,
#endif
    &cpu_ops,
};
enum { N_BACKENDS = sizeof backends / sizeof backends[0] };

/* What comes before the one that opens is not a failure: nothing stays on record. */
static enum shoal_status open_best(int index, int threads, struct device **out)
{
    enum shoal_status st = SHOAL_ENOTSUP;
    for (int i = 0; i < N_BACKENDS && st != SHOAL_OK; i++)
        st = backends[i]->open(index, threads, out);
    if (st == SHOAL_OK) shoal_failure_told();
    return st;
}

/* The backend of that name; NULL: not built in. */
static const struct kernel_ops *find_backend(const char *name)
{
    for (int i = 0; i < N_BACKENDS; i++)
        if (strcmp(name, backends[i]->name) == 0) return backends[i];
    return NULL;
}

static enum shoal_status no_backend(const char *name)
{
    return SHOAL_FAIL(SHOAL_ENOTSUP, "device: this build has no \"%s\"; use \"auto\" or \"cpu\"%s",
                      name, strcmp(name, "cuda") == 0 ? ", or build with SHOAL_CUDA=ON" : "");
}

int64_t device_libraries_bytes(void)
{
    int64_t bytes = 0;
    for (int i = 0; i < N_BACKENDS; i++)
        bytes += backends[i]->libraries_bytes;
    return bytes;
}

enum shoal_status device_list(const char *name, char (*id)[DEVICE_ID], int most, int *count)
{
    enum shoal_status st = SHOAL_ENOTSUP;
    *count = 0;
    if (strcmp(name, "auto") != 0) {
        const struct kernel_ops *ops = find_backend(name);
        return ops ? ops->list(id, most, count) : no_backend(name);
    }
    for (int i = 0; i < N_BACKENDS && st != SHOAL_OK; i++)
        st = backends[i]->list(id, most, count);
    if (st == SHOAL_OK) shoal_failure_told(); /* as in open_best */
    return st;
}

enum shoal_status device_open(const char *name, int index, int threads, struct device **out)
{
    SHOAL_CHECK(index >= 0, SHOAL_EARG, "device: index %d is negative", index);
    SHOAL_CHECK(threads >= 0, SHOAL_EARG, "device: %d threads; 0 takes OpenMP's default", threads);
    if (strcmp(name, "auto") == 0) return open_best(index, threads, out);
    const struct kernel_ops *ops = find_backend(name);
    return ops ? ops->open(index, threads, out) : no_backend(name);
}

void device_close(struct device **dev)
{
    if (!*dev) return;
    (*dev)->ops->close(*dev);
    *dev = NULL;
}

const char *device_name(const struct device *dev)
{
    return dev->ops->name;
}

const char *device_describe(const struct device *dev)
{
    return dev->describe;
}

const char *device_identity(const struct device *dev)
{
    return dev->identity;
}

bool device_is_host(const struct device *dev)
{
    return dev->is_host;
}

int64_t device_memory_bytes(const struct device *dev)
{
    return dev->memory_bytes;
}

enum shoal_status device_alloc(struct device *dev, size_t bytes, const char *what, void *out)
{
    return dev->ops->alloc(dev, bytes, what, out);
}

void device_free(struct device *dev, void *p)
{
    if (p) dev->ops->free(dev, p);
}

enum shoal_status device_upload(struct device *dev, void *dst, const void *host, size_t bytes)
{
    return dev->ops->upload(dev, dst, host, bytes);
}

enum shoal_status device_download(struct device *dev, void *host, const void *src, size_t bytes)
{
    return dev->ops->download(dev, host, src, bytes);
}

enum shoal_status device_copy(struct device *dev, void *dst, const void *src, size_t bytes)
{
    return dev->ops->copy(dev, dst, src, bytes);
}

enum shoal_status device_zero(struct device *dev, void *dst, size_t bytes)
{
    return dev->ops->zero(dev, dst, bytes);
}

enum shoal_status device_sync(struct device *dev)
{
    return dev->ops->sync(dev);
}

enum shoal_status device_alloc_pinned(struct device *dev, size_t bytes, const char *what, void *out)
{
    return dev->ops->alloc_pinned(dev, bytes, what, out);
}

void device_free_pinned(struct device *dev, void *p)
{
    if (p) dev->ops->free_pinned(dev, p);
}

enum shoal_status device_put(struct device *dev, void *dst, const void *pinned, size_t bytes)
{
    return dev->ops->put(dev, dst, pinned, bytes);
}

enum shoal_status device_get(struct device *dev, void *pinned, const void *src, size_t bytes)
{
    return dev->ops->get(dev, pinned, src, bytes);
}

enum shoal_status device_swap(struct device *dev, void *slab, void *out, const void *in,
                              size_t bytes)
{
    return dev->ops->swap(dev, slab, out, in, bytes);
}

enum shoal_status device_swap_wait(struct device *dev)
{
    return dev->ops->swap_wait(dev);
}

enum shoal_status device_mark(struct device *dev, int mark)
{
    SHOAL_ASSERT(mark >= 0 && mark < DEVICE_MARKS);
    return dev->ops->mark(dev, mark);
}

enum shoal_status device_reach(struct device *dev, int mark)
{
    SHOAL_ASSERT(mark >= 0 && mark < DEVICE_MARKS);
    return dev->ops->reach(dev, mark);
}

bool device_records(const struct device *dev)
{
    return dev->ops->record_begin != NULL;
}

enum shoal_status device_record_begin(struct device *dev)
{
    return dev->ops->record_begin(dev);
}

enum shoal_status device_record_end(struct device *dev, struct device_piece **out)
{
    return dev->ops->record_end(dev, out);
}

enum shoal_status device_replay(struct device *dev, struct device_piece *p, bool *moved)
{
    return dev->ops->replay(dev, p, moved);
}

void device_piece_free(struct device *dev, struct device_piece **p)
{
    if (*p) dev->ops->piece_free(dev, *p);
    *p = NULL;
}

enum shoal_status device_beside_begin(struct device *dev)
{
    return dev->ops->beside_begin(dev);
}

enum shoal_status device_beside_end(struct device *dev)
{
    return dev->ops->beside_end(dev);
}

enum shoal_status device_fetch(struct device *dev, void *pinned, const void *src, size_t bytes,
                               int slot)
{
    SHOAL_ASSERT(slot >= 0 && slot < DEVICE_SLOTS);
    return dev->ops->fetch(dev, pinned, src, bytes, slot);
}

enum shoal_status device_store(struct device *dev, void *dst, const void *pinned, size_t bytes,
                               int slot)
{
    SHOAL_ASSERT(slot >= 0 && slot < DEVICE_SLOTS);
    return dev->ops->store(dev, dst, pinned, bytes, slot);
}

enum shoal_status device_note(struct device *dev, int slot)
{
    SHOAL_ASSERT(slot >= 0 && slot < DEVICE_SLOTS);
    return dev->ops->note(dev, slot);
}

enum shoal_status device_slot_done(struct device *dev, int slot, bool *done)
{
    SHOAL_ASSERT(slot >= 0 && slot < DEVICE_SLOTS);
    return dev->ops->slot_done(dev, slot, done);
}

void *device_beside_stream(struct device *dev)
{
    return dev->ops->beside_stream(dev);
}

enum shoal_status device_lane_enter(struct device *dev)
{
    return dev->ops->lane_enter(dev);
}

void device_lane_leave(struct device *dev)
{
    dev->ops->lane_leave(dev);
}
