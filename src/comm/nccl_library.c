/* nccl_library.c - find NCCL at run time. The library is never unloaded: its threads may outlive
 * any communicator. */
#include <dlfcn.h>
#include <string.h>
#include "comm/nccl_abi.h"

struct symbol {
    const char *name;
    size_t offset; /* in struct nccl_api */
};

static const struct symbol symbols[] = {
    {"ncclGetVersion", offsetof(struct nccl_api, get_version)},
    {"ncclGetUniqueId", offsetof(struct nccl_api, get_unique_id)},
    {"ncclCommInitRankConfig", offsetof(struct nccl_api, comm_init_rank_config)},
    {"ncclCommFinalize", offsetof(struct nccl_api, comm_finalize)},
    {"ncclCommDestroy", offsetof(struct nccl_api, comm_destroy)},
    {"ncclCommAbort", offsetof(struct nccl_api, comm_abort)},
    {"ncclCommGetAsyncError", offsetof(struct nccl_api, comm_get_async_error)},
    {"ncclGetErrorString", offsetof(struct nccl_api, get_error_string)},
    {"ncclGetLastError", offsetof(struct nccl_api, get_last_error)},
    {"ncclBroadcast", offsetof(struct nccl_api, broadcast)},
    {"ncclAllReduce", offsetof(struct nccl_api, all_reduce)},
    {"ncclSend", offsetof(struct nccl_api, send)},
    {"ncclRecv", offsetof(struct nccl_api, recv)},
};
enum { SYMBOLS = sizeof symbols / sizeof *symbols };

enum shoal_status nccl_load(const char *path, struct nccl_api *api, int *version)
{
    const char *const name = path ? path : "libnccl.so.2";
    void *const library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    *version = 0;
    SHOAL_CHECK(library, SHOAL_ENOTSUP, "NCCL cannot be loaded: %s", dlerror());
    for (int i = 0; i < SYMBOLS; i++) {
        void *const function = dlsym(library, symbols[i].name);
        SHOAL_CHECK(function, SHOAL_ENOTSUP, "%s has no %s: it is too old, or not NCCL", name,
                    symbols[i].name);
        /* C has no cast from an object's address to a function's; POSIX says they are alike. */
        memcpy((char *)api + symbols[i].offset, &function, sizeof function);
    }
    const int result = api->get_version(version);
    SHOAL_CHECK(result == NCCL_SUCCESS, SHOAL_ENOTSUP, "ncclGetVersion failed: %s",
                api->get_error_string(result));
    SHOAL_CHECK(*version >= NCCL_OLDEST, SHOAL_ENOTSUP,
                "%s is version %d of NCCL; shoal needs %d or later", name, *version, NCCL_OLDEST);
    return SHOAL_OK;
}
