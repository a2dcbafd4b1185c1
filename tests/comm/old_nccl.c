/* old_nccl.c - a library with NCCL's names and the version before the oldest that will do. */
#include "comm/old_nccl.h"

int ncclGetVersion(int *version)
{
    *version = 21703;
    return 0;
}

#define UNUSED(name)                                                                               \
    int name(void)                                                                                 \
    {                                                                                              \
        return 4;                                                                                  \
    }
UNUSED(ncclGetUniqueId)
UNUSED(ncclCommInitRankConfig)
UNUSED(ncclCommFinalize)
UNUSED(ncclCommDestroy)
UNUSED(ncclCommAbort)
UNUSED(ncclCommGetAsyncError)
UNUSED(ncclGetErrorString)
UNUSED(ncclGetLastError)
UNUSED(ncclBroadcast)
UNUSED(ncclAllReduce)
UNUSED(ncclSend)
UNUSED(ncclRecv)
