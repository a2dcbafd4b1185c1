/* nccl_abi.h - the part of NCCL's binary interface that shoal uses, as version 2.18 introduced it
 * and later ones keep it.
 *
 * Declared here and loaded when it is needed, so that a program built anywhere starts anywhere, and
 * nccl.c is compiled and tested on machines without a GPU. Where there is a header of NCCL's,
 * tests/comm compares. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

enum { NCCL_OLDEST = 21800 }; /* version */

/* ncclResult_t */
enum { NCCL_SUCCESS = 0, NCCL_REMOTE_ERROR = 6, NCCL_IN_PROGRESS = 7 };
/* ncclDataType_t, ncclRedOp_t */
enum { NCCL_FLOAT32 = 7, NCCL_SUM = 0 };

/* ncclUniqueId: how the members of a communicator find each other */
struct nccl_id {
    char bytes[128];
};

/* ncclConfig_t of version 2.18 */
struct nccl_config {
    size_t size;
    unsigned magic, version;
    int blocking, cga_cluster_size, min_ctas, max_ctas;
    const char *net_name;
    int split_share;
};
#define NCCL_MAGIC 0xcafebeefu
enum { NCCL_UNDEFINED = INT32_MIN };

/* What ncclGetVersion, ncclGetUniqueId, ... are called here; comm is ncclComm_t, stream is
 * cudaStream_t, whatever else is int is an enumeration. */
struct nccl_api {
    int (*get_version)(int *version);
    int (*get_unique_id)(struct nccl_id *id);
    int (*comm_init_rank_config)(void **comm, int n, struct nccl_id id, int rank,
                                 struct nccl_config *config);
    int (*comm_finalize)(void *comm);
    int (*comm_destroy)(void *comm);
    int (*comm_abort)(void *comm);
    int (*comm_get_async_error)(void *comm, int *state);
    const char *(*get_error_string)(int result);
    const char *(*get_last_error)(void *comm);
    int (*broadcast)(const void *from, void *to, size_t count, int type, int root, void *comm,
                     void *stream);
    int (*all_reduce)(const void *from, void *to, size_t count, int type, int op, void *comm,
                      void *stream);
    int (*send)(const void *from, size_t count, int type, int peer, void *comm, void *stream);
    int (*recv)(void *to, size_t count, int type, int peer, void *comm, void *stream);
};

/* Load the library and fill in its functions; *version like 22809. path NULL: where the system
 * finds it. It stays loaded. SHOAL_ENOTSUP: not there, too old, or not what it claims to be. */
enum shoal_status nccl_load(const char *path, struct nccl_api *api, int *version);
