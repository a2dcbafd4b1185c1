/* device.c - the host's memory in place of the CPU backend: files are read into it, nothing is
 * computed, so the kernels need not be built with this compiler. */
#include <string.h>
#define SHOAL_KERNELS_PRIVATE
#include "base/memory.h"
#include "kernels/kernels_impl.h"

static enum shoal_status list(char (*id)[DEVICE_ID], int most, int *count)
{
    (void)id;
    (void)most;
    *count = 0;
    return SHOAL_OK;
}

static enum shoal_status open_device(int index, int threads, struct device **out)
{
    struct device *device;
    (void)index;
    (void)threads;
    SHOAL_TRY(mem_alloc(sizeof *device, "a device", &device));
    device->ops = &cpu_ops;
    device->is_host = true;
    *out = device;
    return SHOAL_OK;
}

static void close_device(struct device *device)
{
    mem_free(device);
}

static enum shoal_status alloc(struct device *device, size_t bytes, const char *what, void *out)
{
    (void)device;
    return mem_alloc(bytes, what, out);
}

static void release(struct device *device, void *memory)
{
    (void)device;
    mem_free(memory);
}

static enum shoal_status copy(struct device *device, void *dst, const void *src, size_t bytes)
{
    (void)device;
    memcpy(dst, src, bytes);
    return SHOAL_OK;
}

static enum shoal_status zero(struct device *device, void *dst, size_t bytes)
{
    (void)device;
    memset(dst, 0, bytes);
    return SHOAL_OK;
}

static enum shoal_status sync(struct device *device)
{
    (void)device;
    return SHOAL_OK;
}

const struct kernel_ops cpu_ops = {.name = "cpu",
                                   .list = list,
                                   .open = open_device,
                                   .close = close_device,
                                   .alloc = alloc,
                                   .free = release,
                                   .upload = copy,
                                   .download = copy,
                                   .copy = copy,
                                   .zero = zero,
                                   .sync = sync,
                                   .alloc_pinned = alloc,
                                   .free_pinned = release};
