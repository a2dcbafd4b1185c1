/* nccl_declarations.c - what nccl_abi.h declares is what nccl.h does. Compiled where there is one;
 * nothing runs. */
#include <nccl.h>
#include "comm/nccl_abi.h"

#define SAME(cond) _Static_assert(cond, #cond)
#define SAME_FIELD(ours, theirs)                                                                   \
    SAME(offsetof(struct nccl_config, ours) == offsetof(ncclConfig_t, theirs));                    \
    SAME(sizeof((struct nccl_config *)0)->ours == sizeof((ncclConfig_t *)0)->theirs)

SAME(sizeof(struct nccl_id) == sizeof(ncclUniqueId));
SAME(_Alignof(struct nccl_id) == _Alignof(ncclUniqueId));
SAME(sizeof(ncclResult_t) == sizeof(int) && sizeof(ncclDataType_t) == sizeof(int));
SAME(sizeof(ncclRedOp_t) == sizeof(int));
SAME((int)NCCL_SUCCESS == (int)ncclSuccess && (int)NCCL_REMOTE_ERROR == (int)ncclRemoteError);
SAME((int)NCCL_IN_PROGRESS == (int)ncclInProgress);
SAME((int)NCCL_FLOAT32 == (int)ncclFloat32 && (int)NCCL_SUM == (int)ncclSum);
SAME(NCCL_OLDEST == NCCL_VERSION(2, 18, 0) && NCCL_OLDEST <= NCCL_VERSION_CODE);
SAME(NCCL_UNDEFINED == NCCL_CONFIG_UNDEF_INT);
SAME(sizeof(struct nccl_config) <= sizeof(ncclConfig_t));
SAME_FIELD(size, size);
SAME_FIELD(magic, magic);
SAME_FIELD(version, version);
SAME_FIELD(blocking, blocking);
SAME_FIELD(cga_cluster_size, cgaClusterSize);
SAME_FIELD(min_ctas, minCTAs);
SAME_FIELD(max_ctas, maxCTAs);
SAME_FIELD(net_name, netName);
SAME_FIELD(split_share, splitShare);

/* The functions take these arguments in this order. */
void nccl_declarations(void **comm, struct nccl_id *id, struct nccl_config *config, int *number);
void nccl_declarations(void **comm, struct nccl_id *id, struct nccl_config *config, int *number)
{
    ncclComm_t c = *comm;
    ncclUniqueId theirs = {{0}};
    ncclResult_t state;
    (void)id;
    (void)config;
    ncclConfig_t their_config = NCCL_CONFIG_INITIALIZER;
    SAME(0xcafebeefu == NCCL_MAGIC);
    (void)ncclGetVersion(number);
    (void)ncclGetUniqueId(&theirs);
    (void)ncclCommInitRankConfig(&c, 1, theirs, 0, &their_config);
    (void)ncclCommFinalize(c);
    (void)ncclCommDestroy(c);
    (void)ncclCommAbort(c);
    (void)ncclCommGetAsyncError(c, &state);
    (void)ncclGetErrorString(ncclSuccess);
    (void)ncclGetLastError(c);
    (void)ncclBroadcast(NULL, NULL, (size_t)1, ncclFloat32, 0, c, (cudaStream_t)0);
    (void)ncclAllReduce(NULL, NULL, (size_t)1, ncclFloat32, ncclSum, c, (cudaStream_t)0);
    (void)ncclSend(NULL, (size_t)1, ncclFloat32, 0, c, (cudaStream_t)0);
    (void)ncclRecv(NULL, (size_t)1, ncclFloat32, 0, c, (cudaStream_t)0);
}
