/* old_nccl.h - see old_nccl.c. */
#pragma once

int ncclGetVersion(int *version);
int ncclGetUniqueId(void);
int ncclCommInitRankConfig(void);
int ncclCommFinalize(void);
int ncclCommDestroy(void);
int ncclCommAbort(void);
int ncclCommGetAsyncError(void);
int ncclGetErrorString(void);
int ncclGetLastError(void);
int ncclBroadcast(void);
int ncclAllReduce(void);
